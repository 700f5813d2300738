"""Landscape facts: balls in which the network's outputs have no stationary point."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from distverify.analysis.radius import search_limit
from distverify.analysis.search import Floats, search_each
from distverify.bounds.enclosure import enclose
from distverify.bounds.jacobian import check_methods, output_rows
from distverify.bounds.methods import bound_rows
from distverify.network.graph import Network
from distverify.region import Ball


def stationary_free_radius(
    network: Network,
    x0: ArrayLike,
    *,
    norm: float = math.inf,
    method: str = "linear",
    layer_bounds: str = "crown",
    clip: tuple[float, float] | None = None,
) -> Floats:
    """For each output, the radius of a ball around ``x0`` in which it certainly has no stationary point.

    There is none where some partial derivative has one strict sign all over the ball (RecurJac, Zhang et al., AAAI 2019,
    section 4); bounds that touch zero prove nothing.

    Parameters
    ----------
    x0 : array_like [D]
    norm, method, layer_bounds, clip : see :func:`distverify.certified_radius`

    Returns
    -------
    float64 [outputs]
        Verified radii; 0 where no derivative has a known sign even at ``x0``.
    """
    check_methods(method, layer_bounds)
    centre = Ball(x0, 0.0, norm, clip).x0
    rows = output_rows(network, None, None)

    def clearest_sign(eps: float) -> Floats:
        bounds = bound_rows(enclose(network, Ball(centre, eps, norm, clip), layer_bounds), rows, method)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.fmax(bounds.lower, -bounds.upper).max(axis=1))

    at_centre = clearest_sign(0.0)
    if not (at_centre > 0).any():
        return np.zeros(rows.shape[0])
    limit = search_limit(centre, norm, clip)
    return search_each(clearest_sign, at_centre, 0.01 * max(1.0, float(np.abs(centre).max())), limit)
