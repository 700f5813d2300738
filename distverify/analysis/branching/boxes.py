"""Bisecting the input, where it has few dimensions: a child inherits nothing but its box, so that thousands are bounded in one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from distverify.analysis.branching.polytopes import Problem
from distverify.bounds.packed import Indices
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
    """Some boxes of the packed network's cube that may hold points of a target: a subproblem of a search.

    Attributes
    ----------
    polytope : int
        The target.
    lower, upper : float64 [K, n]
    bounds : float64 [K]
        In each box, some constraint is violated by at least so much.
    """

    polytope: int
    lower: Floats
    upper: Floats
    bounds: Floats

    @classmethod
    def whole(cls, n: int, polytope: int) -> Boxes:
        """The cube of ``n`` dimensions."""
        return cls(polytope, np.full((1, n), -1.0), np.ones((1, n)), np.full(1, -np.inf))

    @property
    def bound(self) -> float:
        return float(self.bounds.min(initial=np.inf))

    @property
    def rank(self) -> float:
        return self.bound

    def parts(self, count: int) -> list[Boxes]:
        """The same in at most ``count`` parts, each with some of every size."""
        parts = [slice(k, None, count) for k in range(min(count, self.bounds.size))]
        return [Boxes(self.polytope, self.lower[p], self.upper[p], self.bounds[p]) for p in parts]


@dataclass(eq=False)
class Bisection:
    """A search for points of one target in some boxes.

    Attributes
    ----------
    problem : Problem
    target : int
    counterexample : float64 [D] or None
    nodes : int
        Boxes that were bounded.
    """

    problem: Problem
    target: int
    counterexample: Floats | None = None
    nodes: int = 0
    _lower: Floats = field(init=False)
    _upper: Floats = field(init=False)
    _bounds: Floats = field(init=False)

    @classmethod
    def of(cls, problem: Problem, boxes: Boxes) -> Bisection:
        """A search that begins with ``boxes``."""
        search = cls(problem, boxes.polytope)
        search._lower, search._upper, search._bounds = boxes.lower, boxes.upper, boxes.bounds
        return search

    @property
    def left(self) -> Boxes:
        """What is open."""
        return Boxes(self.target, self._lower, self._upper, self._bounds)

    def grow(self, nodes: int, trial: Trial | None = None) -> None:
        """Bound boxes until none is open, ``nodes`` are bounded, or a counterexample turns up."""
        while self._bounds.size and self.nodes < nodes and self.counterexample is None:
            self._round(min(_AT_ONCE, self._bounds.size, nodes - self.nodes), trial)

    def _round(self, count: int, trial: Trial | None) -> None:
        """Bound the newest boxes: depth first, so that few are kept."""
        kept = self._bounds.size - count
        lower, upper, old = self._lower[kept:].copy(), self._upper[kept:].copy(), self._bounds[kept:]
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
        self._lower = np.concatenate([self._lower[:kept], *[p[0] for p in parts]])
        self._upper = np.concatenate([self._upper[:kept], *[p[1] for p in parts]])
        self._bounds = np.concatenate([self._bounds[:kept], *[p[2] for p in parts]])


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
