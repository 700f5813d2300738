"""Lines that rows choose for themselves (alpha): bounds of affine functions of the groups, through the best lines that an ascent finds.

Source: alpha-CROWN, Xu et al., ICLR 2021 (arXiv 2011.13824). All rows, and their negatives for the upper bounds, make their steps side by
side: a step is one product with every edge down to the input and one up again. What a row chose needs no rounding terms, since
all its choices are sound; its bound is evaluated by :func:`distverify.bounds.crown.affine_bounds` once, in the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distverify.bounds import crown
from distverify.bounds.reduced import Affine, Floats, Indices, Pair, Reduced
from distverify.kernels.choices import ball_minima, box_minima, pull_choices, push_choices

STEPS = 20
_RATE, _DECAY = 0.5, 0.98
# A row ends that gains less than this part of itself in so many steps,
_LITTLE, _PATIENCE = 1e-3, 5
# or could gain, about, less than this part of its width.
_NO_MATTER = 0.01
# Coefficients in flight.
_BLOCK_ENTRIES = 2**20
_SINGLE = np.float32
Singles = NDArray[Any]
ByGroup = dict[int, Singles]


@dataclass(eq=False)
class _Moving:
    """Rows on their way to better lines. ``where``: which rows of the batch they are; all other arrays have a row for each."""

    where: Indices
    given: ByGroup
    constant: Floats
    places: ByGroup
    best: ByGroup
    first: ByGroup
    second: ByGroup
    value: Floats
    shown: Floats
    since: Indices

    def keep(self, still: Indices) -> _Moving:
        """Without the other rows."""
        given, places, best, first, second = (
            {g: a[still] for g, a in part.items()}
            for part in (self.given, self.places, self.best, self.first, self.second)
        )
        constant, value, shown = self.constant[still], self.value[still], self.shown[still]
        return _Moving(self.where[still], given, constant, places, best, first, second, value, shown, self.since[still])


@dataclass(frozen=True, eq=False)
class Choices:
    """What rows of a reduced network choose from: the fans of its groups.

    Attributes
    ----------
    reduced : Reduced
    """

    reduced: Reduced

    # What overflows single precision moves nothing.
    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def bounds(
        self, affine: Affine, known: Pair, steps: int = STEPS, *, signs: bool = False, lowest: bool = False
    ) -> Pair:
        """Bounds at least as good as ``known``, CROWN's: lower, upper float64 [n].

        Parameters
        ----------
        affine : Affine
        known : (lower, upper)
        steps : int
            Of the ascent, at most.
        signs : bool
            A row that is surely not negative, or surely not positive, needs no better bounds.
        lowest : bool
            No upper bound is to be better than the known one.
        """
        lower, upper = known
        below = self._below(affine)
        if not any(self.reduced.groups[g].fan.opens for g in below):
            return known
        rows = np.flatnonzero(~((lower >= 0.0) | (upper <= 0.0))) if signs else np.arange(lower.size)
        sides = 1 if lowest else 2
        widest = sum(self.reduced.groups[g].size for g in [0, *below])
        block = max(16, _BLOCK_ENTRIES // (sides * max(1, widest)))
        lower, upper = lower.copy(), upper.copy()
        for k in range(0, rows.size, block):
            part = rows[k : k + block]
            low, high = self._block(below, affine.take(part), (lower[part], upper[part]), steps, signs, sides)
            lower[part], upper[part] = np.fmax(lower[part], low), np.fmin(upper[part], high)
        return lower, upper

    def _below(self, affine: Affine) -> list[int]:
        """The groups that ``affine`` depends on, directly or not, without the input; the last one first."""
        found = set(affine.edges)
        for index in range(len(self.reduced.groups) - 1, 0, -1):
            if index in found:
                of = self.reduced.groups[index].affine
                assert of is not None
                found |= set(of.edges)
        return sorted(found - {0}, reverse=True)

    def _block(self, below: list[int], affine: Affine, known: Pair, steps: int, signs: bool, sides: int) -> Pair:
        count = affine.constant.size
        total = sides * count
        given: ByGroup = {}
        for group, edge in affine.edges.items():
            rows = edge.rows().astype(_SINGLE)
            given[group] = rows if sides == 1 else np.concatenate([rows, -rows])
        places = {g: np.repeat(self.reduced.groups[g].fan.start.astype(_SINGLE)[None], total, axis=0) for g in below}
        best, first, second = ({g: np.zeros_like(a) for g, a in places.items()} for _ in range(3))
        constant = np.concatenate([affine.constant, -affine.constant])[:total]
        low = np.full(total, -np.inf)
        moving = _Moving(
            np.arange(total), given, constant, places, best, first, second, low, low, np.zeros(total, dtype=np.int64)
        )
        chosen = {g: a.copy() for g, a in places.items()}
        width = np.concatenate([known[1] - known[0]] * sides)
        moved = self._ascend(below, moving, width, steps, signs, chosen)
        again = np.flatnonzero(moved.reshape(sides, count).any(axis=0))
        lower, upper = np.full(count, -np.inf), np.full(count, np.inf)
        if again.size:
            # The negatives bound from above, and come first there.
            both = np.concatenate([again + total - count, again])
            lines = {g: self.reduced.groups[g].fan.at(chosen[g][both]) for g in below}
            lower[again], upper[again] = crown.affine_bounds(self.reduced, affine.take(again), lines)
        return lower, upper

    def _ascend(
        self, below: list[int], moving: _Moving, width: Floats, steps: int, signs: bool, chosen: ByGroup
    ) -> NDArray[np.bool_]:
        """Move all rows to better places; ``chosen`` gets the best ones. Which rows have gained anything: bool [R].

        ``width`` [R]: of the intervals that are known. Of rows whose signs matter, the second half are the negatives of the first.
        """
        half = -(-width.size // 2)
        moved, decided = np.zeros(width.size, dtype=bool), np.zeros(half, dtype=bool)
        pace = _RATE
        for step in range(steps + 1):
            rows, value, points = self._pull(below, moving)
            better = value > moving.value
            moving.value = np.fmax(moving.value, value)
            if step == 0:
                better[:] = True
            else:
                moved[moving.where[better]] = True
            fresh = (value > moving.shown + _LITTLE * np.abs(moving.shown)) | (step == 0)
            moving.shown = np.where(fresh, value, moving.shown)
            moving.since = np.where(fresh, 0, moving.since + 1)
            ends = moving.since >= _PATIENCE
            if signs:
                decided[moving.where[moving.value > 0.0] % half] = True
                ends |= decided[moving.where % half]
            last = step == steps or bool(ends.all())
            gain = np.zeros(moving.where.size)
            if not last:
                weights = 1.0 - 0.9 ** (step + 1), 1.0 - 0.999 ** (step + 1)
                gain = self._push(below, moving, rows, points, pace, weights, better)
                could = moving.value + 2.0 * gain > 0.0 if signs else np.zeros(gain.size, dtype=bool)
                ends |= (gain <= _NO_MATTER * width[moving.where]) & ~could
                last = bool(ends.all())
            else:
                for g in below:
                    moving.best[g][better] = moving.places[g][better]
            if last or 4 * int(ends.sum()) >= ends.size:
                gone = np.ones(ends.size, dtype=bool) if last else ends
                for g in below:
                    chosen[g][moving.where[gone]] = moving.best[g][gone]
                if last:
                    break
                moving = moving.keep(np.flatnonzero(~ends))
            pace *= _DECAY
        return moved

    def _pull(self, below: list[int], moving: _Moving) -> tuple[ByGroup, Floats, Singles]:
        """All rows down to the input: their coefficients at the groups, the bounds, and where they are attained."""
        value = moving.constant.copy()
        at: ByGroup = {}
        coefficients: ByGroup = {}
        for index in below:
            group = self.reduced.groups[index]
            rows = coefficients.pop(index, None)
            rows = moving.given[index] if rows is None else rows
            at[index] = rows
            out = np.empty_like(rows)
            assert group.affine is not None
            pull_choices(rows, moving.places[index], *group.fan.single, group.affine.constant, out, value)
            for source, edge in group.affine.edges.items():
                so_far = coefficients.get(source)
                if so_far is None and source in moving.given:
                    so_far = moving.given[source].copy()
                coefficients[source] = edge.pull(out, so_far)
        inputs = coefficients.get(0, moving.given.get(0))
        if inputs is None:
            return at, value, np.zeros((value.size, 0), _SINGLE)
        points = np.empty_like(inputs)
        self._minima(inputs, value, points)
        return at, value, points

    def _minima(self, inputs: Singles, value: Floats, points: Singles) -> None:
        reduced, region = self.reduced, self.reduced.region
        if region.norm == np.inf:
            box_minima(inputs, reduced.middle, reduced.reach, value, points)
            return
        eps = region.eps if isinstance(region.eps, float) else 0.0
        lo, hi = region.box
        boxed, scale = region.clip is not None, eps or 1.0
        ball_minima(
            inputs, region.x0, eps, region.norm, boxed, np.maximum((lo - region.x0) / scale, -1.0),
            np.minimum((hi - region.x0) / scale, 1.0), value, points,
        )  # fmt: skip

    def _push(
        self, below: list[int], moving: _Moving, rows: ByGroup, points: Singles, pace: float,
        weights: tuple[float, float], better: NDArray[np.bool_],
    ) -> Floats:  # fmt: skip
        """The minimisers up through the lines, and a step at every group; what better places could bring, about."""
        gain = np.zeros(moving.where.size)
        values: ByGroup = {0: points.T}
        for index in reversed(below):
            group = self.reduced.groups[index]
            assert group.affine is not None
            z: Singles | None = None
            for source, edge in group.affine.edges.items():
                if source in values:
                    z = edge.push(values[source], None, z)
            if z is None:
                z = np.zeros((group.size, moving.where.size), _SINGLE)
            z = np.ascontiguousarray(z.T + group.affine.constant.astype(_SINGLE))
            push_choices(
                rows[index], *group.fan.single, pace, *weights, better, moving.best[index], moving.places[index], z,
                moving.first[index], moving.second[index], gain,
            )  # fmt: skip
            values[index] = np.ascontiguousarray(z.T)
        return gain
