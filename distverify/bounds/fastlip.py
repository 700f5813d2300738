"""`fastlip`: Jacobian bounds by intervals alone, without recursion; a baseline.

Source: Fast-Lip, Weng et al., ICML 2018 (arXiv 1804.09699), here for any activation and any directed acyclic graph.
"""

from __future__ import annotations

import numpy as np

from distverify.bounds.enclosure import Enclosure
from distverify.bounds.interval import midpoint_radius
from distverify.bounds.reduced import Floats
from distverify.network.graph import ActivationNode, LinearNode


def bound(enclosure: Enclosure, rows: Floats) -> tuple[Floats, Floats]:
    """Sound bounds of the derivatives of ``rows`` float64 [K, outputs]: lower, upper float64 [K, inputs]."""
    network, rounding = enclosure.network, enclosure.rounding
    known: dict[int, tuple[Floats, Floats]] = {network.output: (rows, rows)}
    for index in range(network.output, 0, -1):
        if index not in known:
            continue
        lower, upper = known.pop(index)
        node = network.nodes[index]
        if isinstance(node, ActivationNode):
            glo, ghi = enclosure.slopes[index]
            corners = np.stack([glo * lower, glo * upper, ghi * lower, ghi * upper])
            _add(known, node.source, *rounding.outward(corners.min(axis=0), corners.max(axis=0)))
        elif isinstance(node, LinearNode):
            for term in node.terms:
                mid, rad = midpoint_radius(lower, upper) if index != network.output else (lower, np.zeros_like(lower))
                centre = term.operator.pull(mid)
                spread = term.operator.pull_abs(rad)
                spread = spread + rounding.gamma(term.operator.pull_terms) * (term.operator.pull_abs(np.abs(mid)) + spread)
                _add(known, term.source, *rounding.outward(centre - spread, centre + spread))
    return known[0]


def _add(known: dict[int, tuple[Floats, Floats]], node: int, lower: Floats, upper: Floats) -> None:
    if node in known:
        lower = np.nextafter(lower + known[node][0], -np.inf)
        upper = np.nextafter(upper + known[node][1], np.inf)
    known[node] = lower, upper
