"""Bisecting the input, where it has few dimensions: a child inherits nothing but its box, so that thousands are bounded in one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from distverify.analysis.branching.polytopes import Problem
from distverify.bounds.packed import Indices, Packed
from distverify.bounds.reduced import Floats
from distverify.kernels.boxes import bound_boxes

# Boxes of one call: enough to forget the call.
_AT_ONCE = 512
# A box that its rows cut to less than this share is bounded again before it is bisected.
_SHRUNK = 0.7

# Tries points [K, n] of the packed network's inputs against a target; a counterexample x [D], or None.
Trial = Callable[[int, Floats], Floats | None]

# Inputs of more dimensions than this are not bisected: halving them all once would take more boxes than anyone has.
_MOST_DIMENSIONS = 10


def suits_bisection(problem: Problem) -> bool:
    """Whether the input is to be bisected rather than neurons: few dimensions, more open neurons than those."""
    packed = problem.packed
    few = 0 < packed.inputs <= _MOST_DIMENSIONS and packed.norm == np.inf
    return few and int(packed.lines.free.sum()) > 2 * packed.inputs


@dataclass(frozen=True, eq=False)
class Boxes:
    """Some boxes of inputs that may hold points of a target: a subproblem of a search.

    Attributes
    ----------
    polytope : int
        The target.
    lower, upper : float64 [K, n]
        Of the features that are not fixed over the whole region.
    bounds : float64 [K]
        In each box, some constraint is violated by at least so much.
    """

    polytope: int
    lower: Floats
    upper: Floats
    bounds: Floats

    @property
    def bound(self) -> float:
        return float(self.bounds.min(initial=np.inf))

    @property
    def rank(self) -> float:
        return self.bound

    @property
    def frame(self) -> tuple[Floats, Floats]:
        """The smallest box around all of them, lower and upper float64 [n]."""
        return self.lower.min(axis=0), self.upper.max(axis=0)

    def parts(self, levels: int) -> list[Boxes]:
        """The same in at most 2^``levels`` parts, each of boxes that are near each other."""
        count = self.bounds.size
        if levels == 0 or count < 2:
            return [self] if count else []
        centres = 0.5 * self.lower + 0.5 * self.upper
        low, high = self.frame
        spread = np.ptp(centres, axis=0) / np.where(high > low, high - low, 1.0)
        order = np.argsort(centres[:, int(np.argmax(spread))], kind="stable")
        return [
            part
            for half in (order[: count // 2], order[count // 2 :])
            for part in Boxes(self.polytope, self.lower[half], self.upper[half], self.bounds[half]).parts(levels - 1)
        ]


def into_cube(packed: Packed, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """Boxes [K, n] of the packed features in the coordinates of the cube, rounded outwards."""
    middle, reach = packed.middle[packed.features], packed.reach[packed.features]
    off = 2.0**-50 * (np.abs(middle) + reach + np.maximum(np.abs(lower), np.abs(upper))) / reach
    return np.maximum((lower - middle) / reach - off, -1.0), np.minimum((upper - middle) / reach + off, 1.0)


def out_of_cube(packed: Packed, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """The inverse, rounded outwards too."""
    middle, reach = packed.middle[packed.features], packed.reach[packed.features]
    off = 2.0**-50 * (np.abs(middle) + reach)
    return middle + reach * lower - off, middle + reach * upper + off


@dataclass(eq=False)
class Bisection:
    """A search for points of one target in some boxes.

    Attributes
    ----------
    problem : Problem
    target : int
    lower, upper : float64 [K, n]
        What is open, in the packed network's coordinates.
    bounds : float64 [K]
    counterexample : float64 [D] or None
    nodes : int
        Boxes that were bounded.
    """

    problem: Problem
    target: int
    lower: Floats
    upper: Floats
    bounds: Floats
    counterexample: Floats | None = None
    nodes: int = 0

    def grow(self, nodes: int, trial: Trial | None = None) -> None:
        """Bound boxes until none is open, ``nodes`` are bounded, or a counterexample turns up."""
        while self.bounds.size and self.nodes < nodes and self.counterexample is None:
            self._round(min(_AT_ONCE, self.bounds.size, nodes - self.nodes), trial)

    def _round(self, count: int, trial: Trial | None) -> None:
        """Bound the newest boxes: depth first, so that few are kept."""
        kept = self.bounds.size - count
        lower, upper, old = self.lower[kept:].copy(), self.upper[kept:].copy(), self.bounds[kept:]
        packed, rows = self.problem.packed, self.problem.rows[self.target]
        before = upper - lower
        best, dimension = np.empty(count), np.empty(count, dtype=np.int64)
        bound_boxes(
            packed.weight, packed.begins, packed.ends, packed.bias, packed.loss, packed.code, packed.parameters, packed.ramp,
            packed.gamma, packed.rounding.gamma(packed.inputs + packed.neurons + 8), packed.underflow, packed.rounding.tiny,
            rows.weight, rows.constant, rows.error, rows.top, lower, upper, best, dimension,
        )  # fmt: skip
        self.nodes += count
        open_ = ~(best > 0.0)
        lower, upper, dimension = lower[open_], upper[open_], dimension[open_]
        best, before = np.maximum(best, old)[open_], before[open_]
        if trial is not None and best.size:
            self.counterexample = trial(self.target, 0.5 * lower + 0.5 * upper)
        again = ((upper - lower) < _SHRUNK * before).any(axis=1)
        parts = [
            (lower[again], upper[again], best[again]),
            *_halves(lower, upper, best, dimension, np.flatnonzero(~again)),
        ]
        self.lower = np.concatenate([self.lower[:kept], *[p[0] for p in parts]])
        self.upper = np.concatenate([self.upper[:kept], *[p[1] for p in parts]])
        self.bounds = np.concatenate([self.bounds[:kept], *[p[2] for p in parts]])


def _halves(
    lower: Floats, upper: Floats, best: Floats, dimension: Indices, which: Indices
) -> list[tuple[Floats, Floats, Floats]]:
    lower, upper, best, dimension = lower[which], upper[which], best[which], dimension[which]
    each = np.arange(best.size)
    middle = 0.5 * lower[each, dimension] + 0.5 * upper[each, dimension]
    left, right = upper.copy(), lower.copy()
    left[each, dimension] = middle
    right[each, dimension] = middle
    return [(lower, left, best), (right, upper, best)]
