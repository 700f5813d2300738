"""Signs and bounds of derivatives over regions of few dimensions: the input is bisected where a sign is most in doubt.

A sign is proved once every box of the partition proves it, and refuted by a point at which the derivative certainly has the other one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.attack import Room
from distverify.bounds.affine_forms import BoxBounds, bound_boxes, boxes_at_once
from distverify.bounds.gradient import jacobian_at
from distverify.bounds.reduced import Floats
from distverify.network.graph import Network
from distverify.region import Ball

# Neurons of a layer times inputs, at most: all derivatives of all neurons are carried along.
_LARGEST = 1_000_000
# Inputs that move, at most: halving more of them once each would take more boxes than anyone has.
MOST_DIMENSIONS = 10
_SAMPLES = 2048
# Points whose derivatives are bounded in one go.
_POINTS = 256
# Derivatives closer to 0 than this, relative to the largest of the output, are not looked at with rounding.
_CLEAR = 1e-9
# Rounds for the sign that looks easiest, before another one has its turn.
_ROUNDS = 24


def suits_boxes(network: Network, region: Ball) -> bool:
    """Whether the region is a box in which few inputs move, and the network small enough for many of them side by side."""
    low, high = region.box
    if region.unbounded or np.array_equal(low, high):
        return False
    return not unsuited(network, network.input_size, int((low < high).sum()), region.norm)


def unsuited(network: Network, inputs: int, moving: int, norm: float) -> str:
    """Why boxes are not halved, in words; empty where they are.

    Parameters
    ----------
    network : Network
    inputs : int
        That derivatives are with respect to: those of the network, or parameters of a family of perturbations.
    moving : int
        Those of them that are not fixed.
    norm : float
        Of the ball; inf for a box.
    """
    if norm != np.inf:
        return f"balls of the norm {norm:g} are no boxes"
    if moving > MOST_DIMENSIONS:
        return f"{moving} inputs move, and boxes are halved where at most {MOST_DIMENSIONS} do"
    largest = max(node.size for node in network.nodes)
    if largest * (inputs + 1) > _LARGEST:
        return f"a layer of {largest} neurons with {inputs} inputs is too large for many boxes side by side"
    return ""


@dataclass(frozen=True, eq=False)
class _Boxes:
    """Boxes between ``lower`` and ``upper``, float64 [B, D], with bounds over each: see :class:`BoxBounds`."""

    lower: Floats
    upper: Floats
    jacobian_lower: Floats
    jacobian_upper: Floats
    value_lower: Floats
    value_upper: Floats

    @property
    def count(self) -> int:
        return int(self.lower.shape[0])

    def take(self, which: NDArray[np.generic]) -> _Boxes:
        """Some of them, by index or mask."""
        return _Boxes(*(getattr(self, f.name)[which] for f in fields(self)))

    def joined(self, *others: _Boxes) -> _Boxes:
        """With others behind."""
        every = (self, *others)
        return _Boxes(*(np.concatenate([getattr(part, f.name) for part in every]) for f in fields(self)))

    def within(self, bounds: BoxBounds) -> _Boxes:
        """With bounds that hold besides."""
        return _Boxes(
            self.lower, self.upper, np.maximum(self.jacobian_lower, bounds.jacobian_lower),
            np.minimum(self.jacobian_upper, bounds.jacobian_upper), np.maximum(self.value_lower, bounds.lower),
            np.minimum(self.value_upper, bounds.upper),
        )  # fmt: skip


@dataclass(eq=False)
class SignSearch:
    """Signs of the derivatives of ``rows @ f`` over a box.

    Attributes
    ----------
    network : Network
    region : Ball
        See :func:`suits_boxes`.
    rows : float64 [K, outputs]
    seed : int or tuple of int
        Of the points that are looked at first.
    features : int64 [n], optional
        Whose signs are asked for; all by default.
    points : list of float64 [D]
        Some at which signs of derivatives are certain.
    rising_at, falling_at : int64 [K, D]
        Which of them has a derivative above 0, or below; -1 where none was found.
    lower, upper : float64 [K, D]
        Hull of the derivatives over the partition.
    value_lower, value_upper : float64 [K]
        The same of the rows' values.
    nodes : int
        Boxes that were bounded.
    """

    network: Network
    region: Ball
    rows: Floats
    seed: int | tuple[int, ...] = 0
    features: NDArray[np.int64] | None = None
    points: list[Floats] = field(default_factory=list)
    rising_at: NDArray[np.int64] = field(init=False)
    falling_at: NDArray[np.int64] = field(init=False)
    lower: Floats = field(init=False)
    upper: Floats = field(init=False)
    value_lower: Floats = field(init=False)
    value_upper: Floats = field(init=False)
    nodes: int = 0

    def __post_init__(self) -> None:
        self.network = self.network.in_precision("float64")
        shape = (self.rows.shape[0], self.network.input_size)
        self._room = Room.of(self.region)
        self.rising_at, self.falling_at = (np.full(shape, -1, dtype=np.int64) for _ in range(2))
        self._least, self._most = np.full(shape, np.inf), np.full(shape, -np.inf)
        self._look(self._room.starts(_SAMPLES, np.random.default_rng(self.seed)))
        low, high = self.region.box
        open_ = np.full((1, *shape), np.inf)
        self._boxes = _Boxes(low[None], high[None], -open_, open_, -open_[:, :, 0], open_[:, :, 0])
        self._closed: list[_Boxes] = []
        self._extent = np.where(high > low, high - low, 1.0)
        self._conclude()

    @property
    def signs(self) -> NDArray[np.int8]:
        """int8 [K, D]: 1 or -1 where the derivative has that strict sign all over the region, else 0."""
        return np.asarray((self.lower > 0.0).astype(np.int8) - (self.upper < 0.0).astype(np.int8))

    @property
    def refuted(self) -> NDArray[np.bool_]:
        """bool [K, D]: where points with derivatives of both signs are known."""
        return np.asarray((self.rising_at >= 0) & (self.falling_at >= 0))

    def grow(self, nodes: int, deadline: float | None = None) -> None:
        """Bound boxes until every sign is proved or refuted, ``nodes`` are bounded or ``deadline`` is past.

        Parameters
        ----------
        nodes : int
            The same number gives the same result.
        deadline : float, optional
            By ``time.monotonic``.
        """
        low, high = self.region.box
        at_once = boxes_at_once(self.network, int((low < high).sum()))
        turns = np.zeros(self.lower.shape, dtype=np.int64)
        while self._boxes.count and self.nodes < nodes:
            if deadline is not None and time.monotonic() >= deadline:
                break
            doubt = self._doubt(self._boxes)
            worst = doubt.max(axis=0)
            if not (worst >= 0.0).any():
                break
            # The sign that is easiest to prove, of those that had the fewest turns.
            key = np.where(worst >= 0.0, np.minimum(worst, 1e5) + 1e6 * (turns // _ROUNDS), np.inf)
            k, j = divmod(int(np.argmin(key)), key.shape[1])
            turns[k, j] += 1
            own = doubt[:, k, j]
            order = np.argsort(-own, kind="stable")
            order = order[own[order] >= 0.0][: min(at_once, nodes - self.nodes)]
            self._bound(order, k, j)
        self._conclude()

    def _bound(self, which: NDArray[np.int64], k: int, j: int) -> None:
        """Bound some of the open boxes, close those that leave no sign in doubt, and halve the others for that of entry k, j."""
        taken = self._boxes.take(which)
        left = np.ones(self._boxes.count, dtype=bool)
        left[which] = False
        bounds = bound_boxes(self.network, taken.lower, taken.upper, self.rows)
        self.nodes += taken.count
        self._look(0.5 * taken.lower + 0.5 * taken.upper)
        taken = taken.within(bounds)
        doubt = self._doubt(taken)
        open_ = (doubt >= 0.0).any(axis=(1, 2))
        relative = (taken.upper - taken.lower) / self._extent
        share = relative**2 / np.maximum((relative**2).sum(axis=1, keepdims=True), 1e-300)
        score = bounds.bends[:, k, j] + bounds.off[:, k, j, None] * share
        dimension = np.argmax(np.where(relative > 0.0, np.nan_to_num(score, nan=np.inf), -1.0), axis=1)
        each = np.arange(taken.count)
        middle = 0.5 * taken.lower[each, dimension] + 0.5 * taken.upper[each, dimension]
        # A box that no number halves is left as it is.
        stuck = (middle <= taken.lower[each, dimension]) | (middle >= taken.upper[each, dimension])
        closed = taken.take(~open_ | stuck)
        if closed.count:
            self._closed.append(_hull(closed))
        halved = np.flatnonzero(open_ & ~stuck)
        first, second = taken.take(halved), taken.take(halved)
        first.upper[np.arange(halved.size), dimension[halved]] = middle[halved]
        second.lower[np.arange(halved.size), dimension[halved]] = middle[halved]
        self._boxes = self._boxes.take(left).joined(first, second)

    def _doubt(self, boxes: _Boxes) -> Floats:
        """By how much each box leaves each derivative's sign open, relative to its size: float64 [B, K, D], below 0 where it does not."""
        size = np.maximum(np.maximum(np.abs(self._least), np.abs(self._most)), 1e-300)
        rising, falling = self._least > 0.0, self._most < 0.0
        short = np.where(rising, -boxes.jacobian_lower, np.where(falling, boxes.jacobian_upper, -np.inf))
        asked = np.zeros(size.shape, dtype=bool)
        asked[:, slice(None) if self.features is None else self.features] = True
        return np.where((rising | falling) & ~self.refuted & asked, short / size, -np.inf)

    def _look(self, points: Floats) -> None:
        """Note derivatives at ``points`` float64 [N, D], and make sure of signs that were not seen before."""
        x = self._room.clamp(points)
        jacobians = jacobian_at(self.network, x, self.rows)
        self._least = np.minimum(self._least, jacobians.min(axis=0))
        self._most = np.maximum(self._most, jacobians.max(axis=0))
        clear = _CLEAR * np.abs(jacobians).max(axis=(0, 2))[:, None]
        wanted: dict[int, None] = {}
        for at, values in ((self.rising_at, jacobians), (self.falling_at, -jacobians)):
            best = values.argmax(axis=0)
            new = (at < 0) & (values.max(axis=0) > clear)
            wanted |= dict.fromkeys(best[new].tolist())
        chosen = np.array(list(wanted), dtype=np.int64)
        for first in range(0, chosen.size, _POINTS):
            self._make_sure(x[chosen[first : first + _POINTS]])

    def _make_sure(self, points: Floats) -> None:
        """Note the signs that derivatives certainly have at ``points``."""
        bounds = bound_boxes(self.network, points, points, self.rows)
        for at, sure in ((self.rising_at, bounds.jacobian_lower > 0.0), (self.falling_at, bounds.jacobian_upper < 0.0)):
            new = (at < 0) & sure.any(axis=0)
            first = sure.argmax(axis=0)
            for place in np.unique(first[new]).tolist():
                at[new & (first == place)] = len(self.points)
                self.points.append(points[place].copy())

    def _conclude(self) -> None:
        every = _hull(self._boxes.joined(*self._closed)) if self._boxes.count or self._closed else self._boxes
        self.lower, self.upper = every.jacobian_lower[0], every.jacobian_upper[0]
        self.value_lower, self.value_upper = every.value_lower[0], every.value_upper[0]


def _hull(boxes: _Boxes) -> _Boxes:
    """One box around all of them, with what holds over each."""
    return _Boxes(
        boxes.lower.min(axis=0)[None], boxes.upper.max(axis=0)[None], boxes.jacobian_lower.min(axis=0)[None],
        boxes.jacobian_upper.max(axis=0)[None], boxes.value_lower.min(axis=0)[None], boxes.value_upper.max(axis=0)[None],
    )  # fmt: skip
