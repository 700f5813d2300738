"""The claims that a result file can hold, and what would refute each: one table, a line or two per variable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distverify.settings import Settings

Floats = NDArray[np.float64]

AT_MOST, AT_LEAST = 1, -1
# Relative error of the attack's own float64 evaluations; a smaller excess is not held against a bound.
EVALUATION = 1e-9


@dataclass(frozen=True)
class Claim:
    """One side of what a variable says.

    Attributes
    ----------
    variable : str
        In the result file.
    attained : str
        Of :data:`distverify.audit.attack.ATTAINED`.
    side : AT_MOST or AT_LEAST
        What the file says of everything that can be attained.
    bound : callable (values, settings) -> float64, optional
        The stored values as numbers to compare with what was attained; infinite where they claim nothing.
    """

    variable: str
    attained: str
    side: int
    bound: Callable[[NDArray[np.generic], Settings], Floats] | None = None


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


def _where(code: int, value: float) -> Callable[[NDArray[np.generic], Settings], Floats]:
    """``value`` where the stored number is ``code``, no claim elsewhere."""
    return lambda stored, settings: np.where(stored == code, value, np.nan)


def _verified_radii(stored: NDArray[np.generic], settings: Settings) -> Floats:
    return np.where(np.asarray(stored) > 0, np.asarray(settings.eps), np.nan)


def _keeps_sign(stored: NDArray[np.generic], settings: Settings) -> Floats:
    return np.where(np.asarray(stored) > 0, 0.0, np.nan)


CLAIMS = (
    Claim("logits", "logits", AT_MOST),
    Claim("logits", "logits", AT_LEAST),
    Claim("predicted", "predicted", AT_MOST),
    Claim("predicted", "predicted", AT_LEAST),
    Claim("jacobian_lower", "jacobian_min", AT_LEAST),
    Claim("jacobian_upper", "jacobian_max", AT_MOST),
    Claim("hull_lower", "jacobian_min", AT_LEAST),
    Claim("hull_upper", "jacobian_max", AT_MOST),
    Claim("monotone", "jacobian_min", AT_LEAST, _where(1, 0.0)),
    Claim("monotone", "jacobian_max", AT_MOST, _where(-1, 0.0)),
    Claim("lipschitz", "slope", AT_MOST),
    Claim("lipschitz_vector", "slope_vector", AT_MOST),
    Claim("lipschitz_margin", "slope_margin", AT_MOST),
    Claim("radius", "adversarial_nearest", AT_LEAST),
    Claim("radius_crown", "adversarial_nearest", AT_LEAST),
    Claim("radius_jacobian", "adversarial_nearest", AT_LEAST),
    Claim("radius_target", "adversarial", AT_LEAST),
    Claim("verified", "adversarial_nearest", AT_LEAST, _verified_radii),
    Claim("stationary_free_radius", "sign_kept", AT_LEAST, _keeps_sign),
    Claim("global_lipschitz", "slope_anywhere", AT_MOST),
    Claim("global_lipschitz_vector", "slope_vector_anywhere", AT_MOST),
    Claim("product_of_norms", "slope_vector_anywhere", AT_MOST),
    Claim("domain_jacobian_lower", "domain_min", AT_LEAST),
    Claim("domain_jacobian_upper", "domain_max", AT_MOST),
    Claim("domain_lipschitz", "domain_slope", AT_MOST),
    Claim("domain_lipschitz_vector", "domain_slope_vector", AT_MOST),
    Claim("domain_monotone", "domain_min", AT_LEAST, _where(1, 0.0)),
    Claim("domain_monotone", "domain_max", AT_MOST, _where(-1, 0.0)),
)
# Claims whose radius is compared with a distance: the closeness is their quotient, the other way round.
_PAIRS = {
    "jacobian_min": "jacobian_max",
    "jacobian_max": "jacobian_min",
    "domain_min": "domain_max",
    "domain_max": "domain_min",
}


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
    bound = np.asarray(stored if claim.bound is None else claim.bound(stored, settings), dtype=np.float64)
    if bound.ndim > reached.ndim:  # one distance against the radii of several balls
        reached = reached[..., None]
    bound, reached = np.broadcast_arrays(bound, reached)
    known = ~(np.isnan(bound) | np.isnan(reached))
    size = np.abs(np.where(np.isfinite(reached), reached, 0.0))
    if claim.attained in _PAIRS:  # a derivative's rounding error goes with the largest of its row
        size = size.max(axis=-1, keepdims=True)
    slack = EVALUATION * size
    with np.errstate(invalid="ignore", divide="ignore"):
        excess = claim.side * (reached - bound)
        broken = known & (excess > slack)
        closeness = _closeness(claim, bound, reached, attained)
    return Verdict(broken, bound, reached, np.where(known, closeness, np.nan), int(known.sum()))


def _closeness(claim: Claim, bound: Floats, reached: Floats, attained: dict[str, Floats]) -> Floats:
    if claim.bound is _keeps_sign or claim.attained in ("logits", "predicted"):
        return np.full(bound.shape, np.nan)
    if claim.attained in _PAIRS:
        # What was attained spans part of what is allowed: the share of the distance from the other end that was covered.
        if claim.bound is not None:
            return np.full(bound.shape, np.nan)
        other = np.asarray(attained[_PAIRS[claim.attained]])
        width = bound - other
        return np.where(width != 0, (reached - other) / width, np.nan)
    if claim.side == AT_LEAST:
        return bound / reached
    return reached / bound
