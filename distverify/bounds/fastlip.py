"""`fastlip`: Jacobian bounds by intervals alone, without recursion; a baseline.

Source: Fast-Lip, Weng et al., ICML 2018 (arXiv 1804.09699), here for any activation and any directed acyclic graph.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from distverify.bounds.enclosure import Enclosure
from distverify.bounds.interval import midpoint_radius
from distverify.bounds.reduced import Floats
from distverify.network.graph import ActivationNode, LinearNode


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
    known: dict[int, tuple[Floats, Floats]] = {network.output: (rows, rows)}
    for index in range(network.output, -1, -1):
        if index not in known:
            continue
        lower, upper = known.pop(index)
        yield index, lower, upper
        node = network.nodes[index]
        if isinstance(node, ActivationNode):
            glo, ghi = enclosure.slopes[index]
            corners = np.stack([glo * lower, glo * upper, ghi * lower, ghi * upper])
            _add(known, node.source, *rounding.outward(corners.min(axis=0), corners.max(axis=0)))
        elif isinstance(node, LinearNode):
            mid, rad = (lower, np.zeros_like(lower)) if lower is upper else midpoint_radius(lower, upper)
            for term in node.terms:
                centre = term.operator.pull(mid)
                both = term.operator.pull_abs(np.concatenate([rad, np.abs(mid)]))
                spread, magnitude = both[: len(rad)], both[len(rad) :]
                spread = spread + rounding.gamma(term.operator.pull_terms) * (magnitude + spread)
                _add(known, term.source, *rounding.outward(centre - spread, centre + spread))


def _add(known: dict[int, tuple[Floats, Floats]], node: int, lower: Floats, upper: Floats) -> None:
    if node in known:
        lower = np.nextafter(lower + known[node][0], -np.inf)
        upper = np.nextafter(upper + known[node][1], np.inf)
    known[node] = lower, upper
