"""Balls in which an output certainly has no stationary point."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distverify.quantities.quantity import AT_LEAST, Claim, Effort, Quantity, Spread, claimed_where
from distverify.quantities.variable import number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from distverify.quantities.quantity import Floats


def _keeps_sign(radii: NDArray[np.generic], eps: Floats) -> Floats:
    return claimed_where(radii > 0, 0.0)  # type: ignore[operator]


LANDSCAPE = Quantity(
    name="landscape",
    of_derivatives=True,
    variables=(
        number("stationary_free_radius", "sample output", "radius without a stationary point of the output row"),
    ),
    compute="distverify.analysis.landscape:radii_of",
    searched=(
        number(
            "stationary_sign_lost", "sample output",
            "radius at which every derivative of the output row certainly takes both signs, so that none is kept beyond; inf: none was "
            "found",
        ),
    ),
    uses=frozenset({"clip", "feature_eps", "landscape_outputs", "nodes"}),
    effort=Effort(searches=True, differentiates=True),
    claims=(Claim("stationary_free_radius", "sign_kept", AT_LEAST, _keeps_sign, graded=False),),
    spreads=(
        Spread(
            "stationary_free_radius", "No stationary point", "free of stationary points", ("sample", "output"),
            figure="stationary-free-radii",
            note="radius, {norm} norm, units of the data; over samples and outputs", weakest="least",
        ),
    ),
    meaning="Within its radius of the landscape, an output has no stationary point: some derivative keeps its sign.",
)  # fmt: skip
