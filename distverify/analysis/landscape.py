"""Landscape facts: balls without a stationary point, and features that outputs are monotone in."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distverify.analysis.reuse import BySlopes
from distverify.analysis.search import Floats, search_each
from distverify.bounds.enclosure import Enclosure, enclose
from distverify.bounds.jacobian import JacobianBounds, check_methods, output_rows
from distverify.bounds.methods import RowBounds, bound_rows
from distverify.network.graph import Network
from distverify.region import Ball, Balls


def stationary_free_radius(
    network: Network,
    x0: ArrayLike,
    *,
    norm: float = math.inf,
    method: str = "linear",
    layer_bounds: str = "crown",
    clip: tuple[float, float] | None = None,
    feature_eps: ArrayLike | None = None,
    rows: Sequence[int] | None = None,
) -> Floats:
    """For each output, the radius of a ball around ``x0`` in which it certainly has no stationary point.

    There is none where some partial derivative has one strict sign all over the ball (RecurJac, Zhang et al., AAAI 2019,
    section 4); bounds that touch zero prove nothing.

    Parameters
    ----------
    x0 : array_like [D]
    norm, method, layer_bounds, clip, feature_eps : see :func:`distverify.certified_radius`
    rows : sequence of int, optional
        Outputs to look at; all by default.

    Returns
    -------
    float64 [rows]
        Verified radii; 0 where no derivative has a known sign even at ``x0``.
    """
    check_methods(method, layer_bounds)
    balls = Balls(Ball(x0, 0.0, norm, clip, feature_eps).x0, norm, clip, feature_eps)
    matrix = output_rows(network, rows, None)
    free = np.ones(network.input_size, dtype=bool) if balls.weights is None else balls.weights > 0.0

    def clearest_sign(enclosure: Enclosure) -> Floats:
        bounds = bound_rows(enclosure, matrix, method)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.fmax(bounds.lower, -bounds.upper)[:, free].max(axis=1))

    clearest = BySlopes(clearest_sign)

    def at(eps: float) -> Floats:
        return clearest(enclose(network, balls.at(eps), layer_bounds))

    at_centre = at(0.0)
    if not (at_centre > 0).any():
        return np.zeros(matrix.shape[0])
    return search_each(at, at_centre, 0.01 * max(1.0, float(np.abs(balls.x0).max())), balls.farthest)


def monotone_features(bounds: JacobianBounds | RowBounds) -> NDArray[np.int8]:
    """Which outputs certainly rise (1) or fall (-1) with which features over a region; 0 where neither is known.

    Parameters
    ----------
    bounds : of the Jacobian over the region

    Returns
    -------
    int8 [rows, inputs]
        Strict signs of the bounds: an output is increasing in a feature of sign 1, whatever the others are in a box.
    """
    return np.asarray((bounds.lower > 0).astype(np.int8) - (bounds.upper < 0).astype(np.int8))
