"""What derivatives and difference quotients a search finds within a ball."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.points import Surroundings, dual_norms, induced_norms
from distverify.bounds.gradient import jacobian_at
from distverify.network.graph import Network

Floats = NDArray[np.float64]

_BLOCK_BYTES = 1 << 25
# Relative error of computed outputs, taken off every difference quotient: what is left was certainly attained.
_EVALUATION = 1e-13


@dataclass(eq=False)
class Extremes:
    """The most extreme values found in one ball.

    Attributes
    ----------
    lower, upper : float64 [rows, inputs]
        Smallest and largest derivatives.
    slope : float64 [rows]
        Largest dual norm of a gradient, or difference quotient, of each row; for weighted features in their norm.
    slope_vector : float
        The same of all rows together, induced norm.
    least, most : float64 [rows]
        Smallest and largest values.
    """

    lower: Floats
    upper: Floats
    slope: Floats
    slope_vector: float
    least: Floats
    most: Floats


def search_extremes(network: Network, around: Surroundings, eps: float, points: int, rows: Floats) -> Extremes:
    """Look at random points, corners, and points uphill and downhill of every output, for extreme derivatives.

    Parameters
    ----------
    network : Network
    around : Surroundings
    eps : float
    points : int
        About as many are looked at.
    rows : float64 [K, outputs]
        Combinations of outputs.
    """
    x0, each = around.balls.x0, max(2, points // 4)
    found = Extremes(
        np.full((rows.shape[0], x0.size), np.inf),
        np.full((rows.shape[0], x0.size), -np.inf),
        np.zeros(rows.shape[0]),
        0.0,
        np.full(rows.shape[0], np.inf),
        np.full(rows.shape[0], -np.inf),
    )
    start = np.concatenate([np.zeros((1, x0.size)), around.inside(each, eps), around.corners(each, eps)])
    first = around.place(start, eps)
    steep = _look(network, around, first, rows, found)
    # Uphill and downhill of single rows, from the sample and then from where that led.
    chosen = around.generator.choice(rows.shape[0], min(rows.shape[0], each), replace=False)
    ahead = around.place(eps * np.concatenate([steep[0, chosen], -steep[0, chosen]]), eps)
    further = _look(network, around, ahead, rows, found)
    own = further[np.arange(len(ahead)), np.concatenate([chosen, chosen])]
    last = around.place(eps * np.concatenate([own[: len(chosen)], -own[len(chosen) :]]), eps)
    _look(network, around, last, rows, found)
    every = np.concatenate([first, ahead, last])
    _quotients(network, around, every[1:], np.broadcast_to(x0, every[1:].shape), rows, found)
    _quotients(network, around, every[:-1], every[1:], rows, found)
    # Short steps from the corners inwards, along the steepest directions: the slope at one place.
    near = around.place((ahead - x0) / np.where(around.weights > 0, around.weights, 1.0) * 0.99, eps)
    _quotients(network, around, ahead, near, rows, found)
    return found


def _look(network: Network, around: Surroundings, x: Floats, rows: Floats, found: Extremes) -> Floats:
    """Note values and derivatives at ``x`` [N, D]; returns the steepest directions u, float64 [N, K, D]."""
    values = network(x) @ rows.T
    found.least, found.most = np.fmin(found.least, values.min(axis=0)), np.fmax(found.most, values.max(axis=0))
    directions = np.empty((x.shape[0], rows.shape[0], x.shape[1]))
    for block in _blocks(x.shape[0], 8 * rows.shape[0] * x.shape[1]):
        jacobians = jacobian_at(network, x[block], rows)
        np.minimum(found.lower, jacobians.min(axis=0), out=found.lower)
        np.maximum(found.upper, jacobians.max(axis=0), out=found.upper)
        scaled = jacobians * around.weights
        np.maximum(found.slope, dual_norms(scaled, around.balls.norm).max(axis=0), out=found.slope)
        found.slope_vector = max(found.slope_vector, float(induced_norms(scaled, around.balls.norm).max()))
        flat = around.steepest(jacobians.reshape(-1, x.shape[1]))
        directions[block] = flat.reshape(jacobians.shape)
    return directions


def _quotients(network: Network, around: Surroundings, x: Floats, y: Floats, rows: Floats, found: Extremes) -> None:
    distance = around.distance(x, y)
    apart = (distance > 0) & np.isfinite(distance)
    if not apart.any():
        return
    fx, fy = network(x[apart]) @ rows.T, network(y[apart]) @ rows.T
    error = _EVALUATION * (1.0 + np.maximum(np.abs(fx), np.abs(fy)).max(axis=1, keepdims=True))
    change = np.maximum(np.abs(fx - fy) - error, 0.0)
    quotients = change / distance[apart, None]
    np.maximum(found.slope, quotients.max(axis=0), out=found.slope)
    order = {np.inf: np.inf, 2.0: 2, 1.0: 1}[around.balls.norm]
    sizes = np.linalg.norm(change, ord=order, axis=1) / distance[apart]
    found.slope_vector = max(found.slope_vector, float(sizes.max()))


def _blocks(count: int, item_bytes: int) -> Iterator[slice]:
    step = max(1, _BLOCK_BYTES // item_bytes)
    for start in range(0, count, step):
        yield slice(start, start + step)
