"""Interval bound propagation: each node from the intervals of the nodes that it reads.

Sources: Gowal et al., 2018 (arXiv 1810.12715); midpoint-radius form, with rounding terms (Higham, chapter 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from distverify.kernels.interval import dense_range
from distverify.network.linear.dense import Dense
from distverify.network.nodes import LinearNode

if TYPE_CHECKING:
    from distverify.bounds.enclosure import Enclosure

Floats = NDArray[np.float64]


def midpoint_radius(lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """Midpoints and radii with [mid - rad, mid + rad] containing [lower, upper]."""
    mid = 0.5 * lower + 0.5 * upper
    return mid, np.nextafter(np.maximum(upper - mid, mid - lower), np.inf)


def linear_range(enclosure: Enclosure, node: LinearNode) -> tuple[Floats, Floats]:
    """Bounds of a linear node, float64 [size] each, from its sources' intervals; infinite where those overflow."""
    rounding = enclosure.rounding
    if len(node.terms) == 1 and isinstance(operator := node.terms[0].operator, Dense):
        source = node.terms[0].source
        lower, upper = np.empty(node.size), np.empty(node.size)
        gamma = rounding.gamma(operator.push_terms + 4)
        sides = enclosure.lower[source], enclosure.upper[source]
        dense_range(operator.weight, node.bias, *sides, gamma, rounding.tiny, lower, upper)
        return lower, upper
    total = node.bias.copy()
    spread = np.zeros(node.size)
    magnitude = np.abs(node.bias)
    terms = 1
    with np.errstate(invalid="ignore", over="ignore"):
        for term in node.terms:
            mid, rad = midpoint_radius(enclosure.lower[term.source], enclosure.upper[term.source])
            total += term.operator.push(mid[:, None])[:, 0]
            both = term.operator.push_abs(np.stack([rad, np.abs(mid)], axis=1))
            spread += both[:, 0]
            magnitude += both[:, 0] + both[:, 1]
            terms += term.operator.push_terms
        spread += rounding.gamma(terms) * magnitude
        lower, upper = rounding.outward(total - spread, total + spread)
    return np.where(np.isnan(lower), -np.inf, lower), np.where(np.isnan(upper), np.inf, upper)
