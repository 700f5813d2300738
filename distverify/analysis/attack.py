"""A search for counterexamples: projected gradient descent with momentum, from several starts, inside a region.

Sources: Madry et al., ICLR 2018; momentum, Dong et al., CVPR 2018. What it finds counts only once its outputs are evaluated with
an error bound (:mod:`distverify.analysis.evaluation`); every point that it looks at lies in the region exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distverify.analysis.branching.polytopes import Target
from distverify.analysis.evaluation import highest_at
from distverify.analysis.points import Surroundings
from distverify.bounds.gradient import jacobian_at
from distverify.bounds.reduced import Floats
from distverify.network.graph import Network
from distverify.region import Ball, Balls

_STEPS = 40
_RESTARTS = 8
_MOMENTUM = 0.75
# Points in flight at a time: memory for their values and gradients stays small.
_POINTS = 256


@dataclass(frozen=True, eq=False)
class Attacker:
    """Looks for points of ``region`` whose outputs lie in some target.

    Attributes
    ----------
    network : Network
    region : Ball
    targets : sequence of Target
    seed : int or sequence of int
        The same seed, the same points.
    inner : (lower, upper), float64 [D] each, optional
        For norm inf: the box in which points count, where it is smaller than the region.
    """

    network: Network
    region: Ball
    targets: Sequence[Target]
    seed: int | Sequence[int] = 0
    inner: tuple[Floats, Floats] | None = None

    @property
    def room(self) -> Room:
        """The points that count."""
        return Room.of(self.region) if self.inner is None else Room(*self.inner, None, math.inf)

    def search(self, which: Sequence[int], restarts: int = _RESTARTS, steps: int = _STEPS) -> Floats | None:
        """A counterexample x [D] of one of the targets ``which``, or None where none turned up."""
        room = self.room
        generator = np.random.default_rng(self.seed)
        at_once = max(1, _POINTS // (restarts + 1))
        for first in range(0, len(which), at_once):
            part = list(which[first : first + at_once])
            starts = room.starts(restarts, generator)
            x = np.concatenate([starts] * len(part))
            aims = np.repeat(np.array(part), starts.shape[0])
            found = self._descend(room, x, aims, steps)
            if found is not None:
                return found
        return None

    def from_points(self, target: int, points: Floats, steps: int = 10) -> Floats | None:
        """A counterexample of ``target`` at or near one of ``points`` float64 [K, D]."""
        room = self.room
        return self._descend(room, room.clamp(points), np.full(points.shape[0], target), steps, 0.25)

    def _descend(self, room: Room, x: Floats, aims: Floats, steps: int, far: float = 1.0) -> Floats | None:
        momentum = np.zeros_like(x)
        lead = np.full(x.shape[0], np.inf)
        for step in range(steps + 1):
            outputs = self.network(x)
            clear, rows = self._clearance(outputs, aims)
            for k in np.flatnonzero(clear <= 0.0):
                confirmed = self.confirm(int(aims[k]), x[k])
                if confirmed is not None:
                    return confirmed
            if step == steps:
                return None
            lead = np.minimum(lead, clear)
            gradients = jacobian_at(self.network, x, rows[:, None, :])[:, 0]
            size = np.abs(gradients).sum(axis=1, keepdims=True)
            momentum = _MOMENTUM * momentum + gradients / np.where(size > 0.0, size, 1.0)
            # The first step goes all the way: for a linear network it is the last one.
            pace = 2.0 * far if step == 0 else far * (2.0 / math.sqrt(steps)) * (1.0 - step / (steps + 1))
            x = room.move(x, momentum, pace)
        return None

    def _clearance(self, outputs: Floats, aims: Floats) -> tuple[Floats, Floats]:
        """How far each point's outputs are from its target, and the row of the constraint that is farthest."""
        clear, rows = np.full(aims.size, -np.inf), np.zeros_like(outputs)
        for aim in np.unique(aims):
            target = self.targets[int(aim)]
            if target.bounds.size == 0:
                continue
            here = np.flatnonzero(aims == aim)
            values = outputs[here] @ target.rows.T - target.bounds
            worst = np.argmax(values, axis=1)
            clear[here] = values[np.arange(here.size), worst]
            rows[here] = target.rows[worst]
        return clear, rows

    def confirm(self, target: int, x: Floats) -> Floats | None:
        """``x`` if it certainly lies in the region and its outputs in the target."""
        aim = self.targets[target]
        if not self.room.holds(x):
            return None
        if aim.bounds.size and not bool((highest_at(self.network, x, aim.rows, aim.bounds) + aim.off < 0.0).all()):
            return None
        return x.copy()


@dataclass(frozen=True, eq=False)
class Room:
    """The points of a region that float64 can name without doubt.

    Attributes
    ----------
    lower, upper : float64 [D]
        For norm inf all of it, rounded inwards; for the others the box.
    around : Surroundings or None
        The ball, for norms 2 and 1.
    eps : float
        Its radius, rounded inwards.
    """

    lower: Floats
    upper: Floats
    around: Surroundings | None
    eps: float

    @classmethod
    def of(cls, region: Ball) -> Room:
        """The points of ``region``."""
        lower, upper = region.inner_box
        if region.norm == math.inf:
            return cls(lower, upper, None, math.inf)
        assert isinstance(region.eps, float)
        balls = Balls(region.x0, region.norm, region.clip, None)
        return cls(lower, upper, Surroundings(balls, np.random.default_rng(0)), region.eps * (1.0 - 1e-12))

    def clamp(self, x: Floats) -> Floats:
        """The points brought into the region: float64 [N, D]."""
        if self.around is None:
            return np.asarray(np.clip(x, self.lower, self.upper))
        return np.asarray(self.around.place(x - self.around.balls.x0, self.eps))

    def holds(self, x: Floats) -> bool:
        """Whether ``x`` [D] is one of them."""
        inside = bool(((self.lower <= x) & (x <= self.upper)).all())
        return inside and (self.around is None or float(self.around.distance(x[None])[0]) <= self.eps)

    def move(self, x: Floats, gradients: Floats, pace: float) -> Floats:
        """A step against the gradients; ``pace`` 2 goes from one end to the other."""
        if self.around is None:
            return np.asarray(
                np.clip(x - pace * 0.5 * (self.upper - self.lower) * np.sign(gradients), self.lower, self.upper)
            )
        return self.clamp(x - pace * self.eps * self.around.steepest(gradients))

    def starts(self, count: int, generator: np.random.Generator) -> Floats:
        """The middle, then corners and random points: float64 [1 + count, D]."""
        if self.around is None:
            middle = np.clip(0.5 * self.lower + 0.5 * self.upper, self.lower, self.upper)
            share = generator.random((count, middle.size))
            share[count // 2 :] = np.round(share[count // 2 :])
            points = np.concatenate([middle[None], self.lower + share * (self.upper - self.lower)])
            return np.asarray(np.clip(points, self.lower, self.upper))
        around = Surroundings(self.around.balls, generator)
        half = count // 2
        u = np.concatenate([around.inside(half, self.eps), around.corners(count - half, self.eps)])
        return np.concatenate([around.balls.x0[None], around.place(u, self.eps)])
