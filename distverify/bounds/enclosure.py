"""Bounds of every node's value over a region, layer by layer: what all later bounds start from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from distverify.bounds import crown, interval
from distverify.errors import ModelError
from distverify.kernels import activations
from distverify.kernels.rounding import SOUND, Rounding
from distverify.network.graph import ActivationNode, InputNode, LinearNode, Network
from distverify.region import Ball

Floats = NDArray[np.float64]
Lines = tuple[Floats, Floats, Floats, Floats]


@dataclass(eq=False)
class Enclosure:
    """Sound bounds of all node values over ``region``.

    Attributes
    ----------
    lower, upper : list of float64 [size], one per node
        Node values. A linear node that an activation reads holds its pre-activation bounds.
    lines : dict node -> (su, cu, sl, cl)
        Lines above and below each activation on its pre-activation bounds.
    slopes : dict node -> (glo, ghi)
        Range of each activation's derivative there.
    """

    network: Network
    region: Ball
    rounding: Rounding
    lower: list[Floats] = field(default_factory=list)
    upper: list[Floats] = field(default_factory=list)
    lines: dict[int, Lines] = field(default_factory=dict)
    slopes: dict[int, tuple[Floats, Floats]] = field(default_factory=dict)

    def magnitude(self, node: int) -> Floats:
        """max(|lower|, |upper|) of the node's values."""
        return np.maximum(np.abs(self.lower[node]), np.abs(self.upper[node]))

    def tighten(self, node: int, lower: Floats, upper: Floats) -> None:
        """Intersect the node's bounds with others (NaN: nothing known)."""
        self.lower[node] = np.fmax(self.lower[node], lower)
        self.upper[node] = np.fmin(self.upper[node], upper)


def enclose(network: Network, region: Ball, layer_bounds: str = "crown", rounding: Rounding = SOUND) -> Enclosure:
    """Bound every node of ``network`` over ``region``.

    Parameters
    ----------
    layer_bounds : "crown" or "interval"
        CROWN intersects its bounds with interval arithmetic's; on an unbounded region both give infinite bounds.
    """
    if region.size != network.input_size:
        raise ModelError(f"region: x0 has {region.size} values, but the network takes {network.input_size}")
    enclosure = Enclosure(network, region, rounding)
    consumers = network.consumers()
    unbounded = region.unbounded
    for index, node in enumerate(network.nodes):
        if isinstance(node, InputNode):
            lower, upper = region.box
        elif unbounded:
            lower, upper = np.full(node.size, -np.inf), np.full(node.size, np.inf)
        elif isinstance(node, LinearNode):
            lower, upper = interval.linear_range(enclosure, node)
        else:
            lower, upper = activations.value_range(
                node.code, enclosure.lower[node.source], enclosure.upper[node.source], node.parameters
            )
        enclosure.lower.append(lower)
        enclosure.upper.append(upper)
        if isinstance(node, LinearNode) and not unbounded:
            read = index == network.output or any(isinstance(network.nodes[c], ActivationNode) for c in consumers[index])
            from_input = all(source == 0 for source in node.sources)
            # Of a first layer the rows' exact maximum over the region is cheap, whatever the method.
            if read and (layer_bounds == "crown" or from_input):
                enclosure.tighten(index, *crown.node_bounds(enclosure, index))
        if isinstance(node, ActivationNode):
            z = enclosure.lower[node.source], enclosure.upper[node.source]
            enclosure.slopes[index] = activations.slope_range(node.code, *z, node.parameters)
            if not unbounded:
                enclosure.lines[index] = activations.lines(node.code, *z, node.parameters)
    return enclosure
