"""Interval bound propagation: each node from the intervals of the nodes that it reads.

Sources: Gowal et al., 2018 (arXiv 1810.12715); midpoint-radius form, with rounding terms (Higham, chapter 3).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from distverify.bounds.midpoints import range_of_sum
from distverify.kernels import relaxations
from distverify.kernels.interval import dense_range
from distverify.kernels.rounding import SOUND, Rounding
from distverify.network.graph import Network
from distverify.network.linear.dense import Dense
from distverify.network.nodes import ActivationNode, LinearNode

Floats = NDArray[np.float64]


class NodeBounds(Protocol):
    """Bounds of the nodes before the one that is asked about; an Enclosure has them."""

    @property
    def rounding(self) -> Rounding: ...

    @property
    def lower(self) -> list[Floats]: ...

    @property
    def upper(self) -> list[Floats]: ...


@dataclass(eq=False)
class _Values:
    rounding: Rounding
    lower: list[Floats] = field(default_factory=list)
    upper: list[Floats] = field(default_factory=list)


@np.errstate(over="ignore", invalid="ignore")
def output_at(network: Network, x: Floats, rounding: Rounding = SOUND) -> tuple[Floats, Floats]:
    """Numbers between which f(x) lies in exact arithmetic, lower and upper float64 [outputs], rounding as in ``rounding``."""
    network = network.in_precision("float64")
    values = _Values(rounding, [x], [x])
    for index, node in enumerate(network.nodes[1:], 1):
        if isinstance(node, LinearNode):
            lower, upper = node_range(network, index, values)
        elif isinstance(node, ActivationNode):
            source = node.source
            lower, upper = relaxations.value_range(
                node.code, values.lower[source], values.upper[source], node.parameters
            )
        else:
            raise AssertionError(f"no rule for {type(node).__name__}")
        values.lower.append(lower)
        values.upper.append(upper)
    return values.lower[network.output], values.upper[network.output]


def largest(lower: Floats, upper: Floats) -> int | None:
    """The output that is larger than all others for certain, given bounds of each; None if there is none."""
    first = int(np.argmax(lower))
    return first if (lower[first] > np.delete(upper, first)).all() else None


def node_range(network: Network, index: int, bounds: NodeBounds) -> tuple[Floats, Floats]:
    """Bounds of linear node ``index`` of ``network``, as :func:`linear_range`; of maxima, those of the larger parts."""
    node = network.nodes[index]
    assert isinstance(node, LinearNode)
    found = next((m for m in network.maxima if index in (m.difference, m.node)), None)
    if found is None:
        return linear_range(bounds, node)
    parts = bounds.lower[found.source], bounds.upper[found.source]
    if index == found.difference:
        return found.differences(*parts)
    (low, high), (least, most) = found.range(*parts), linear_range(bounds, node)
    return np.fmax(low, least), np.fmin(high, most)


def linear_range(enclosure: NodeBounds, node: LinearNode) -> tuple[Floats, Floats]:
    """Bounds of a linear node, float64 [size] each, from its sources' intervals; infinite where those overflow."""
    rounding = enclosure.rounding
    if len(node.terms) == 1 and isinstance(operator := node.terms[0].operator, Dense):
        source = node.terms[0].source
        lower, upper = np.empty(node.size), np.empty(node.size)
        gamma = rounding.gamma(operator.push_terms + 4)
        sides = enclosure.lower[source], enclosure.upper[source]
        dense_range(operator.weight, node.bias, *sides, gamma, rounding.tiny, lower, upper)
        return (lower, upper) if node.bias_error is None else _widened(lower, upper, node.bias_error)
    return range_of_sum(node, enclosure.lower, enclosure.upper, rounding)


def _widened(lower: Floats, upper: Floats, error: Floats) -> tuple[Floats, Floats]:
    return np.nextafter(lower - error, -np.inf), np.nextafter(upper + error, np.inf)
