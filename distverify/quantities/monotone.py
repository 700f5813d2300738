"""Signs of derivatives that hold all over each ball, and all over the domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distverify.quantities.quantity import AT_LEAST, AT_MOST, Claim, Effort, Quantity, claimed_where
from distverify.quantities.variable import Variable, code

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from distverify.quantities.quantity import Floats

_NO_SIGN = -128
_SIGNS = ((_NO_SIGN, "no_value"), (-1, "decreasing"), (0, "unknown"), (1, "increasing"), (2, "both"))


def _signs(name: str, dims: str, region: str) -> Variable:
    return code(name, dims, f"how the output depends on the feature all over {region}", _SIGNS, _NO_SIGN)


def _rising(signs: NDArray[np.generic], eps: Floats) -> Floats:
    return claimed_where(signs == 1, 0.0)


def _falling(signs: NDArray[np.generic], eps: Floats) -> Floats:
    return claimed_where(signs == -1, 0.0)


MONOTONE = Quantity(
    name="monotone",
    of_derivatives=True,
    variables=(_signs("monotone", "sample eps output input", "the ball"),),
    derivatives={"monotone": "monotone"},
    search_at="distverify.analysis.searched:signs_over",
    search_domain="distverify.analysis.searched:signs_over_domain",
    needs_eps=True,
    uses=frozenset({"eps", "clip", "feature_eps", "domain", "direction", "nodes"}),
    of_domain={"monotone": _signs("domain_monotone", "output input", "the domain")},
    effort=Effort(derivatives=True),
    claims=(
        Claim("monotone", "jacobian_min", AT_LEAST, _rising, graded=False),
        Claim("monotone", "jacobian_max", AT_MOST, _falling, graded=False),
        Claim("domain_monotone", "domain_min", AT_LEAST, _rising, graded=False),
        Claim("domain_monotone", "domain_max", AT_MOST, _falling, graded=False),
    ),
    meaning="A sign of a derivative that is known holds at every point of the region that it is given for; where it says "
    "both, points of the region with derivatives of either sign were found.",
)
