"""Points inside a region, in the coordinates in which every ball is round: u = (x - x0) / weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distverify.region import Balls

Floats = NDArray[np.float64]
_ORDER = {math.inf: np.inf, 2.0: 2, 1.0: 1}
_TRIES = 40


@dataclass(frozen=True, eq=False)
class Surroundings:
    """One sample with its balls, as an attacker sees them.

    Attributes
    ----------
    balls : Balls
    generator : numpy.random.Generator
    """

    balls: Balls
    generator: np.random.Generator

    @property
    def weights(self) -> Floats:
        """float64 [D]; 0 where a feature is fixed."""
        weights = self.balls.weights
        return np.ones(self.balls.x0.size) if weights is None else weights

    def distance(self, x: Floats, y: Floats | None = None) -> Floats:
        """Norm of (x - y) / weights for rows x and y (the sample by default), float64 [N]; infinite off fixed features."""
        difference = x - (self.balls.x0 if y is None else y)
        weights = self.weights
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.where(difference == 0.0, 0.0, difference / weights)
        return np.asarray(np.linalg.norm(scaled, ord=_ORDER[self.balls.norm], axis=1))

    def place(self, u: Floats, eps: float) -> Floats:
        """The points x0 + weights * u, brought into the ball of radius ``eps`` (and its box): float64 [N, D].

        Rounding may put a point a unit in the last place outside; such points are drawn in until their computed distance is
        at most ``eps``, if need be to the sample itself.
        """
        x0, weights = self.balls.x0, self.weights
        if self.balls.norm == math.inf:
            u = np.clip(u, -eps, eps)
        else:
            size = np.linalg.norm(u, ord=_ORDER[self.balls.norm], axis=1)
            u = u * np.where(size > eps, eps / np.where(size > 0, size, 1.0), 1.0)[:, None]
        lo, hi = self.balls.at(0.0).clip_box
        x = np.clip(x0 + weights * u, lo, hi)
        for _ in range(_TRIES):
            outside = self.distance(x) > eps
            if not outside.any():
                return x
            if self.balls.norm == math.inf:
                x[outside] = np.nextafter(x[outside], x0)
            else:
                x[outside] = x0 + (x[outside] - x0) * (1.0 - 1e-9)
        x[self.distance(x) > eps] = x0
        return x

    def steepest(self, gradients: Floats) -> Floats:
        """For each row of gradients by x, the direction u of unit norm in which the function rises fastest."""
        g = gradients * self.weights
        if self.balls.norm == math.inf:
            return np.sign(g)
        if self.balls.norm == 2.0:
            size = np.linalg.norm(g, axis=1, keepdims=True)
            return np.asarray(g / np.where(size > 0, size, 1.0))
        direction = np.zeros_like(g)
        best = np.abs(g).argmax(axis=1)
        rows = np.arange(g.shape[0])
        direction[rows, best] = np.sign(g[rows, best])
        return direction

    def inside(self, count: int, eps: float) -> Floats:
        """Random directions at random distances: u float64 [count, D]."""
        u = self._directions(count)
        return u * (
            eps
            * self.generator.random((count, 1)) ** (1.0 / self.balls.x0.size if self.balls.norm != math.inf else 1.0)
        )

    def corners(self, count: int, eps: float) -> Floats:
        """Random extreme points of the ball: u float64 [count, D]."""
        size = self.balls.x0.size
        if self.balls.norm == math.inf:
            return eps * self.generator.choice([-1.0, 1.0], (count, size))
        if self.balls.norm == 2.0:
            return eps * self._directions(count)
        u = np.zeros((count, size))
        u[np.arange(count), self.generator.integers(size, size=count)] = eps * self.generator.choice([-1.0, 1.0], count)
        return u

    def _directions(self, count: int) -> Floats:
        """Random u of norm (at most) one."""
        size = self.balls.x0.size
        if self.balls.norm == math.inf:
            return self.generator.uniform(-1.0, 1.0, (count, size))
        u = (
            self.generator.standard_normal((count, size))
            if self.balls.norm == 2.0
            else self.generator.laplace(size=(count, size))
        )
        return np.asarray(u / np.linalg.norm(u, ord=_ORDER[self.balls.norm], axis=1, keepdims=True))


def dual_norms(gradients: Floats, norm: float) -> Floats:
    """Dual norm along the last axis."""
    return np.asarray(np.linalg.norm(gradients, ord={math.inf: 1, 2.0: 2, 1.0: np.inf}[norm], axis=-1))


def induced_norms(jacobians: Floats, norm: float) -> Floats:
    """Induced p -> p norm of each matrix [..., outputs, inputs]."""
    return np.asarray(np.linalg.norm(jacobians, ord=_ORDER[norm], axis=(-2, -1)))
