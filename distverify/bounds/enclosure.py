"""Bounds of every node's value over a region, layer by layer: what all later bounds start from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from distverify.bounds import crown, interval
from distverify.bounds.reduced import Floats, Group, Lines, Reduced
from distverify.bounds.reduction import Reduction
from distverify.errors import ModelError
from distverify.kernels import relaxations
from distverify.kernels.rounding import BY_PRECISION, Rounding
from distverify.network.graph import ActivationNode, InputNode, LinearNode, Network
from distverify.region import Ball


@dataclass(eq=False)
class Enclosure:
    """Sound bounds of all node values over ``region``.

    Attributes
    ----------
    lower, upper : list of float64 [size], one per node
        Node values. A linear node that an activation reads holds its pre-activation bounds.
    slopes : dict node -> (glo, ghi)
        Range of each activation's derivative there.
    reduced : Reduced
        The network with everything that is affine over the region multiplied out.
    """

    network: Network
    region: Ball
    rounding: Rounding
    reduced: Reduced
    lower: list[Floats] = field(default_factory=list)
    upper: list[Floats] = field(default_factory=list)
    slopes: dict[int, tuple[Floats, Floats]] = field(default_factory=dict)

    def magnitude(self, node: int) -> Floats:
        """max(|lower|, |upper|) of the node's values."""
        return np.maximum(np.abs(self.lower[node]), np.abs(self.upper[node]))


# Overflow gives infinities and NaN, which every bound takes as "nothing known".
@np.errstate(over="ignore", invalid="ignore")
def enclose(
    network: Network,
    region: Ball,
    layer_bounds: str = "crown",
    rounding: Rounding | None = None,
    *,
    fold: bool | None = None,
) -> Enclosure:
    """Bound every node of ``network`` over ``region``.

    Parameters
    ----------
    layer_bounds : "crown" or "interval"
        CROWN intersects its bounds with interval arithmetic's; on an unbounded region both give infinite bounds.
    rounding : Rounding, optional
        By default that of the network's precision.
    fold : bool, optional
        Whether to multiply out stable neurons: by default wherever it saves time; the same bounds up to rounding.
    """
    if region.size != network.input_size:
        raise ModelError(f"region: x0 has {region.size} values, but the network takes {network.input_size}")
    rounding = BY_PRECISION[network.precision] if rounding is None else rounding
    unbounded = region.unbounded
    last_use = [max(c, default=network.output) for c in network.consumers()]
    read_by_activation = {n.source for n in network.nodes if isinstance(n, ActivationNode)}
    lower, upper = region.box
    # On an unbounded region only slopes count: values and their rounding are not asked for.
    magnitude = np.zeros(region.size) if unbounded else np.maximum(np.abs(lower), np.abs(upper))
    middle, reach = (magnitude, magnitude) if unbounded else interval.midpoint_radius(lower, upper)
    enclosure = Enclosure(network, region, rounding, Reduced(region, rounding, middle, reach))
    enclosure.reduced.groups.append(Group(0, None, (magnitude, magnitude), None, magnitude, magnitude))
    reduction = Reduction(enclosure.reduced, fold)
    for index, node in enumerate(network.nodes):
        if isinstance(node, LinearNode):
            affine = reduction.linear(index, node)
            if unbounded:
                lower, upper = np.full(node.size, -np.inf), np.full(node.size, np.inf)
            else:
                lower, upper = interval.linear_range(enclosure, node)
                # Of a first layer the rows' exact maximum over the region is cheap, whatever the method.
                tight = layer_bounds == "crown" and (index in read_by_activation or index == network.output)
                if tight or all(source == 0 for source in node.sources):
                    low, high = crown.affine_bounds(enclosure.reduced, affine)
                    lower, upper = np.fmax(lower, low), np.fmin(upper, high)
        elif isinstance(node, ActivationNode):
            z_lower, z_upper = enclosure.lower[node.source], enclosure.upper[node.source]
            su, cu, sl, cl, glo, ghi, lower, upper = relaxations.relax(node.code, z_lower, z_upper, node.parameters)
            enclosure.slopes[index] = glo, ghi
            lines: Lines | None = (su, cu, sl, cl)
            magnitude, z_magnitude = np.maximum(np.abs(lower), np.abs(upper)), enclosure.magnitude(node.source)
            if unbounded:
                lines, magnitude, z_magnitude = None, np.zeros(node.size), np.zeros(node.size)
            reduction.activation(index, node, (glo, ghi), lines, z_magnitude, magnitude)
        elif not isinstance(node, InputNode):
            raise AssertionError(f"no rule for {type(node).__name__}")
        enclosure.lower.append(lower)
        enclosure.upper.append(upper)
        for source in node.sources:
            if last_use[source] == index and source != network.output:
                reduction.forget(source)
    reduction.finish(network.output)
    return enclosure


def plain_reduction(enclosure: Enclosure) -> Reduced:
    """The same network over the same region with nothing multiplied out but constants."""
    network, region, rounding = enclosure.network, enclosure.region, enclosure.rounding
    first = enclosure.reduced.groups[0]
    reduced = Reduced(region, rounding, enclosure.reduced.middle, enclosure.reduced.reach, [first])
    reduction = Reduction(reduced, fold=False)
    for index, node in enumerate(network.nodes):
        if isinstance(node, LinearNode):
            reduction.linear(index, node)
        elif isinstance(node, ActivationNode):
            # Only slopes matter to derivatives.
            nothing = np.zeros(node.size)
            reduction.activation(index, node, enclosure.slopes[index], None, nothing, nothing)
    reduction.finish(network.output)
    return reduced
