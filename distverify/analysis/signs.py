"""Signs of derivatives over regions: proved, or refuted by a point with the other sign, by the input's bisection or a tree's hull."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distverify.analysis.attack import Room
from distverify.analysis.bisection import SignSearch, suits_boxes
from distverify.analysis.brackets import Brackets
from distverify.arguments import network_of
from distverify.bounds.enclosure import enclose
from distverify.bounds.gradient import jacobian_at
from distverify.bounds.jacobian import check_methods, output_rows
from distverify.bounds.methods import WITHOUT_RECURSION, bound_rows
from distverify.bounds.reduced import Floats
from distverify.errors import SettingsError
from distverify.network.graph import Network
from distverify.questions.askers import Alone
from distverify.questions.memory import Memory
from distverify.questions.pieces import Arrays, Block
from distverify.questions.question import Cuts, Question, cut, stacked
from distverify.region import Ball, Box, region_of

Indices = NDArray[np.int64]

# What a sign is where points with derivatives of both signs are known.
BOTH = 2
_POINTS = 64
# Points that are evaluated with rounding, at most.
_SURE = 12


@dataclass(frozen=True, eq=False)
class Monotonicity:
    """How rows of outputs depend on each feature all over a region.

    Attributes
    ----------
    signs : int8 [K, D]
        1: rising, -1: falling, strictly and everywhere, whatever the other features are; 2: at some points the one and at others
        the other; 0: none of this is known.
    rising_at, falling_at : int64 [K, D]
        Which of ``points`` has a derivative that is certainly above 0, or below; -1 where none is known.
    points : float64 [P, D]
        Of the region.
    lower, upper : float64 [K, D]
        Bounds of the derivatives over the region.
    nodes : int
        Subproblems that were bounded.
    """

    signs: NDArray[np.int8]
    rising_at: Indices
    falling_at: Indices
    points: Floats
    lower: Floats
    upper: Floats
    nodes: int = 0


def monotonicity(
    network: Network,
    region: Ball,
    *,
    rows: Sequence[int] | None = None,
    C: ArrayLike | None = None,
    method: str = "linear",
    layer_bounds: str = "crown",
    nodes: int = 0,
    time_limit: float | None = None,
    seed: int | Sequence[int] = 0,
) -> Monotonicity:
    """Which outputs rise or fall with which features all over ``region``.

    Parameters
    ----------
    region : Ball or Box
        Bounded.
    rows, C : see :func:`distverify.jacobian_bounds`
    method, layer_bounds : see :func:`distverify.jacobian_bounds`
    nodes : int
        Subproblems for each output row, at most: boxes where few features move, else those of branch and bound over neurons.
        The same number gives the same result, to the last bit.
    time_limit : float, optional
        Seconds for each row; what is proved by then is returned.
    seed : int or sequence of int
        Of the points that are looked at.

    Raises
    ------
    SettingsError
        Unknown methods, a negative ``nodes``, an unbounded region.
    """
    check_methods(method, layer_bounds)
    network, region = network_of(network), region_of(region)
    if region.unbounded:
        raise SettingsError("region: is unbounded; monotonicity takes a bounded one")
    if nodes < 0:
        raise SettingsError(f"nodes: got {nodes}; give a whole number, 0 for none")
    if nodes and method in WITHOUT_RECURSION:
        raise SettingsError(f"nodes: got {nodes} with method {method}; a search needs linear, coupled or recurjac")
    matrix = output_rows(network, rows, C)
    bounds = bound_rows(enclose(network, region, layer_bounds), matrix, method)
    question = Signs(
        region, matrix, bounds.lower, bounds.upper, method, layer_bounds, nodes, tuple(np.atleast_1d(seed).tolist()), time_limit
    )  # fmt: skip
    told = Alone(network).ask(question)
    rising, falling = (np.asarray(told[name], np.int64) for name in ("rising_at", "falling_at"))
    points, lower, upper = (np.asarray(told[name], np.float64) for name in ("points", "lower", "upper"))
    signs = signs_of(lower, upper, rising, falling)
    return Monotonicity(signs, rising, falling, points, lower, upper, int(told["nodes"].sum()))


def signs_of(lower: Floats, upper: Floats, rising_at: Indices, falling_at: Indices) -> NDArray[np.int8]:
    """What bounds and points say: see :class:`Monotonicity`."""
    both = (rising_at >= 0) & (falling_at >= 0)
    proved = (lower > 0.0).astype(np.int8) - (upper < 0.0).astype(np.int8)
    return np.where(both, np.int8(BOTH), proved).astype(np.int8)


@dataclass(frozen=True, eq=False)
class Signs(Question[Arrays]):
    """Bounds of derivatives for the sake of their signs, and points of either sign, each row by a search of its own.

    Attributes
    ----------
    region : Ball
        Bounded.
    rows : float64 [K, outputs]
    lower, upper : float64 [K, D]
        Bounds of the rows' derivatives over the region.
    method, layer_bounds : str
    nodes : int
    seed : tuple of int
    seconds : float, optional
        For each row.
    """

    region: Ball
    rows: Floats
    lower: Floats
    upper: Floats
    method: str
    layer_bounds: str
    nodes: int
    seed: tuple[int, ...]
    seconds: float | None = None

    def cut(self, pieces: int, cuts: Cuts) -> Sequence[Block]:
        """Blocks of rows."""
        return cut(self.rows.shape[0], pieces, 1)

    def answer(self, memory: Memory, block: Block) -> Arrays:
        """ "lower", "upper", "rising_at", "falling_at" [block, D], "points" [P, D] that they name, and "nodes" [block]."""
        found = [self._of_row(memory, k) for k in range(*block)]
        return _joined([{n: v if n == "points" else v[None] for n, v in f.items()} for f in found])

    def join(self, answers: Sequence[Arrays]) -> Arrays:
        """Of all rows."""
        return _joined(answers)

    def _of_row(self, memory: Memory, k: int) -> Arrays:
        row, seed = self.rows[k : k + 1], (k, *self.seed)
        deadline = None if self.seconds is None else time.monotonic() + self.seconds
        lower, upper, nodes = self.lower[k], self.upper[k], 0
        if suits_boxes(memory.network, self.region):
            search = SignSearch(memory.network, self.region, row, seed)
            if self.nodes and ((lower <= 0.0) & (upper >= 0.0)).any():
                search.grow(self.nodes, deadline)
            lower, upper = np.fmax(lower, search.lower[0]), np.fmin(upper, search.upper[0])
            rising, falling, points = search.rising_at[0], search.falling_at[0], search.points
            nodes = search.nodes
        else:
            if self.nodes:
                tree = Brackets(
                    self.region, row, np.inf, None, self.method, self.layer_bounds, self.nodes, seed, False, self.seconds
                ).answer(memory, (0, 1))  # fmt: skip
                lower, upper = np.fmax(lower, _floats(tree, "lower")[0]), np.fmin(upper, _floats(tree, "upper")[0])
                nodes = int(tree["nodes"].sum())
            rising, falling, points = points_of_signs(memory.network, self.region, row, lower, upper, seed)
        at = np.array(points).reshape(len(points), lower.size)
        return {
            "lower": lower, "upper": upper, "rising_at": rising, "falling_at": falling, "points": at, "nodes": np.array(nodes),
        }  # fmt: skip


def _joined(answers: Sequence[Arrays]) -> Arrays:
    """Stacked; which points are named moves with those before."""
    told: Arrays = {name: stacked(answers, name) for name in answers[0]}
    before = np.cumsum([0, *(len(a["points"]) for a in answers[:-1])])
    for name in ("rising_at", "falling_at"):
        moved = [np.where(a[name] >= 0, a[name] + n, -1) for a, n in zip(answers, before, strict=True)]  # type: ignore[operator]
        told[name] = np.concatenate(moved)
    return told


def points_of_signs(
    network: Network, region: Ball, row: Floats, lower: Floats, upper: Floats, seed: tuple[int, ...]
) -> tuple[Indices, Indices, list[Floats]]:
    """Points at which derivatives of one row are certainly above 0, and below 0, where both may be: which, int64 [D], and they."""
    rising, falling = (np.full(network.input_size, -1, dtype=np.int64) for _ in range(2))
    room, points = Room.of(region), list[Floats]()
    x = room.starts(_POINTS, np.random.default_rng(seed))
    gradients = jacobian_at(network, x, row)[:, 0]
    open_ = (lower <= 0.0) & (upper >= 0.0)
    missing = np.stack([open_, open_])
    for _ in range(_SURE):
        seen = np.stack([gradients > 0.0, gradients < 0.0]) & missing[:, None]
        best = int(seen.sum(axis=(0, 2)).argmax())
        if not seen[:, best].any():
            break
        gradients[best] = 0.0
        if not room.holds(x[best]):
            continue
        sure = bound_rows(enclose(network, Box(x[best], x[best])), row, "linear", "backward")
        for side, at, certain in ((0, rising, sure.lower[0] > 0.0), (1, falling, sure.upper[0] < 0.0)):
            at[missing[side] & certain] = len(points)
            missing[side] &= ~certain
        points.append(x[best].copy())
    return rising, falling, points


def _floats(arrays: Arrays, name: str) -> Floats:
    return np.asarray(arrays[name], np.float64)
