"""Lipschitz constants over regions, with both ends: attained, and certified."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from distverify.analysis.brackets import Brackets
from distverify.arguments import network_of, numbers, whole
from distverify.bounds.chain_inequality import chain_constants, least
from distverify.bounds.enclosure import enclose
from distverify.bounds.jacobian import check_differentiable, check_methods, output_rows
from distverify.bounds.lipschitz import row_constants, vector_constant
from distverify.bounds.methods import WITHOUT_RECURSION, bound_rows
from distverify.bounds.reduced import Floats
from distverify.errors import SettingsError
from distverify.network.graph import Network
from distverify.questions.askers import Alone
from distverify.region import Ball, Box, region_of
from distverify.settings import NORMS


@dataclass(frozen=True, eq=False)
class LipschitzConstants:
    """Lipschitz constants over a region, for the region's norm at the input.

    Attributes
    ----------
    rows : float64 [outputs]
        ``|f_k(x) - f_k(y)| <= rows[k] ||x - y||_p``: an upper bound of the dual norm of each Jacobian row.
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
    check_differentiable(network)
    region = None if region is None else region_of(region)
    if norm is not None and numbers("norm", norm, "inf, 2 or 1") not in NORMS:
        raise SettingsError(f"norm: got {norm}; choose inf, 2 or 1")
    nodes = whole("nodes", nodes, 0)
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
    if measured == 2.0 and region.unbounded:
        rows, vector = least(rows, vector, chain_constants(enclosure, weights))
    rows = np.fmin(rows, vector)  # no row's dual norm is above the induced norm of them all
    places = np.full((rows.size, network.input_size), np.nan)
    if not nodes:
        return LipschitzConstants(rows, vector, np.zeros(rows.size), places)
    question = Brackets(
        region, outputs, measured, weights, method, layer_bounds, nodes, tuple(np.atleast_1d(seed).tolist()), True,
    )  # fmt: skip
    if time_limit is not None:
        question = replace(question, seconds=time_limit / question.trees)
    found = Alone(network).ask(question)
    rows = np.fmin(rows, found["bound"])
    vector = min(vector, float(found["vector_bound"]))
    return LipschitzConstants(
        rows, vector, np.asarray(found["attained"], np.float64), np.asarray(found["attained_at"], np.float64)[: rows.size],
        float(found["vector_attained"]), int(found["nodes"].sum()),
    )  # fmt: skip
