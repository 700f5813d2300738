"""Verdicts on property files: no input of the box has outputs that the file calls a counterexample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distverify.quantities.quantity import Quantity, Share
from distverify.quantities.variable import code, number
from distverify.quantities.verified import FLAGS, holds
from distverify.status import BY_JACOBIAN, FALSIFIED, NO_VALUE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PROPERTY_FLAGS = tuple(flag for flag in FLAGS if flag[0] != BY_JACOBIAN)


def _broken(verified: NDArray[np.generic]) -> NDArray[np.bool_]:
    return verified == FALSIFIED  # type: ignore[no-any-return]


PROPERTY = Quantity(
    name="property",
    variables=(
        code("verified", "sample", "whether the property has no counterexample", PROPERTY_FLAGS, NO_VALUE),
        number(
            "property_margin",
            "sample",
            "by how much the clearest constraint rules out the nearest counterexample, at least",
        ),
        number("counterexample", "sample input", "an input that breaks the property, where one was found"),
    ),
    shares=(
        Share("properties", "Properties", "verified", holds, ("sample",), "verified"),
        Share("falsified", "Falsified", "verified", _broken, ("sample",), "falsified"),
    ),
    meaning="A property that is verified has no counterexample: this is proven, not tested. Of one that is falsified "
    "a counterexample is stored; of others nothing is known.",
    uses=frozenset({"nodes"}),
    of_properties=True,
)
