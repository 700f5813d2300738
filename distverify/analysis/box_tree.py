"""Constants and values over boxes of few dimensions: the boxes whose bounds are largest are halved, many side by side.

For networks with curved activations, which no split of neurons makes straight. Bounds over a box are affine in the input and off by
what is of second order in its size (:mod:`distverify.bounds.affine_forms`), so that halving pays fourfold.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.bisection import suits_boxes
from distverify.bounds.affine_forms import BoxBounds, bound_boxes, boxes_at_once
from distverify.bounds.lipschitz import dual_norms, induced_norm, magnitude_chords, weighted
from distverify.bounds.reduced import Floats
from distverify.kernels.activations import ACTIVATIONS
from distverify.kernels.rounding import SOUND
from distverify.network.graph import Network
from distverify.network.nodes import ActivationNode
from distverify.region import Ball

# So many boxes are bounded in one go even where fewer are the worst half.
_LEAST_AT_ONCE = 32
_TINY = SOUND.tiny


def pays_to_halve(network: Network, region: Ball) -> bool:
    """Whether constants and values over ``region`` are searched for by boxes: few inputs move, and some activation is curved."""
    curved = any(isinstance(n, ActivationNode) and not ACTIVATIONS[n.kind].piecewise_linear for n in network.nodes)
    return curved and not network.jump and suits_boxes(network, region)


class Objective(Protocol):
    """What the largest of is looked for."""

    def bound(self, bounds: BoxBounds, radius: Floats) -> tuple[Floats, Floats]:
        """Sound upper bounds over boxes [B], and what halving along each input may gain of them [B, D]."""
        ...


@dataclass(frozen=True)
class LargestConstant:
    """The induced norm of the derivatives of rows (the dual norm of one row's).

    Attributes
    ----------
    norm : inf, 2 or 1
    weights : float64 [D], optional
        One factor per feature, which scale the norm at the input.
    """

    norm: float
    weights: Floats | None = None

    def bound(self, bounds: BoxBounds, radius: Floats) -> tuple[Floats, Floats]:
        lower, upper = bounds.jacobian_lower, bounds.jacobian_upper
        count, rows, size = lower.shape
        w = np.ones(size) if self.weights is None else self.weights
        share = radius**2 / np.maximum((radius**2).sum(axis=1, keepdims=True), 1e-300)
        gains = np.einsum("bkjl,j->bl", bounds.bends, w) + np.einsum("bkj,j->b", bounds.off, w)[:, None] * share
        magnitude = weighted(np.maximum(np.abs(lower), np.abs(upper)), self.weights)
        if self.norm == 1.0:
            return dual_norms(magnitude.swapaxes(1, 2), math.inf).max(axis=1), gains
        plain = dual_norms(magnitude, self.norm)
        if self.norm == 2.0:
            if rows == 1:
                return plain[:, 0], gains
            parts = np.stack([np.where(w > 0.0, side, 0.0) for side in (lower, upper)], axis=2)
            return np.array([induced_norm(e, 2.0, p, size) for e, p in zip(plain, parts, strict=True)]), gains
        # |J_j| <= s_j J_j + t_j, and the sum of s_j J_j is affine again: its parts cancel before magnitudes are taken.
        slopes, constants = magnitude_chords(lower.reshape(-1, size), upper.reshape(-1, size), self.weights)
        s, t = slopes.reshape(count, rows, size), constants.reshape(count, rows, size)
        merged = np.einsum("kljb,bkj->bkl", bounds.forms, s)
        sizes = np.einsum("kljb,bkj->bk", np.abs(bounds.forms), np.abs(s))
        off = np.einsum("bkj,bkj->bk", bounds.off, np.abs(s)) + t.sum(axis=2)
        chords = merged[:, :, 0] + np.abs(merged[:, :, 1:]).sum(axis=2) + off
        chords = chords + SOUND.gamma(2 * size + bounds.forms.shape[1] + 8) * (sizes + off) + _TINY
        return np.fmin(plain, np.maximum(chords, 0.0)).max(axis=1), gains


@dataclass(frozen=True)
class LargestValue:
    """The value of one row."""

    def bound(self, bounds: BoxBounds, radius: Floats) -> tuple[Floats, Floats]:
        steep = np.maximum(np.abs(bounds.jacobian_lower), np.abs(bounds.jacobian_upper))[:, 0]
        return bounds.upper[:, 0], steep * radius


@dataclass(frozen=True, eq=False)
class _Boxes:
    """float64 [B, D] between ``lower`` and ``upper``, their bounds [B], gains [B, D], and bounds of derivatives [B, K, D]."""

    lower: Floats
    upper: Floats
    bound: Floats
    gains: Floats
    jacobian_lower: Floats
    jacobian_upper: Floats

    def take(self, which: NDArray[np.generic]) -> _Boxes:
        return _Boxes(*(getattr(self, f.name)[which] for f in fields(self)))

    def joined(self, other: _Boxes) -> _Boxes:
        return _Boxes(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


@dataclass(eq=False)
class BoxTree:
    """A search for the largest of an objective over a box.

    Attributes
    ----------
    network : Network
    region : Ball
        See :func:`pays_to_halve`.
    rows : float64 [K, outputs]
    objective : Objective
    look : callable (points float64 [N, D]) -> float
        What is attained there or was before; no box below it is halved.
    tolerance : float
        Relative: the search ends where no box exceeds what is attained by more.
    bound : float
        Over the whole region: sound at any time.
    lower, upper : float64 [K, D]
        Hull of derivatives over all boxes.
    nodes : int
        Boxes that were bounded.
    """

    network: Network
    region: Ball
    rows: Floats
    objective: Objective
    look: Callable[[Floats], float]
    tolerance: float = 1e-4
    bound: float = math.inf
    lower: Floats = field(init=False)
    upper: Floats = field(init=False)
    nodes: int = 0
    _open: _Boxes = field(init=False)

    def __post_init__(self) -> None:
        self.network = self.network.in_precision("float64")
        low, high = self.region.box
        self._extent = np.where(high > low, high - low, 1.0)
        self._at_once = boxes_at_once(self.network, int((low < high).sum()))
        self._open = self._bounded(low[None], high[None])
        self._conclude()

    def grow(self, nodes: int, deadline: float | None = None) -> None:
        """Halve the boxes of the largest bounds until ``nodes`` are bounded, ``deadline`` is past, or nothing is to be gained.

        Parameters
        ----------
        nodes : int
            The same number gives the same bounds.
        deadline : float, optional
            By ``time.monotonic``.
        """
        attained = self.look(0.5 * self._open.lower + 0.5 * self._open.upper)
        while self.nodes + 1 < nodes and (deadline is None or time.monotonic() < deadline):
            boxes = self._open
            order = np.argsort(-boxes.bound, kind="stable")
            order = order[boxes.bound[order] > attained + self.tolerance * abs(attained)]
            some = min(max(_LEAST_AT_ONCE, order.size // 2), self._at_once, (nodes - self.nodes) // 2)
            parents = boxes.take(order[:some])
            each = np.arange(parents.bound.size)
            wide = parents.upper > parents.lower
            dimension = np.argmax(np.where(wide, np.nan_to_num(parents.gains, nan=np.inf), -1.0), axis=1)
            middle = 0.5 * parents.lower[each, dimension] + 0.5 * parents.upper[each, dimension]
            halved = (middle > parents.lower[each, dimension]) & (middle < parents.upper[each, dimension])
            if not halved.any():
                break
            left = np.ones(boxes.bound.size, dtype=bool)
            left[order[:some][halved]] = False
            parents, at, middle = parents.take(halved), dimension[halved], middle[halved]
            each = each[: at.size]
            lower, upper = np.concatenate([parents.lower] * 2), np.concatenate([parents.upper] * 2)
            upper[each, at] = middle
            lower[at.size + each, at] = middle
            children = self._bounded(lower, upper, parents.joined(parents))
            attained = self.look(0.5 * lower + 0.5 * upper)
            self._open = boxes.take(left).joined(children)
        self._conclude()

    def _bounded(self, lower: Floats, upper: Floats, parents: _Boxes | None = None) -> _Boxes:
        bounds = bound_boxes(self.network, lower, upper, self.rows)
        self.nodes += lower.shape[0]
        bound, gains = self.objective.bound(bounds, (upper - lower) / self._extent)
        bound = np.where(np.isnan(bound), np.inf, bound)
        jl, ju = bounds.jacobian_lower, bounds.jacobian_upper
        if parents is not None:
            bound = np.minimum(bound, parents.bound)
            jl, ju = np.maximum(jl, parents.jacobian_lower), np.minimum(ju, parents.jacobian_upper)
        return _Boxes(lower, upper, bound, gains, jl, ju)

    def _conclude(self) -> None:
        self.bound = float(self._open.bound.max())
        self.lower, self.upper = self._open.jacobian_lower.min(axis=0), self._open.jacobian_upper.max(axis=0)
