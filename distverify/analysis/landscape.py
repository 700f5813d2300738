"""Landscape facts: balls without a stationary point, and features that outputs are monotone in."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from distverify.analysis.around import Around
from distverify.analysis.reuse import BySlopes
from distverify.analysis.search import Floats, search_each
from distverify.analysis.stationary import widen_stationary_free
from distverify.arguments import network_of
from distverify.bounds.jacobian import check_differentiable, check_methods, output_rows
from distverify.bounds.methods import WITHOUT_RECURSION
from distverify.errors import SettingsError
from distverify.network.graph import Network
from distverify.questions.askers import Alone
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
    nodes: int = 0,
    seed: int = 0,
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
    nodes : int
        Subproblems for each output, at most, by which a search for kept signs widens the radii: boxes where few features move,
        else those of branch and bound over neurons. The same number gives the same result, to the last bit.
    seed : int
        Of the points that are looked at.

    Returns
    -------
    float64 [rows]
        Verified radii; 0 where no derivative has a known sign even at ``x0``.

    Raises
    ------
    SettingsError
        Unknown methods, a negative ``nodes``, nodes with a method that cannot search.
    """
    check_methods(method, layer_bounds)
    if nodes < 0:
        raise SettingsError(f"nodes: got {nodes}; give a whole number, 0 for none")
    if nodes and method in WITHOUT_RECURSION:
        raise SettingsError(f"nodes: got {nodes} with method {method}; a search needs linear, coupled or recurjac")
    network = network_of(network)
    check_differentiable(network)
    balls = Balls(Ball(x0, 0.0, norm, clip, feature_eps).x0, norm, clip, feature_eps)
    bounder, matrix = Bounder(network, method, layer_bounds), output_rows(network, rows, None)
    radii = find_stationary_free(bounder, balls, matrix)
    return widen_stationary_free(bounder, balls, matrix, radii, nodes, (seed,))[0] if nodes else radii


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
    network, settings = around.bounder.network, around.settings
    matrix, own = output_rows(network, rows, None), slice(None) if rows is None else rows
    radii, lost = np.full(network.output_size, np.nan), np.full(network.output_size, np.nan)
    radii[own] = find_stationary_free(around.bounder, around.balls, matrix)
    if not settings.nodes:
        return {"stationary_free_radius": radii}
    deadline = around.deadline if isinstance(around.bounder.searches, Alone) else None
    radii[own], lost[own] = widen_stationary_free(
        around.bounder,
        around.balls,
        matrix,
        radii[own],
        settings.nodes,
        (settings.seed, 5, around.sample.index),
        deadline,
    )
    return {"stationary_free_radius": radii, "stationary_sign_lost": lost}
