"""Lipschitz constants over regions, with both ends: attained, and certified."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distverify.analysis.attained import AttainedConstant
from distverify.analysis.branching.constants import ConstantTree
from distverify.analysis.branching.polytopes import Problem, pose, with_own_slopes
from distverify.arguments import network_of, numbers
from distverify.bounds.chain import backward_chain
from distverify.bounds.enclosure import enclose
from distverify.bounds.jacobian import check_methods, output_rows
from distverify.bounds.lipschitz import induced_norm, row_constants, spectral_constant, vector_constant, vector_parts
from distverify.bounds.methods import WITHOUT_RECURSION, RowBounds, bound_rows
from distverify.bounds.reduced import Floats
from distverify.errors import SettingsError
from distverify.network.graph import Network
from distverify.region import Ball, Box, region_of
from distverify.settings import NORMS


@dataclass(frozen=True, eq=False)
class LipschitzConstants:
    """Lipschitz constants over a region, for the region's norm at the input.

    Attributes
    ----------
    rows : float64 [outputs]
        |f_k(x) - f_k(y)| <= rows[k] ||x - y||_p: an upper bound of the dual norm of each Jacobian row.
    vector : float
        ||f(x) - f(y)||_p <= vector ||x - y||_p: of the induced norm.
    attained : float64 [outputs]
        No smaller constant is valid: a gradient in the region has this dual norm. 0 where no search was asked for.
    attained_at : float64 [outputs, D]
        Where; NaN where nothing was found.
    vector_attained : float
        Of the vector output.
    nodes : int
        Subproblems that were bounded.
    """

    rows: Floats
    vector: float
    attained: Floats
    attained_at: Floats
    vector_attained: float = 0.0
    nodes: int = 0


def lipschitz_constant(
    network: Network,
    region: Ball | None = None,
    *,
    norm: float | None = None,
    method: str = "linear",
    layer_bounds: str = "crown",
    direction: str = "auto",
    precision: str | None = None,
    nodes: int = 0,
    time_limit: float | None = None,
    seed: int | Sequence[int] = 0,
) -> LipschitzConstants:
    """Local Lipschitz constants over ``region``, or global ones without a region.

    Parameters
    ----------
    network : Network
    region : Ball or Box, optional
        A ball's norm (with its ``feature_eps``) is the norm of the constants.
    norm : inf, 2 or 1, optional
        For global constants and for those over a box (default inf); with a ball, leave it out.
    method, layer_bounds, direction, precision
        As for :func:`jacobian_bounds`.
    nodes : int
        Branch and bound: at most so many subproblems for each output row. The same number gives the same result, to the last
        bit; 0: one pass, and no search for what is attained.
    time_limit : float, optional
        Seconds; what is proved by then is returned.
    seed : int or sequence of int
        Of the points at which gradients are looked at.

    Returns
    -------
    LipschitzConstants
        Upper bounds, valid in exact arithmetic, and with ``nodes`` what is attained.

    Raises
    ------
    SettingsError
        ``norm`` given beside a region, or not one of inf, 2, 1; unknown methods; nodes without a bounded region.
    """
    check_methods(method, layer_bounds, direction)
    network = network_of(network, precision)
    region = None if region is None else region_of(region)
    if norm is not None and numbers("norm", norm, "inf, 2 or 1") not in NORMS:
        raise SettingsError(f"norm: got {norm}; choose inf, 2 or 1")
    if nodes < 0:
        raise SettingsError(f"nodes: got {nodes}; give a whole number, 0 for none")
    if nodes and (region is None or region.unbounded):
        raise SettingsError(f"nodes: got {nodes} for an unbounded region; give a bounded one, or leave nodes out")
    if nodes and method in WITHOUT_RECURSION:
        raise SettingsError(f"nodes: got {nodes} with method {method}; a search needs linear, coupled or recurjac")
    if region is None:
        region = Ball(np.zeros(network.input_size), np.inf, math.inf if norm is None else norm)
    elif norm is not None and not isinstance(region, Box) and float(norm) != region.norm:
        raise SettingsError(f"norm: got {norm:g} beside a region of norm {region.norm:g}; leave norm out")
    measured = region.norm if norm is None else float(norm)
    weights = region.feature_eps
    enclosure = enclose(network, region, layer_bounds)
    outputs = output_rows(network, None, None)
    bounds = bound_rows(enclosure, outputs, method, direction)
    rows = row_constants(bounds, measured, weights=weights)
    vector = vector_constant(bounds, rows, measured, enclosure, weights=weights)
    places = np.full((rows.size, network.input_size), np.nan)
    if not nodes:
        return LipschitzConstants(rows, vector, np.zeros(rows.size), places)
    deadline = None if time_limit is None else time.monotonic() + time_limit
    search = ConstantSearch(network, region, measured, method, layer_bounds)
    seeds = [(k, *np.atleast_1d(seed).tolist()) for k in range(rows.size + 1)]
    brackets = [search.bracket(outputs[k : k + 1], nodes, seeds[k], deadline) for k in range(rows.size)]
    rows = np.fmin(rows, [b.bound for b in brackets])
    attained = np.array([b.attained for b in brackets])
    if measured == math.inf:
        vector, vector_attained, count = min(vector, float(rows.max())), float(attained.max()), 0
    else:
        vector_bracket = search.bracket(outputs, nodes, seeds[-1], deadline)
        vector, vector_attained, count = (
            min(vector, vector_bracket.bound),
            vector_bracket.attained,
            vector_bracket.nodes,
        )
    for place, b in zip(places, brackets, strict=True):
        place[:] = b.attained_at
    return LipschitzConstants(rows, vector, attained, places, vector_attained, count + sum(b.nodes for b in brackets))


@dataclass(frozen=True, eq=False)
class Bracket:
    """A constant between two ends.

    Attributes
    ----------
    bound, attained : float
    attained_at : float64 [D]
        NaN where nothing was found.
    nodes : int
    """

    bound: float
    attained: float
    attained_at: Floats
    nodes: int


class ConstantSearch:
    """Branch and bound for the constants of rows over one region, which it prepares once.

    Parameters
    ----------
    network : Network
    region : Ball
        Bounded.
    norm : inf, 2 or 1
        Of the constants, with the region's ``feature_eps``.
    method, layer_bounds : see :func:`lipschitz_constant`
    """

    def __init__(
        self, network: Network, region: Ball, norm: float, method: str = "linear", layer_bounds: str = "crown"
    ) -> None:
        self.network = network
        self.region = region
        self.norm = norm
        self.method = method
        self.enclosure = enclose(network, region, layer_bounds, fold=True)
        self.problem = with_own_slopes(pose(self.enclosure, []))

    def bracket(
        self, rows: Floats, nodes: int, seed: int | Sequence[int] = 0, deadline: float | None = None
    ) -> Bracket:
        """The constant of ``rows`` float64 [K, outputs] together (the induced norm), by at most ``nodes`` subproblems."""
        weights, norm = self.region.feature_eps, self.norm

        def constant(bounds: RowBounds) -> float:
            own = row_constants(bounds, norm, weights=weights)
            if own.size == 1:
                return float(own[0])
            induced = induced_norm(own, norm, vector_parts(bounds, norm, weights), bounds.lower.shape[1])
            return min(induced, spectral_constant(bounds.lower, bounds.upper, weights)) if norm == 2.0 else induced

        attained = AttainedConstant(self.network, self.region, rows, norm, weights)
        attained.sample(seed)
        tree = ConstantTree(
            self.problem,
            backward_chain(self.enclosure, rows),
            constant,
            self.enclosure.rounding,
            self.method,
            attained.promised,
        )
        tree.plant()
        tree.grow(nodes, _Packed(attained, self.problem), deadline)
        place = np.full(self.network.input_size, np.nan) if attained.point is None else attained.point
        return Bracket(tree.bound, attained.value, place, tree.nodes)


@dataclass(frozen=True, eq=False)
class _Packed:
    """A :class:`distverify.analysis.branching.constants.Witness` of points of the packed network's inputs."""

    attained: AttainedConstant
    problem: Problem

    def look(self, points: Floats) -> float:
        return self.attained.look(self.problem.packed.point(points))

    def confirm(self) -> float:
        return self.attained.confirm()
