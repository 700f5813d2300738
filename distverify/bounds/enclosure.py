"""Bounds of every node's value over a region, layer by layer: what all later bounds start from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from distverify.bounds import crown, interval
from distverify.bounds.reduced import Affine, Floats, Group, Lines, Reduced
from distverify.bounds.reduction import Reduction
from distverify.errors import ModelError
from distverify.kernels import relaxations
from distverify.kernels.rounding import BY_PRECISION, Rounding
from distverify.network.graph import Network
from distverify.network.nodes import ActivationNode, LinearNode
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


class Steepness(Protocol):
    """What is known of the activations over a region; an :class:`Enclosure` is one."""

    @property
    def network(self) -> Network: ...

    @property
    def slopes(self) -> dict[int, tuple[Floats, Floats]]: ...


class Encloser:
    """Finds the bounds of one linear node after the other; they may also be given, where they are known already.

    Parameters
    ----------
    network, region, layer_bounds, rounding, fold : see :func:`enclose`

    Attributes
    ----------
    node : int
        The first node whose bounds are still open: a linear one, or the number of nodes where none is.
    """

    def __init__(
        self,
        network: Network,
        region: Ball,
        layer_bounds: str = "crown",
        rounding: Rounding | None = None,
        *,
        fold: bool | None = None,
    ) -> None:
        if region.size != network.input_size:
            raise ModelError(f"region: x0 has {region.size} values, but the network takes {network.input_size}")
        rounding = BY_PRECISION[network.precision] if rounding is None else rounding
        self._unbounded = region.unbounded
        self._last_use = [max(c, default=network.output) for c in network.consumers()]
        self._tight = tight_nodes(network, layer_bounds)
        lower, upper = region.box
        # On an unbounded region only slopes count: values and their rounding are not asked for.
        magnitude = np.zeros(region.size) if self._unbounded else np.maximum(np.abs(lower), np.abs(upper))
        middle, reach = (magnitude, magnitude) if self._unbounded else interval.midpoint_radius(lower, upper)
        self._enclosure = Enclosure(network, region, rounding, Reduced(region, rounding, middle, reach))
        self._enclosure.reduced.groups.append(Group(0, None, (magnitude, magnitude), None, magnitude, magnitude))
        self._reduction = Reduction(self._enclosure.reduced, fold)
        self._affine: Affine | None = None
        self._interval: tuple[Floats, Floats] | None = None
        self._append(lower, upper)
        self.node = 1
        self._pass_activations()

    # Overflow gives infinities and NaN, which every bound takes as "nothing known".
    @np.errstate(over="ignore", invalid="ignore")
    def bound(self, which: slice | None = None) -> tuple[Floats, Floats]:
        """Bounds of the open node's neurons, or of those of the slice ``which``: lower, upper float64 [n]."""
        node = self._open_node()
        first, last, _ = (which or slice(None)).indices(node.size)
        if self._unbounded:
            return np.full(last - first, -np.inf), np.full(last - first, np.inf)
        if self._interval is None:
            self._interval = interval.linear_range(self._enclosure, node)
        lower, upper = (side[first:last] for side in self._interval)
        if self.node in self._tight:
            low, high = crown.affine_bounds(self._enclosure.reduced, self._folded().take(slice(first, last)))
            lower, upper = np.fmax(lower, low), np.fmin(upper, high)
        return lower, upper

    @np.errstate(over="ignore", invalid="ignore")
    def give(self, lower: Floats, upper: Floats) -> None:
        """Take ``lower`` and ``upper`` float64 [size] as the open node's bounds, and go on to the next linear node."""
        self._folded()
        self._affine = self._interval = None
        self._append(lower, upper)
        self.node += 1
        self._pass_activations()

    @property
    def given(self) -> list[int]:
        """The linear nodes that have bounds."""
        return [i for i in range(self.node) if isinstance(self._enclosure.network.nodes[i], LinearNode)]

    def known(self, node: int) -> tuple[Floats, Floats]:
        """The bounds of a node before :attr:`node`."""
        return self._enclosure.lower[node], self._enclosure.upper[node]

    def finish(self) -> Enclosure:
        """The bounds of all nodes, once none is open."""
        if self.node < len(self._enclosure.network.nodes):
            raise AssertionError(f"node {self.node} has no bounds yet")
        if self._enclosure.reduced.output is None:
            self._reduction.finish(self._enclosure.network.output)
        return self._enclosure

    def _open_node(self) -> LinearNode:
        node = self._enclosure.network.nodes[self.node]
        assert isinstance(node, LinearNode)
        return node

    def _folded(self) -> Affine:
        """The open node in terms of the groups so far."""
        if self._affine is None:
            self._affine = self._reduction.linear(self.node, self._open_node())
        return self._affine

    def _append(self, lower: Floats, upper: Floats) -> None:
        enclosure = self._enclosure
        index = len(enclosure.lower)
        enclosure.lower.append(lower)
        enclosure.upper.append(upper)
        for source in enclosure.network.nodes[index].sources:
            if self._last_use[source] == index and source != enclosure.network.output:
                self._reduction.forget(source)

    def _pass_activations(self) -> None:
        nodes = self._enclosure.network.nodes
        while self.node < len(nodes) and not isinstance(nodes[self.node], LinearNode):
            node = nodes[self.node]
            if not isinstance(node, ActivationNode):
                raise AssertionError(f"no rule for {type(node).__name__}")
            self._activation(node)
            self.node += 1

    def _activation(self, node: ActivationNode) -> None:
        z_lower, z_upper = self.known(node.source)
        su, cu, sl, cl, glo, ghi, lower, upper = relaxations.relax(node.code, z_lower, z_upper, node.parameters)
        self._enclosure.slopes[self.node] = glo, ghi
        lines: Lines | None = (su, cu, sl, cl)
        magnitude, z_magnitude = np.maximum(np.abs(lower), np.abs(upper)), self._enclosure.magnitude(node.source)
        if self._unbounded:
            lines, magnitude, z_magnitude = None, np.zeros(node.size), np.zeros(node.size)
        self._reduction.activation(self.node, node, (glo, ghi), lines, z_magnitude, magnitude)
        self._append(lower, upper)


def tight_nodes(network: Network, layer_bounds: str) -> frozenset[int]:
    """The linear nodes that CROWN bounds: those whose bounds matter, and first layers.

    Of a first layer the rows' exact maximum over the region is cheap, whatever the method.
    """
    read = {n.source for n in network.nodes if isinstance(n, ActivationNode)} | {network.output}
    return frozenset(
        index
        for index, node in enumerate(network.nodes)
        if isinstance(node, LinearNode)
        and ((layer_bounds == "crown" and index in read) or all(source == 0 for source in node.sources))
    )


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
    encloser = Encloser(network, region, layer_bounds, rounding, fold=fold)
    while encloser.node < len(network.nodes):
        encloser.give(*encloser.bound())
    return encloser.finish()


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
