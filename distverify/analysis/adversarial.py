"""Projected gradient descent (Madry et al., ICLR 2018) for points of another class, as near to the sample as can be found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.points import Surroundings
from distverify.bounds.gradient import jacobian_at
from distverify.network.graph import Network

Floats = NDArray[np.float64]

_STEPS = 20
_BISECTION = 30
# Relative to the logits: a smaller deficit may be rounding of the evaluation.
_CLEAR = 1e-9


def nearest_adversarial(
    network: Network, around: Surroundings, label: int, target: int, levels: Sequence[float], restarts: int
) -> float:
    """Distance of the nearest point found at which class ``target`` has a clearly larger logit than ``label``.

    Parameters
    ----------
    levels : sequence of float
        Radii of the balls to search, ascending; the search ends with the first success.
    restarts : int
        Starting points in each ball.

    Returns
    -------
    float
        In the norm of the balls; infinite if none was found.
    """
    rows = np.zeros((1, network.output_size))
    rows[0, label], rows[0, target] = 1.0, -1.0
    for eps in levels:
        u = np.concatenate(
            [
                np.zeros((1, around.balls.x0.size)),
                around.inside(restarts // 2, eps),
                around.corners(restarts - restarts // 2, eps),
            ]
        )
        x = around.place(u, eps)
        for step in range(_STEPS + 1):
            wrong = _wrong(network, x, label, target)
            if wrong.any():
                distances = around.distance(x[wrong])
                return _drawn_in(network, around, x[wrong][np.argmin(distances)], label, target)
            if step < _STEPS:
                gradients = jacobian_at(network, x, rows)[:, 0]
                # The first step goes all the way: for a linear network it is the last one.
                pace = 2.0 * eps if step == 0 else 2.5 * eps / _STEPS * (1.5 - step / _STEPS)
                x = around.place(_coordinates(around, x) - pace * around.steepest(gradients), eps)
    return float("inf")


def _wrong(network: Network, x: Floats, label: int, target: int) -> NDArray[np.bool_]:
    logits = network(x)
    return np.asarray(logits[:, label] - logits[:, target] < -_CLEAR * np.abs(logits).max(axis=1))


def _drawn_in(network: Network, around: Surroundings, x: Floats, label: int, target: int) -> float:
    """Distance of the nearest wrong point on the way from the sample to ``x``, by bisection."""
    x0 = around.balls.x0
    low, high, best = 0.0, 1.0, x
    for _ in range(_BISECTION):
        middle = 0.5 * (low + high)
        point = x0 + middle * (x - x0)
        if _wrong(network, point[None], label, target)[0]:
            high, best = middle, point
        else:
            low = middle
    return float(around.distance(best[None])[0])


def _coordinates(around: Surroundings, x: Floats) -> Floats:
    weights = around.weights
    return np.asarray((x - around.balls.x0) / np.where(weights > 0, weights, 1.0))
