"""`fastlip`: Jacobian bounds by intervals alone, without recursion; a baseline.

Source: Fast-Lip, Weng et al., ICML 2018 (arXiv 1804.09699), here for any activation and any directed acyclic graph.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from distverify.bounds.enclosure import Enclosure
from distverify.bounds.midpoints import midpoint_radius
from distverify.bounds.reduced import Floats
from distverify.kernels.interval import pull_dense_range, scale_range
from distverify.kernels.rounding import Rounding
from distverify.network.linear.dense import Dense
from distverify.network.linear.operator import LinearOperator
from distverify.network.nodes import ActivationNode, LinearNode


def bound(enclosure: Enclosure, rows: Floats) -> tuple[Floats, Floats]:
    """Sound bounds of the derivatives of ``rows`` float64 [K, outputs]: lower, upper float64 [K, inputs]."""
    for index, lower, upper in derivative_ranges(enclosure, rows):
        if index == 0:
            return lower, upper
    nothing = np.zeros((rows.shape[0], enclosure.network.input_size))
    return nothing, nothing


def derivative_ranges(enclosure: Enclosure, rows: Floats) -> Iterator[tuple[int, Floats, Floats]]:
    """Intervals of the rows' derivatives with respect to every node's values, from the output back to the input.

    Yields
    ------
    node, lower, upper
        Bounds float64 [K, size].
    """
    network, rounding = enclosure.network, enclosure.rounding
    rows = np.ascontiguousarray(rows)
    known: dict[int, tuple[Floats, Floats]] = {network.output: (rows, rows)}
    for index in range(network.output, -1, -1):
        if index not in known:
            continue
        lower, upper = known.pop(index)
        yield index, lower, upper
        node = network.nodes[index]
        if isinstance(node, ActivationNode):
            low, up = np.empty(lower.shape), np.empty(lower.shape)
            scale_range(lower, upper, *enclosure.slopes[index], rounding.tiny, low, up)
            _add(known, node.source, low, up)
        elif isinstance(node, LinearNode):
            for term in node.terms:
                _add(known, term.source, *_pull(term.operator, lower, upper, rounding))


def _pull(operator: LinearOperator, lower: Floats, upper: Floats, rounding: Rounding) -> tuple[Floats, Floats]:
    """Bounds of Y W for lower <= Y <= upper."""
    gamma = rounding.gamma(operator.pull_terms + 2)
    if isinstance(operator, Dense):
        low, up, size = np.empty((3, lower.shape[0], operator.in_size))
        pull_dense_range(operator.weight, lower, upper, gamma, rounding.tiny, low, up, size)
        return low, up
    mid, rad = (lower, np.zeros_like(lower)) if lower is upper else midpoint_radius(lower, upper)
    centre = operator.pull(mid)
    both = operator.pull_abs(np.concatenate([rad, np.abs(mid)]))
    spread, magnitude = both[: len(rad)], both[len(rad) :]
    spread = spread + gamma * (magnitude + spread)
    return rounding.outward(centre - spread, centre + spread)


def _add(known: dict[int, tuple[Floats, Floats]], node: int, lower: Floats, upper: Floats) -> None:
    if node in known:
        lower = np.nextafter(lower + known[node][0], -np.inf)
        upper = np.nextafter(upper + known[node][1], np.inf)
    known[node] = lower, upper
