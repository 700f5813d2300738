"""Verdicts on property files: no input of the box has outputs that the file calls a counterexample."""

from __future__ import annotations

from distverify.quantities.quantity import Quantity, Share
from distverify.quantities.variable import code, number
from distverify.quantities.verified import FLAGS, holds
from distverify.status import NO_VALUE

PROPERTY = Quantity(
    name="property",
    variables=(
        code("verified", "sample", "whether the property has no counterexample", FLAGS[:3], NO_VALUE),
        number(
            "property_margin",
            "sample",
            "by how much the clearest constraint rules out the nearest counterexample, at least",
        ),
    ),
    shares=(Share("properties", "Properties", "verified", holds, ("sample",), "verified"),),
    meaning="A property that is verified has no counterexample: this is proven, not tested. Of one that is not verified, nothing "
    "is known.",
    of_properties=True,
)
