"""Whether a sample's class holds all over each ball."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distverify.quantities.quantity import AT_LEAST, Claim, Quantity, Share, claimed_where
from distverify.quantities.variable import code, number
from distverify.status import FALSIFIED, NO_VALUE, VERIFIED_MEANINGS

FLAGS = tuple(enumerate(VERIFIED_MEANINGS, FALSIFIED))

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from distverify.quantities.quantity import Floats


def holds(verified: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Where a code of ``verified`` says that it is proven."""
    return verified > 0  # type: ignore[operator,no-any-return]


def _radii(verified: NDArray[np.generic], eps: Floats) -> Floats:
    return claimed_where(holds(verified), eps)


VERIFIED_AT = code(
    "verified", "sample eps", "whether no target class is predicted anywhere in the ball", FLAGS, NO_VALUE
)
VERIFIED_MARGIN = number(
    "verified_margin",
    "sample eps",
    "where the verdict is open: the smallest margin over the ball, at least (in exact arithmetic)",
)
CERTIFIED = Share(
    "certified", "Certified", "verified", holds, ("sample", "eps"), "certainly classified right all over the ball"
)
VERIFIED_CLAIM = Claim("verified", "adversarial_nearest", AT_LEAST, _radii)

VERIFIED = Quantity(
    name="verified",
    variables=(VERIFIED_AT, VERIFIED_MARGIN),
    compute_at="distverify.analysis.verdict:verdict_over",
    needs_eps=True,
    compares=True,
    uses=frozenset({"eps", "clip", "feature_eps", "targets", "march_evaluations", "arithmetic", "nodes"}),
    claims=(VERIFIED_CLAIM,),
    shares=(CERTIFIED,),
    meaning="Where it is verified, no change whatever makes a sample {change}: this is proven, not tested.",
)
