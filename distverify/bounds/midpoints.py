"""Intervals of linear nodes in the form middle, radius: plain NumPy, which small queries need not wait for.

Source: Higham, Accuracy and Stability of Numerical Algorithms, chapter 3, for the rounding terms.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from distverify.kernels.rounding import Rounding
from distverify.network.nodes import LinearNode

Floats = NDArray[np.float64]


def midpoint_radius(lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """Midpoints and radii with [mid - rad, mid + rad] containing [lower, upper]."""
    mid = 0.5 * lower + 0.5 * upper
    return mid, np.nextafter(np.maximum(upper - mid, mid - lower), np.inf)


@np.errstate(invalid="ignore", over="ignore")
def range_of_sum(
    node: LinearNode, lower: Sequence[Floats], upper: Sequence[Floats], rounding: Rounding
) -> tuple[Floats, Floats]:
    """Bounds of a linear node, float64 [size] each, from those of all nodes before it; infinite where they overflow."""
    total = node.bias.copy()
    spread = np.zeros(node.size)
    magnitude = np.abs(node.bias)
    terms = 1
    for term in node.terms:
        mid, rad = midpoint_radius(lower[term.source], upper[term.source])
        total += term.operator.push(mid[:, None])[:, 0]
        both = term.operator.push_abs(np.stack([rad, np.abs(mid)], axis=1))
        spread += both[:, 0]
        magnitude += both[:, 0] + both[:, 1]
        terms += term.operator.push_terms
    spread += rounding.gamma(terms) * magnitude
    if node.bias_error is not None:
        spread += node.bias_error
    low, high = rounding.outward(total - spread, total + spread)
    return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)
