"""Constants that are attained: the other end of every bound of a Lipschitz constant.

The norm of a gradient at one point of the region is a lower bound of the constant. Gradients are looked for in plain floating
point; what is published is evaluated anew with its rounding: the smallest magnitudes that bounds over the single point allow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from distverify.analysis.attack import Room
from distverify.bounds.enclosure import enclose
from distverify.bounds.gradient import jacobian_at
from distverify.bounds.methods import bound_rows
from distverify.bounds.midpoints import midpoint_radius
from distverify.bounds.reduced import Floats
from distverify.kernels.rounding import SOUND
from distverify.network.graph import Network
from distverify.region import Ball, Box

_SAMPLES = 64
# A gradient counts as larger if floating point says so by this much, relatively.
_WORTH = 1e-9
# Steps uphill, from so many points, and how far they go at first and at last, in shares of the region.
_STEPS, _CLIMBERS, _PACES = 8, 4, (1.0, 0.1)
# Points that are evaluated with rounding, at most, for one that is as large as floating point promised.
_TRIES = 4


def induced_norms(jacobians: Floats, norm: float) -> Floats:
    """Induced p -> p norms of matrices [N, K, D], about: float64 [N]. Of a single row that is its dual norm."""
    if norm == math.inf:
        return np.asarray(np.abs(jacobians).sum(axis=2).max(axis=1))
    if norm == 1.0:
        return np.asarray(np.abs(jacobians).sum(axis=1).max(axis=1))
    return np.asarray(np.linalg.norm(jacobians, ord=2, axis=(1, 2)))


def least_induced_norm(lower: Floats, upper: Floats, norm: float) -> float:
    """A lower bound of the induced norm of every matrix within bounds, float64 [K, D] each."""
    shrink = 1.0 - SOUND.gamma(sum(lower.shape) + 6)
    if norm != 2.0:
        least = np.maximum(np.maximum(lower, -upper), 0.0)
        return max(0.0, float(induced_norms(least[None], norm)[0]) * shrink - SOUND.tiny)
    # ||J|| >= ||J v|| / ||v|| for any v; the best one is the middle's own.
    middle, spread = midpoint_radius(lower, upper)
    direction = np.linalg.svd(middle)[2][0]
    size = np.abs(direction)
    gamma = SOUND.gamma(lower.shape[1] + 4)
    lost = (spread + gamma * np.abs(middle)) @ size * (1.0 + gamma)
    moved = np.maximum(np.abs(middle @ direction) - lost - SOUND.tiny, 0.0)
    return max(0.0, float(np.linalg.norm(moved) / np.linalg.norm(direction)) * shrink - SOUND.tiny)


@dataclass(eq=False)
class AttainedConstant:
    """The largest constant of some rows together that their Jacobian at a point of the region was seen to attain.

    Attributes
    ----------
    network : Network
    region : Ball
    rows : float64 [K, outputs]
    norm : inf, 2 or 1
        Of the input and of the K outputs.
    weights : float64 [D], optional
        One factor per feature, which scale the norm at the input.
    value : float
        Sound: the constant over the region is at least this.
    point : float64 [D] or None
        Where.
    promised : float
        The largest constant that floating point has seen since; :meth:`confirm` makes it certain.
    """

    network: Network
    region: Ball
    rows: Floats
    norm: float
    weights: Floats | None = None
    value: float = 0.0
    point: Floats | None = None
    promised: float = 0.0
    _room: Room = field(init=False)
    _best: Floats = field(init=False)
    _waiting: list[tuple[float, Floats]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._room = Room.of(self.region)
        self._best = np.zeros((0, self.network.input_size))

    def sample(self, seed: int | Sequence[int], count: int = _SAMPLES) -> float:
        """Look at the middle, corners and random points of the region."""
        return self.look(self._room.starts(count, np.random.default_rng(seed)))

    def climb(self) -> float:
        """Go uphill from the best points that were sampled: along the change of the derivatives that make up the constant.

        Where v is the direction in which the Jacobian J moves most (a row's signs, for norm inf), the constant is about u'J v, and its
        derivative by x that of the gradient of u'f along v: a difference of two gradients. Across a kink, too, it points to the
        steeper side.
        """
        x = self._best
        for step in range(_STEPS if len(x) else 0):
            pace = _PACES[0] * (_PACES[1] / _PACES[0]) ** (step / (_STEPS - 1))
            rows, along = self._leading(jacobian_at(self.network, x, self.rows))
            ahead, behind = self._room.move(x, -along, 0.1 * pace), self._room.move(x, along, 0.1 * pace)
            both = jacobian_at(self.network, np.concatenate([ahead, behind]), self.rows)
            change = np.einsum("nkd,nk->nd", both[: len(x)] - both[len(x) :], rows)
            moved = self._room.move(x, -change, pace)
            before, after = self._seen(jacobian_at(self.network, x, self.rows)), self._seen(self._jacobians(moved))
            x = np.where((after > before)[:, None], moved, x)
        return self.promised

    def _leading(self, jacobians: Floats) -> tuple[Floats, Floats]:
        """Of Jacobians [N, K, D], the rows u [N, K] and the input's direction v [N, D] that make up their norms, about."""
        scaled = jacobians if self.weights is None else jacobians * self.weights
        each = np.arange(len(scaled))
        rows = np.zeros(scaled.shape[:2])
        if self.norm == 2.0:
            u, _, v = np.linalg.svd(scaled, full_matrices=False)
            return u[:, :, 0], v[:, 0]
        if self.norm == math.inf:
            best = np.abs(scaled).sum(axis=2).argmax(axis=1)
            rows[each, best] = 1.0
            return rows, np.sign(scaled[each, best])
        column = np.abs(scaled).sum(axis=1).argmax(axis=1)
        rows[:] = np.sign(scaled[each, :, column])
        along = np.zeros((len(scaled), scaled.shape[2]))
        along[each, column] = 1.0
        return rows, along

    def look(self, points: Floats) -> float:
        """Look at ``points`` float64 [K, D], brought into the region; the largest value that floating point has promised."""
        self._jacobians(points)
        return self.promised

    def _seen(self, jacobians: Floats) -> Floats:
        return induced_norms(jacobians if self.weights is None else jacobians * self.weights, self.norm)

    def _jacobians(self, points: Floats) -> Floats:
        """Of ``points``, brought into the region; the one of the largest constant is noted."""
        x = self._room.clamp(points)
        jacobians = jacobian_at(self.network, x, self.rows)
        seen = self._seen(jacobians)
        best = int(np.argmax(seen))
        self._best = x[np.argsort(-seen, kind="stable")[:_CLIMBERS]] if not len(self._best) else self._best
        if seen[best] > self.promised * (1.0 + _WORTH) and self._room.holds(x[best]):
            self.promised = float(seen[best])
            self._waiting.append((self.promised, x[best].copy()))
        return jacobians

    def confirm(self) -> float:
        """Evaluate what was promised, with rounding: :attr:`value`, which is all that is promised from then on."""
        for _ in range(_TRIES):
            if not self._waiting or self._waiting[-1][0] <= self.value:
                break
            _, x = self._waiting.pop()
            certain = self._at(x)
            if certain > self.value:
                self.value, self.point = certain, x
        self._waiting.clear()
        self.promised = self.value
        return self.value

    def _at(self, x: Floats) -> float:
        """A lower bound of the Jacobian's induced norm at ``x`` [D]."""
        bounds = bound_rows(enclose(self.network, Box(x, x)), self.rows, "linear", "backward")
        lower, upper = bounds.lower, bounds.upper
        if self.weights is not None:
            lower, upper = (np.nextafter(side * self.weights, end) for side, end in ((lower, -np.inf), (upper, np.inf)))
        if not (np.isfinite(lower).all() and np.isfinite(upper).all()):
            return 0.0
        return least_induced_norm(lower, upper, self.norm)
