"""Integrating Lipschitz constants outwards from a sample, with few evaluations.

margin(x) >= margin(x0) - integral of L(r) dr from 0 to the distance of x (RecurJac, Zhang et al., AAAI 2019, section 4.3), where L(r)
is a constant over the ball of radius r. L does not decrease with r, so the constant of each evaluated radius holds on the whole step
that ends there: a staircase above L, whatever the radii. Where it is worth another evaluation is only a question of tightness.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from distverify.kernels.rounding import SOUND
from distverify.settings import MARCH_EVALUATIONS, MARCH_TOLERANCE

Floats = NDArray[np.float64]

# Where within a step a new radius is tried out.
_FRACTIONS = np.array([0.4, 0.5, 0.6, 0.7, 0.85])
_FARTHEST_STEP = 4.0
# The model of how constants grow between two radii takes constants, and their quotients, from here to here.
_SMALLEST, _LARGEST = 1e-100, 1e100
_STEEPEST = 1e3


def march_radii(
    constants: Callable[[float], Floats],
    at_zero: Floats,
    guess: float,
    limit: float,
    *,
    slopes: Floats | None = None,
    evaluations: int = MARCH_EVALUATIONS,
    tolerance: float = MARCH_TOLERANCE,
    goal: float = 0.0,
    losses: Callable[[float], Floats] | None = None,
    certified: Floats | None = None,
) -> tuple[Floats, int]:
    """Certified radii of K margins, and the number of evaluations that they took.

    Parameters
    ----------
    constants : callable (radius) -> float64 [K]
        Sound Lipschitz constants of the margins over the ball; infinite or NaN where nothing is known.
    at_zero : float64 [K]
        Sound lower bounds of the margins at the centre, all positive.
    guess : float
        The first radius to evaluate.
    limit : float
        No radius beyond it is evaluated.
    slopes : float64 [K], optional
        The constants at radius 0, about: they only help to choose radii.
    evaluations : int
        The most to spend, at least 1.
    tolerance : float
        Relative: the march ends when no further evaluation can raise the smallest radius by more.
    goal : float
        The march ends when the smallest radius can no longer reach it, or has.
    losses : callable (radius) -> float64 [K], optional
        What must be left of each margin all over the ball, at least 0.
    certified : float64 [K], optional
        Radii that are certified otherwise: the march minds the margin whose larger radius is the smallest, and ends when it can
        no longer raise that one.

    Returns
    -------
    radii : float64 [K]
        Margin k is positive in the ball of radius ``radii[k]``. The search minds the smallest; the others reach
        at most as far as the farthest radius evaluated.
    evaluations : int
    """
    nothing = np.zeros(at_zero.size)
    steps = _Staircase(at_zero, nothing if slopes is None else slopes, nothing if certified is None else certified)
    radius = min(guess, limit)
    for used in range(1, evaluations + 1):
        steps.add(radius, constants(radius), losses(radius) if losses else np.zeros(at_zero.size))
        following = steps.next(limit, tolerance, goal)
        if following is None:
            return steps.certified(), used
        radius = following
    return steps.certified(), evaluations


class _Staircase:
    """Constants at the evaluated radii, ascending; entry 0 is radius 0."""

    def __init__(self, at_zero: Floats, slopes: Floats, otherwise: Floats) -> None:
        self.at_zero = at_zero
        self.otherwise = otherwise
        self.radii = [0.0]
        self.constants = [np.nan_to_num(slopes, nan=0.0)]
        self.losses = [np.zeros(at_zero.size)]

    def add(self, radius: float, constants: Floats, losses: Floats) -> None:
        place = int(np.searchsorted(self.radii, radius))
        self.radii.insert(place, radius)
        self.constants.insert(place, np.where(np.isnan(constants), np.inf, constants))
        self.losses.insert(place, np.where(np.isnan(losses), np.inf, losses))

    def _heights(self) -> Floats:
        """The constant that holds on each step, float64 [steps, K]: of any radius at least as large, the smallest."""
        return _smallest_from(self.constants[1:])

    def certified(self) -> Floats:
        """Where each margin is used up at the latest place that the constants prove, rounding included."""
        shrink, grow = 1.0 - 8 * SOUND.unit, 1.0 + 8 * SOUND.unit
        left, radii, open_ = self.at_zero.copy(), np.zeros(self.at_zero.size), np.ones(self.at_zero.size, dtype=bool)
        losses = _smallest_from(self.losses[1:]) * grow
        for inner, outer, height, loss in zip(self.radii, self.radii[1:], self._heights(), losses, strict=False):
            slope = height * grow
            spent = np.where(slope > 0, slope * ((outer - inner) * grow), 0.0)
            free = left - loss
            with np.errstate(divide="ignore", invalid="ignore"):
                within = inner + np.where(np.isfinite(slope), np.maximum(free, 0.0) / slope, 0.0) * shrink
            passed = spent < free * shrink
            reached = np.where(passed, outer, np.fmin(within * shrink, outer))
            radii = np.where(open_, np.maximum(radii, reached), radii)
            open_ &= passed
            left = np.where(passed, (left - spent) * shrink, left)
        return radii

    def next(self, limit: float, tolerance: float, goal: float) -> float | None:
        """The radius that promises most for the smallest certified radius; None where nothing is to be gained."""
        certified = self.certified()
        worst = int(np.argmin(np.maximum(certified, self.otherwise)))
        radii, heights = np.array(self.radii), self._heights()[:, worst]
        end, last = float(certified[worst]), self.radii[-1]
        # What is left at the end is not to be spent.
        ends = min(int(np.searchsorted(radii, end, side="right")), len(radii) - 1)
        budget = max(float(self.at_zero[worst] - self.losses[ends][worst]), 0.0)
        if 0.0 < goal <= end:
            return None
        if self.otherwise[worst] > 0.0 and end <= self.otherwise[worst]:
            lowest, likely, deciding = self._up_to(worst, float(self.otherwise[worst]))
            if lowest >= budget:
                return None
            if likely >= budget and 0.0 < deciding < limit:
                return deciding
        if end >= last:
            return self._beyond(worst, budget - float(heights @ np.diff(radii)), limit)
        # The step in which the margin runs out, and where it would if constants jumped at the evaluated radii only.
        final = int(np.searchsorted(radii, end, side="right")) - 1
        starts = np.concatenate([[self.constants[0][worst]], heights[:-1]])
        below = np.minimum(np.minimum(starts, heights), _LARGEST)
        spent = np.concatenate([[0.0], np.cumsum(below * np.diff(radii))])
        best_end = float(np.interp(budget, spent, radii))
        if best_end < min(goal, last):
            return None
        if best_end - end <= tolerance * best_end:
            return None if best_end < last else self._beyond(worst, budget - float(spent[-1]), limit)
        points, gains = self._gains(radii, heights, below, final, end, best_end)
        usable = (points > radii[:-1].repeat(_FRACTIONS.size)[: points.size]) & (points < limit)
        if not usable.any():
            return None
        return float(points[np.argmax(np.where(usable, gains, -1.0))])

    def _up_to(self, worst: int, radius: float) -> tuple[float, float, float]:
        """What a margin's integral up to ``radius`` comes to at least and probably, and which radius shows most of the difference."""
        kept = int(np.searchsorted(self.radii, radius, side="left"))
        inner = np.array(self.radii[:kept])
        width = np.diff(np.append(inner, radius))
        low = np.clip([float(c[worst]) for c in self.constants[:kept]], _SMALLEST, _LARGEST)
        if kept < len(self.radii):
            last = float(self.constants[kept][worst])
            part = width[-1] / (self.radii[kept] - inner[-1])
        else:  # nothing is evaluated from there on: constants go on growing as they did
            last, part = float(low[-1]), 1.0
            if kept > 1:
                last = float(low[-1] * min(low[-1] / low[-2], _STEEPEST) ** min(width[-1] / width[-2], 1.0))
        ratio = np.clip(np.append(low[1:], np.clip(last, _SMALLEST, _LARGEST)) / low, 1.0, _STEEPEST)
        ratio[-1] **= part
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(ratio > 1.0 + 1e-9, (ratio - 1.0) / np.log(ratio), 1.0)
        points = inner[:, None] + width[:, None] * _FRACTIONS
        shown = low[:, None] * (ratio[:, None] ** _FRACTIONS - 1.0) * (width[:, None] * (1.0 - _FRACTIONS))
        return float(low @ width), float((low * mean) @ width), float(points.reshape(-1)[np.argmax(shown)])

    def _gains(
        self, radii: Floats, heights: Floats, below: Floats, final: int, end: float, best_end: float
    ) -> tuple[Floats, Floats]:
        """Radii to try within the steps up to ``final``, and by how much each may move the end outwards."""
        inner, outer = radii[: final + 1], radii[1 : final + 2].copy()
        outer[-1] = min(outer[-1], best_end)
        points = inner[:, None] + (outer - inner)[:, None] * _FRACTIONS
        high = np.clip(heights[: final + 1], _SMALLEST, _LARGEST)[:, None]
        low = np.clip(below[: final + 1], _SMALLEST, _LARGEST)[:, None]
        # Between two radii constants grow about exponentially; where they explode, later than at once.
        part = (points - inner[:, None]) / (radii[1 : final + 2] - inner)[:, None]
        between = low * np.minimum(high / low, _STEEPEST) ** part
        saved = (high - between) * (points - inner[:, None])
        gains = saved / high[-1]
        left = high[-1] * (end - inner[-1])
        if heights[final] > _LARGEST:
            left = np.asarray([0.5 * low[-1, 0] * (outer[-1] - inner[-1])])
        spent = between[-1] * (points[-1] - inner[-1])
        gains[-1] = np.where(spent < left, points[-1] + (left - spent) / high[-1], inner[-1] + left / between[-1]) - end
        return points.reshape(-1), gains.reshape(-1)

    def _beyond(self, worst: int, left: float, limit: float) -> float | None:
        """Past the last radius: where the margin, ``left`` there, should run out if constants go on growing as they did."""
        last, before = self.radii[-1], self.radii[-2]
        if last >= limit:
            return None
        left, height = max(left, 0.0), float(self.constants[-1][worst])
        if height <= 0.0:
            return limit
        earlier = float(self.constants[-2][worst])
        growth = max(math.log(height / earlier), 0.0) / (last - before) if earlier > 0.0 else 0.0
        step = math.log1p(left * growth / height) / growth if growth > 0.0 else left / height
        following = min(last + step, _FARTHEST_STEP * last, limit)
        return following if following > last * (1.0 + 1e-12) else None


def _smallest_from(values: list[Floats]) -> Floats:
    """For each entry the smallest of it and all later ones."""
    return np.minimum.accumulate(np.stack(values)[::-1])[::-1]
