"""Bounds of every node's value over a region, layer by layer: what all later bounds start from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from distverify.bounds import crown, interval
from distverify.bounds.coefficients import row_cost
from distverify.bounds.layers.method import LayerMethod, readers
from distverify.bounds.layers.table import LAYER_METHODS, layer_method
from distverify.bounds.midpoints import midpoint_radius
from distverify.bounds.pulled_reduction import PulledReduction, worth_pulling
from distverify.bounds.reduced import Affine, Floats, Group, Indices, Lines, Pair, Reduced
from distverify.bounds.reduction import Reduction
from distverify.bounds.settled import Settled
from distverify.bounds.splits import Split, SplitBounds
from distverify.errors import ModelError
from distverify.kernels import relaxations
from distverify.kernels.activations import ACTIVATIONS
from distverify.kernels.rounding import BY_PRECISION, Rounding
from distverify.network.graph import Network
from distverify.network.nodes import ActivationNode, LinearNode
from distverify.region import Ball

# Neurons of a layer that all get rows, settled or not.
SMALL_LAYER = 512
# Multiplications that are no matter.
SMALL_WORK = 2.0**29


@dataclass(eq=False)
class Enclosure:
    """Sound bounds of all node values over ``region``.

    Attributes
    ----------
    lower, upper : list of float64 [size], one per node
        Node values. A linear node that an activation reads holds its pre-activation bounds.
    slopes : dict node -> (glo, ghi)
        Range of each activation's derivative there.
    lines : dict node -> (su, cu, sl, cl) or None
        Lines above and below each activation there; None on an unbounded region.
    reduced : Reduced
        The network with everything that is affine over the region multiplied out.
    layers : LayerMethod
        What found the bounds.
    empty : bool
        The splits leave nothing of the region; then only what is before the node that shows it has bounds.
    """

    network: Network
    region: Ball
    rounding: Rounding
    reduced: Reduced
    layers: LayerMethod = LAYER_METHODS["crown"]
    lower: list[Floats] = field(default_factory=list)
    upper: list[Floats] = field(default_factory=list)
    slopes: dict[int, Pair] = field(default_factory=dict)
    lines: dict[int, Lines | None] = field(default_factory=dict)
    empty: bool = False

    def row_bounds(self, rows: Floats) -> Pair:
        """Bounds of ``rows @ f`` over the region, ``rows`` float64 [K, outputs]: lower, upper float64 [K].

        Of an empty subproblem everything is true: inf and -inf.
        """
        if self.empty:
            return np.full(rows.shape[0], np.inf), np.full(rows.shape[0], -np.inf)
        return self.layers.rows(self.reduced, crown.combine(self.reduced, rows))

    def row_minima(self, rows: Floats) -> Floats:
        """The lower ones of :meth:`row_bounds`."""
        if self.empty:
            return np.full(rows.shape[0], np.inf)
        return self.layers.rows(self.reduced, crown.combine(self.reduced, rows), lowest=True)[0]

    @property
    def linear_bounds(self) -> dict[int, Pair]:
        """The bounds of the linear nodes: what a subproblem may start ``within``."""
        nodes = self.network.nodes[: len(self.lower)]
        return {i: (self.lower[i], self.upper[i]) for i, node in enumerate(nodes) if isinstance(node, LinearNode)}

    def magnitude(self, node: int) -> Floats:
        """max(|lower|, |upper|) of the node's values."""
        return np.maximum(np.abs(self.lower[node]), np.abs(self.upper[node]))


class Steepness(Protocol):
    """What is known of the activations over a region; an :class:`Enclosure` is one."""

    @property
    def network(self) -> Network: ...

    @property
    def slopes(self) -> dict[int, Pair]: ...


class Encloser:
    """Finds the bounds of one linear node after the other; they may also be set, where they are there already.

    Parameters
    ----------
    network, region, layers, splits, within, rounding, fold : see :func:`enclose`

    Attributes
    ----------
    node : int
        The first node whose bounds are still open: a linear one, or the number of nodes where none is.
    """

    def __init__(
        self,
        network: Network,
        region: Ball,
        layers: LayerMethod | str = "crown",
        rounding: Rounding | None = None,
        *,
        splits: Iterable[Split] = (),
        within: Mapping[int, Pair] | None = None,
        fold: bool | None = None,
    ) -> None:
        if region.size != network.input_size:
            raise ModelError(f"region: x0 has {region.size} values, but the network takes {network.input_size}")
        rounding = BY_PRECISION[network.precision] if rounding is None else rounding
        self._layers = layer_method(layers) if isinstance(layers, str) else layers
        self._splits = SplitBounds(network, splits)
        self._within = within or {}
        self._unbounded = region.unbounded
        self._last_use = [max(c, default=network.output) for c in network.consumers()]
        self._by_rows = self._layers.nodes(network)
        self._readers = readers(network)
        lower, upper = region.box
        # On an unbounded region only slopes count: values and their rounding are not asked for.
        magnitude = np.zeros(region.size) if self._unbounded else np.maximum(np.abs(lower), np.abs(upper))
        middle, reach = (magnitude, magnitude) if self._unbounded else midpoint_radius(lower, upper)
        self._enclosure = Enclosure(network, region, rounding, Reduced(region, rounding, middle, reach), self._layers)
        self._enclosure.reduced.groups.append(Group(0, None, (magnitude, magnitude), None, magnitude, magnitude))
        self._fold = fold
        self._settled = Settled(network, self._enclosure.slopes)
        pulls = fold is not False and not self._unbounded and worth_pulling(network)
        reduced = self._enclosure.reduced
        self._pulls = pulls
        self._reduction = PulledReduction(reduced, network, fold) if pulls else Reduction(reduced, fold)
        self._matter: Indices | None = None
        self._interval: Pair | None = None
        self._pulled: tuple[Indices, Affine] | None = None
        self._append(lower, upper)
        self.node = 1
        self._pass_activations()

    # Overflow gives infinities and NaN, which every bound takes as "nothing known".
    @np.errstate(over="ignore", invalid="ignore")
    def bound(self, which: slice | None = None) -> Pair:
        """Bounds of the open node's neurons, or of those of the slice ``which``: lower, upper float64 [n]."""
        node = self._open_node()
        self._pulled = None
        first, last, _ = (which or slice(None)).indices(node.size)
        if self._unbounded:
            lower, upper = np.full(last - first, -np.inf), np.full(last - first, np.inf)
        else:
            matter, bounds = self._looked_at()
            lower, upper = (side[first:last] for side in bounds)
            if self.node in self._by_rows:
                rows = matter[(first <= matter) & (matter < last)] - first
                lower, upper = lower.copy(), upper.copy()
                if rows.size:
                    known = lower[rows], upper[rows]
                    is_open = None if self._all_matter(node) else self._is_open
                    still, affine, known = self._reduction.open_rows(self.node, node, first + rows, known, is_open)
                    self._pulled = (still, affine) if isinstance(self._reduction, PulledReduction) else None
                    lower[rows], upper[rows] = known
                    rows = still - first
                if rows.size:
                    # Who asks for the outputs' own bounds asks for rows of them.
                    in_passing = self._readers[self.node] == [None]
                    low, high = self._layers.rows(
                        self._enclosure.reduced, affine, signs=self._only_signs(), in_passing=in_passing
                    )
                    lower[rows], upper[rows] = np.fmax(lower[rows], low), np.fmin(upper[rows], high)
        if self.node in self._within:
            low, high = (side[first:last] for side in self._within[self.node])
            lower, upper = np.fmax(lower, low), np.fmin(upper, high)
        return self._splits.intersect(self.node, first, lower, upper)

    @property
    def pulled(self) -> tuple[Indices, Affine] | None:
        """The open node's neurons that :meth:`bound` pulled last, in terms of the groups; None where whole maps are multiplied out."""
        return self._pulled

    @np.errstate(over="ignore", invalid="ignore")
    def give(self, lower: Floats, upper: Floats, rows: tuple[Indices, Affine] | None = None) -> None:
        """Take ``lower`` and ``upper`` float64 [size] as the open node's bounds, and go on to the next linear node.

        Crossed bounds: nothing of the region is left, so that there is nothing more to bound.

        Parameters
        ----------
        rows : (which, Affine), optional
            What :attr:`pulled` told of all its neurons: they are not pulled again.
        """
        if (self._splits or self._within) and crossed(lower, upper):
            self._enclosure.empty = True
            self.node = len(self._enclosure.network.nodes)
            return
        if not self._unbounded:
            self._looked_at()
        if rows is not None and isinstance(self._reduction, PulledReduction):
            self._reduction.take(self.node, *rows)
        self._reduction.rows(self.node, self._open_node(), np.zeros(0, dtype=np.int64))
        self._interval = self._matter = None
        self._append(lower, upper)
        self.node += 1
        self._pass_activations()

    @property
    def given(self) -> list[int]:
        """The linear nodes that have bounds."""
        nodes = self._enclosure.network.nodes
        return [i for i in range(len(self._enclosure.lower)) if isinstance(nodes[i], LinearNode)]

    def known(self, node: int) -> Pair:
        """The bounds of a node before :attr:`node`."""
        return self._enclosure.lower[node], self._enclosure.upper[node]

    def finish(self) -> Enclosure:
        """The bounds of all nodes, once none is open."""
        if self.node < len(self._enclosure.network.nodes):
            raise AssertionError(f"node {self.node} has no bounds yet")
        if self._enclosure.reduced.output is None and not self._enclosure.empty:
            self._reduction.finish(self._enclosure.network.output)
        return self._enclosure

    def _open_node(self) -> LinearNode:
        node = self._enclosure.network.nodes[self.node]
        assert isinstance(node, LinearNode)
        return node

    def _looked_at(self) -> tuple[Indices, Pair]:
        """The open node's neurons whose lines depend on more than their intervals, and the intervals.

        Where they are too many to pull their rows one by one, the network is multiplied out in whole maps from here on. The choice
        depends on the bounds of earlier nodes only: all who bound a part of this node make the same one.
        """
        if self._interval is None or self._matter is None:
            self._interval = interval.node_range(self._enclosure.network, self.node, self._enclosure)
            self._matter = self._rows_that_matter(*self._interval)
            if isinstance(self._reduction, PulledReduction) and self._reduction.is_dear(self.node, self._matter.size):
                self._reduction = _replayed(self._enclosure, self._fold, self.node)
                self._enclosure.reduced = self._reduction.reduced
        return self._matter, self._interval

    def _rows_that_matter(self, lower: Floats, upper: Floats) -> Indices:
        """Of the open node's neurons with intervals ``lower``, ``upper``, those whose lines depend on more."""
        node = self._open_node()
        if self._all_matter(node):
            return np.arange(lower.size)
        if self._enclosure.region.norm == np.inf and set(node.sources) == {0}:
            # A box is all that there is to know of the input: its rows are its intervals.
            return np.zeros(0, dtype=np.int64)
        return np.flatnonzero(self._is_open(np.arange(lower.size), lower, upper))

    def _all_matter(self, node: LinearNode) -> bool:
        """Whether all neurons of the open node get rows.

        In small layers they do where it costs little: better bounds of settled neurons make later intervals better.
        """
        if any(n is None or not ACTIVATIONS[n.kind].piecewise_linear for n in self._readers[self.node]):
            return True
        cheap = not self._pulls or node.size * row_cost(self._enclosure.network, self.node).work <= SMALL_WORK
        return node.size <= SMALL_LAYER and cheap

    def _is_open(self, which: Indices, lower: Floats, upper: Floats) -> NDArray[np.bool_]:
        """Whether the lines of neurons ``which`` of the open node depend on more than their bounds ``lower``, ``upper``.

        A piecewise linear activation that is one line over the interval stays that line over any smaller one.
        """
        matter = np.zeros(which.size, dtype=bool)
        for node in self._readers[self.node]:
            assert node is not None
            parameters = np.ascontiguousarray(node.parameters[:, which])
            su, cu, sl, cl, glo, ghi, _, _ = relaxations.relax(node.code, lower, upper, parameters)
            matter |= ~((glo == ghi) & (su == sl) & (cu == cl))
        return matter

    def _only_signs(self) -> bool:
        """Whether all that reads the open node is linear on either side of 0."""
        return all(n is None or n.code == ACTIVATIONS["leaky_relu"].code for n in self._readers[self.node])

    def _append(self, lower: Floats, upper: Floats) -> None:
        enclosure = self._enclosure
        index = len(enclosure.lower)
        enclosure.lower.append(lower)
        enclosure.upper.append(upper)
        if not self._unbounded:
            self._reduction.note(index, lower, upper)
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
        if self._splits:
            glo, ghi = relaxations.slope_range(
                node.code, *self._splits.one_sided(node, z_lower, z_upper), node.parameters
            )
        glo, ghi = self._enclosure.slopes[self.node] = self._settled.slopes(self.node, (glo, ghi))
        lines: Lines | None = (su, cu, sl, cl)
        magnitude = np.maximum(np.abs(lower), np.abs(upper))
        if self._unbounded:
            lines, magnitude = None, np.zeros(node.size)
        self._enclosure.lines[self.node] = lines
        self._reduction.activation(self.node, node, (glo, ghi), lines, (z_lower, z_upper), magnitude)
        self._append(lower, upper)


def crossed(lower: Floats, upper: Floats) -> bool:
    """Whether some interval holds no number."""
    return bool((lower > upper).any())


def enclose(
    network: Network,
    region: Ball,
    layers: LayerMethod | str = "crown",
    rounding: Rounding | None = None,
    *,
    splits: Iterable[Split] = (),
    within: Mapping[int, Pair] | None = None,
    fold: bool | None = None,
) -> Enclosure:
    """Bound every node of ``network`` over ``region``.

    Parameters
    ----------
    layers : LayerMethod, or its name in :mod:`distverify.bounds.layers.table`
        How linear nodes are bounded. Its bounds are intersected with interval arithmetic's; on an unbounded region every
        method gives infinite bounds.
    rounding : Rounding, optional
        By default that of the network's precision.
    splits : iterable of Split, optional
        Only the points of the region on these sides count. Where none is left, :attr:`Enclosure.empty` may say so.
    within : dict of linear node -> (lower, upper) float64 [size], optional
        Bounds that hold already, such as those of a subproblem's parent: the result is never looser.
    fold : bool, optional
        Whether to multiply out stable neurons: by default wherever it saves time; the same bounds up to rounding.

    Raises
    ------
    ModelError
        A region of another size than the network's input.
    SettingsError
        An unknown method, a split of what is no neuron.
    """
    encloser = Encloser(network, region, layers, rounding, splits=splits, within=within, fold=fold)
    while encloser.node < len(network.nodes):
        encloser.give(*encloser.bound())
    return encloser.finish()


def plain_reduction(enclosure: Enclosure) -> Reduced:
    """The same network over the same region with nothing multiplied out but constants."""
    reduction = _replayed(enclosure, False, len(enclosure.network.nodes))
    reduction.finish(enclosure.network.output)
    return reduction.reduced


def _replayed(enclosure: Enclosure, fold: bool | None, stop: int) -> Reduction:
    """The reduction of the nodes before ``stop``, whose bounds are there, in whole maps."""
    network, region, rounding = enclosure.network, enclosure.region, enclosure.rounding
    first = enclosure.reduced.groups[0]
    reduction = Reduction(Reduced(region, rounding, enclosure.reduced.middle, enclosure.reduced.reach, [first]), fold)
    for index, node in enumerate(network.nodes[:stop]):
        if isinstance(node, LinearNode):
            reduction.linear(index, node)
        elif isinstance(node, ActivationNode):
            z = enclosure.lower[node.source], enclosure.upper[node.source]
            magnitude = np.zeros(node.size) if region.unbounded else enclosure.magnitude(index)
            reduction.activation(index, node, enclosure.slopes[index], enclosure.lines[index], z, magnitude)
    return reduction
