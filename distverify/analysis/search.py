"""Searching for the largest radius at which sound bounds still prove something."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# A published radius is one that was verified; one larger by this relative tolerance was refuted.
TOLERANCE = 1e-4
_MAX_EVALUATIONS = 60


@dataclass
class _Bracket:
    """One criterion's search: radii between ``below`` (proved) and ``above`` (not proved) are open."""

    below: float = 0.0
    above: float = math.inf
    seen: list[tuple[float, float]] = field(default_factory=list)

    def add(self, radius: float, value: float) -> None:
        self.seen.append((radius, value))
        if value > 0:
            self.below = max(self.below, radius)
        elif radius < self.above:
            self.above = radius

    def open(self, limit: float, tolerance: float) -> bool:
        """Whether another evaluation could tell more."""
        if self.below >= self.above:  # not monotone: what was proved at the larger radius holds
            return False
        return self.above - self.below > tolerance * self.above if math.isfinite(self.above) else self.below < limit

    def next(self, limit: float, tolerance: float) -> float:
        """The next radius to try, strictly between ``below`` and ``above``."""
        below, above, seen = self.below, self.above, self.seen
        if not math.isfinite(above):
            return min(1.6 * below, limit)
        if below == 0.0:
            # Bounds explode with the radius: the farther off the mark, the longer the step back.
            first, last = seen[0][1], min(f for r, f in seen if r == above)
            return above * max(0.05, 0.8 * math.sqrt(first / (first - last)))
        if above > 3.0 * below:
            product = above * below
            return math.sqrt(product) if 0.0 < product < math.inf else math.sqrt(above) * math.sqrt(below)
        width, near = above - below, 0.45 * tolerance * above
        # Inverse quadratic interpolation through the three points closest to zero; bisection where that leads nowhere.
        guess = _inverse_interpolation(*sorted(seen, key=lambda p: abs(p[1]))[:3])
        if not below <= guess <= above or (len(seen) % 5 == 0 and width > 20.0 * near):
            return below + 0.5 * width
        # Step past the estimate, to the side that was not seen last: two good estimates then close the bracket.
        guess += near if seen[-1][1] > 0 else -near
        return min(max(guess, below + min(near, 0.5 * width)), above - min(near, 0.5 * width))


def _inverse_interpolation(*points: tuple[float, float]) -> float:
    """Where the parabola x(f) through three points (x, f) has f = 0; NaN where there is none that floating point can tell."""
    (x0, f0), (x1, f1), (x2, f2) = points
    largest = max(abs(f) for _, f in points)
    if largest == 0.0 or not math.isfinite(largest):
        return math.nan
    # The place does not depend on the scale of f, whose values near 0 are as small as derivatives get.
    exponent = -math.frexp(largest)[1]
    f0, f1, f2 = math.ldexp(f0, exponent), math.ldexp(f1, exponent), math.ldexp(f2, exponent)
    d01, d02, d12 = f0 - f1, f0 - f2, f1 - f2
    if d01 * d02 == 0.0 or d01 * d12 == 0.0 or d02 * d12 == 0.0:
        return math.nan
    return x0 * f1 * f2 / (d01 * d02) - x1 * f0 * f2 / (d01 * d12) + x2 * f0 * f1 / (d02 * d12)


def search_smallest(
    evaluate: Callable[[float], Floats], at_zero: Floats, guess: float, limit: float, tolerance: float = TOLERANCE
) -> Floats:
    """The largest radii at which each criterion was seen positive, found around the smallest of them.

    Parameters
    ----------
    evaluate : callable (radius) -> float64 [K]
        Sound: criterion k holds in the ball if its value is positive.
    at_zero : float64 [K]
        Its value at radius 0, all positive.
    guess, limit : float
        Where to start, and where to stop looking.
    tolerance : float
        Relative: some radius at most this much larger than the smallest one failed (or is ``limit``).

    Returns
    -------
    float64 [K]
        Each a radius that was itself evaluated: no interpolated value is returned.
    """
    best = np.zeros(at_zero.size)
    bracket = _Bracket(seen=[(0.0, float(at_zero.min()))])
    radius = min(guess, limit)
    for _ in range(_MAX_EVALUATIONS):
        values = _numbers(evaluate(radius))
        best[values > 0] = np.maximum(best[values > 0], radius)
        bracket.add(radius, float(values.min()))
        if not bracket.open(limit, tolerance):
            break
        radius = bracket.next(limit, tolerance)
    return best


def search_each(
    evaluate: Callable[[float], Floats], at_zero: Floats, guess: float, limit: float, tolerance: float = TOLERANCE
) -> Floats:
    """The largest radius of each criterion, to ``tolerance`` each; see :func:`search_smallest`.

    Every evaluation tells of all criteria, and the one whose bracket is widest chooses the next radius. A criterion
    whose value at zero is not positive has radius 0.
    """
    brackets = [_Bracket(seen=[(0.0, float(v))]) for v in at_zero]
    radius = min(guess, limit)
    for _ in range(_MAX_EVALUATIONS * max(1, at_zero.size)):
        for bracket, value in zip(brackets, _numbers(evaluate(radius)), strict=True):
            bracket.add(radius, float(value))
        undecided = [b for b in brackets if b.seen[0][1] > 0 and b.open(limit, tolerance)]
        if not undecided:
            break
        radius = max(undecided, key=lambda b: (b.above - b.below) / b.above if b.below > 0 else 2.0).next(
            limit, tolerance
        )
    return np.array([b.below if b.seen[0][1] > 0 else 0.0 for b in brackets])


def _numbers(values: Floats) -> Floats:
    return np.where(np.isnan(values), -np.inf, values)
