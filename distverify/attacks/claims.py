"""The claims that a result file holds, judged by what attacks attained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distverify.attacks.attained import ATTAINED
from distverify.quantities import catalogue
from distverify.quantities.quantity import AT_LEAST, AT_MOST, Claim
from distverify.settings import Settings

Floats = NDArray[np.float64]

# Relative error of the attack's own float64 evaluations; a smaller excess is not held against a bound.
EVALUATION = 1e-9


# Of every sample, whatever was asked for.
_ALWAYS = (
    Claim("logits", "logits", AT_MOST),
    Claim("logits", "logits", AT_LEAST),
    Claim("predicted", "predicted", AT_MOST),
    Claim("predicted", "predicted", AT_LEAST),
)


def all_claims() -> tuple[Claim, ...]:
    """All claims that a result file may hold."""
    return (*_ALWAYS, *catalogue.all_claims())


@dataclass(frozen=True, eq=False)
class Verdict:
    """How the values of a claim fared.

    Attributes
    ----------
    broken : bool array
        Where an attack attained what the file excludes.
    bound, attained : float64 array
    closeness : float64 array
        1: the attack touched the bound; 0: nothing found, or a bound without any use. NaN where nothing can be said.
    checked : int
        Values that claim something.
    """

    broken: NDArray[np.bool_]
    bound: Floats
    attained: Floats
    closeness: Floats
    checked: int


def judge(claim: Claim, stored: NDArray[np.generic], attained: dict[str, Floats], settings: Settings) -> Verdict:
    """Compare what a file says with what attacks attained.

    Parameters
    ----------
    claim : Claim
    stored : array [sample, ...], or without the sample axis
        The variable's values.
    attained : dict name -> float64 [sample, ...]
    settings : Settings
    """
    reached = np.asarray(attained[claim.attained], dtype=np.float64)
    bound = np.asarray(
        stored if claim.bound is None else claim.bound(stored, np.asarray(settings.eps)), dtype=np.float64
    )
    if bound.ndim > reached.ndim:  # one distance against the radii of several balls
        reached = reached[..., None]
    bound, reached = np.broadcast_arrays(bound, reached)
    known = ~(np.isnan(bound) | np.isnan(reached))
    size = np.abs(np.where(np.isfinite(reached), reached, 0.0))
    if ATTAINED[claim.attained].partner:  # a derivative's rounding error goes with the largest of its row
        size = size.max(axis=-1, keepdims=True)
    slack = EVALUATION * size
    with np.errstate(invalid="ignore", divide="ignore"):
        excess = claim.side * (reached - bound)
        broken = known & (excess > slack)
        closeness = _closeness(claim, bound, reached, attained)
    return Verdict(broken, bound, reached, np.where(known, closeness, np.nan), int(known.sum()))


def _closeness(claim: Claim, bound: Floats, reached: Floats, attained: dict[str, Floats]) -> Floats:
    kind = ATTAINED[claim.attained]
    if not (claim.graded and kind.graded):
        return np.full(bound.shape, np.nan)
    if kind.partner:
        # What was attained spans part of what is allowed: the share of the distance from the other end that was covered.
        other = np.asarray(attained[kind.partner])
        width = bound - other
        return np.where(width != 0, (reached - other) / width, np.nan)
    # A radius is compared with a distance: the quotient is the other way round.
    return bound / reached if claim.side == AT_LEAST else reached / bound
