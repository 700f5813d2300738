"""Landscape facts: balls without a stationary point, and features that outputs are monotone in."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from distverify.analysis.around import Around
from distverify.analysis.reuse import BySlopes
from distverify.analysis.search import Floats, search_each
from distverify.arguments import network_of
from distverify.bounds.jacobian import check_differentiable, check_methods, output_rows
from distverify.network.graph import Network
from distverify.questions.bounder import Bounder
from distverify.questions.region import RegionBounds
from distverify.questions.rows import Derivatives, monotone_features
from distverify.region import Ball, Balls
from distverify.work import SampleResult

__all__ = ["find_stationary_free", "monotone_features", "stationary_free_radius"]


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
    network = network_of(network)
    check_differentiable(network)
    balls = Balls(Ball(x0, 0.0, norm, clip, feature_eps).x0, norm, clip, feature_eps)
    return find_stationary_free(Bounder(network, method, layer_bounds), balls, output_rows(network, rows, None))


def find_stationary_free(bounder: Bounder, balls: Balls, rows: Floats) -> Floats:
    """The radii for ``rows @ f``, ``rows`` float64 [K, outputs]; see :func:`stationary_free_radius`."""
    wanted = Derivatives(("clearest",), balls.norm, balls.weights)

    def clearest_sign(known: RegionBounds) -> Floats:
        return np.asarray(bounder.rows(known, rows, wanted)["clearest"], np.float64)

    clearest = BySlopes(clearest_sign)

    def at(eps: float) -> Floats:
        return clearest(bounder.enclose(balls.at(eps)))

    at_centre = at(0.0)
    if not (at_centre > 0).any():
        return np.zeros(rows.shape[0])
    return search_each(at, at_centre, 0.01 * max(1.0, float(np.abs(balls.x0).max())), balls.farthest)


def radii_of(around: Around) -> SampleResult:
    """The quantity "landscape"."""
    rows = None if around.settings.landscape_outputs == "all" else [around.own]
    network = around.bounder.network
    radii = np.full(network.output_size, np.nan)
    radii[slice(None) if rows is None else rows] = find_stationary_free(
        around.bounder, around.balls, output_rows(network, rows, None)
    )
    return {"stationary_free_radius": radii}
