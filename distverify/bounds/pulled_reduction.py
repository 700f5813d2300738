"""The reduced network of a large network: only the rows that are asked for are multiplied out, from above.

A row is pulled from its neuron through the stable part of the network down to the groups, as CROWN pulls through all of it. That costs
rows x network, where multiplying whole maps costs layers x inputs and holds a matrix [neurons x inputs] of every layer; of a large
network in a small ball few rows are asked for.

Rounding. A product of coefficients A with weights W is off by at most gamma_n |A| |W|; on values that is gamma_n |A| (|W| alpha), with
alpha the magnitudes of the nodes over the region, which do not grow with depth. On derivatives it is pulled on through the magnitudes
of what follows, which do: where they have grown too far, a node's stable neurons stay explicit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from distverify.bounds.reduced import Affine, Floats, Indices, Reduced
from distverify.bounds.reduction import Reduction
from distverify.kernels.sums import abs_sums
from distverify.network.graph import Network
from distverify.network.linear.mostly_zero import dense_or_mostly_zero
from distverify.network.nodes import ActivationNode, LinearNode

# Whole maps of fewer entries are multiplied out.
LEAST_ENTRIES = 2**20
# Coefficients in flight.
_BLOCK_ENTRIES = 2**22
# Largest product of the norms of magnitudes that stable neurons are folded over.
_LARGEST_GROWTH = 2.0**26


def worth_pulling(network: Network) -> bool:
    """Whether whole maps of some first layer are so large that rows are better pulled one by one."""
    first = [n.size for n in network.nodes if isinstance(n, LinearNode) and 0 in n.sources]
    return max(first, default=0) * network.input_size >= LEAST_ENTRIES


@dataclass(frozen=True, eq=False)
class _Passed:
    """What an activation node does: ``slope * source + constant`` on ``stable``, a group's members on ``kept``."""

    source: int
    stable: Indices
    slope: Floats
    constant: Floats
    kept: Indices
    group: int


@dataclass(eq=False)
class _Rows:
    """Values on their way to the groups: coefficients of nodes, and what is said of them so far."""

    moving: dict[int, Floats]
    edges: dict[int, Floats]
    constant: Floats
    summed: Floats
    error: Floats


class PulledReduction(Reduction):
    """See :class:`Reduction`; of each linear node nothing is multiplied out but the rows that are asked for.

    Parameters
    ----------
    reduced : Reduced
    network : Network
    fold : bool, optional
        True: wherever it does not cost more; by default, wherever it saves time.
    """

    def __init__(self, reduced: Reduced, network: Network, fold: bool | None = None) -> None:
        super().__init__(reduced, fold)
        reduced.pulled = self
        self._network = network
        self._passed: dict[int, _Passed] = {}
        self._magnitudes: dict[int, Floats] = {}
        self._sizes: dict[tuple[int, int], Floats] = {}
        self._growth: dict[int, float] = {0: 1.0}
        self._asked: tuple[int, Indices, Affine] | None = None

    def note(self, index: int, magnitude: Floats) -> None:
        """See :class:`Reduction`."""
        self._magnitudes[index] = magnitude

    def rows(self, index: int, node: LinearNode, which: Indices) -> Affine:
        """See :class:`Reduction`."""
        if index not in self._growth:
            grown = [float(t.operator.push_abs(np.ones((t.operator.in_size, 1))).max()) for t in node.terms]
            self._growth[index] = sum(g * self._growth[t.source] for g, t in zip(grown, node.terms, strict=True))
        if self._asked is not None and self._asked[0] == index:
            place = np.searchsorted(self._asked[1], which)
            if (place < self._asked[1].size).all() and np.array_equal(self._asked[1][place], which):
                return self._asked[2].take(place)
        affine = self._pulled(index, node, which)
        if which.size:
            self._asked = index, which, affine
        return affine

    def is_dear(self, index: int, rows: int) -> bool:
        """Whether pulling so many rows of node ``index`` takes longer than multiplying out the whole maps up to there."""
        pulls, maps = np.zeros(index + 1), 0.0
        for i, node in enumerate(self._network.nodes[: index + 1]):
            pulls[i] = max((pulls[source] for source in node.sources), default=0.0)
            if isinstance(node, LinearNode):
                pulls[i] += sum(float(node.size) * t.operator.push_terms for t in node.terms)
                maps += sum(float(node.size) * t.operator.push_terms for t in node.terms if t.source > 0)
        return maps > 0.0 and rows * pulls[index] > maps * self._offsets[-1]

    def _members(self, source: int, members: Indices) -> Affine:
        node = self._network.nodes[source]
        assert isinstance(node, LinearNode)
        return self.rows(source, node, members)

    def _remember(
        self, index: int, source: int, stable: Indices, slope: Floats, constant: Floats, members: Indices, column: int,
        magnitude: Floats,
    ) -> None:  # fmt: skip
        group = len(self.reduced.groups) - 1 if members.size else 0
        self._passed[index] = _Passed(source, stable, slope, constant, members, group)
        steepest = float(np.abs(slope).max(initial=0.0))
        self._growth[index] = max(1.0, self._growth[source] * steepest) if stable.size else 1.0

    def _worth_folding(self, source: int, unstable: int, live: int) -> bool:
        if self._growth[source] > _LARGEST_GROWTH:
            return False
        return self._saves(self._network.nodes[source].size, self._offsets[-1], unstable, live)

    def finish(self, output: int) -> None:
        """See :class:`Reduction`."""
        node = self._network.nodes[output]
        if isinstance(node, LinearNode):
            self.reduced.output = self.rows(output, node, np.arange(node.size))
            return
        pulled = self._start(node.size)
        pulled.moving[output] = np.eye(node.size, dtype=self.reduced.rounding.dtype)
        self.reduced.output = self._down(pulled, output)

    def _pulled(self, index: int, node: LinearNode, which: Indices) -> Affine:
        if not which.size:
            return Affine({}, *np.zeros((3, 0)))
        widest = max(n.size for n in self._network.nodes[:index])
        block = max(16, _BLOCK_ENTRIES // widest)
        parts = [self._block(index, node, which[k : k + block]) for k in range(0, which.size, block)]
        if len(parts) == 1:
            return parts[0]
        edges = {g: dense_or_mostly_zero(np.concatenate([p.edges[g].weight for p in parts])) for g in parts[0].edges}
        joined = (np.concatenate([getattr(p, name) for p in parts]) for name in ("constant", "error", "size"))
        return Affine(edges, *joined)

    def _block(self, index: int, node: LinearNode, which: Indices) -> Affine:
        rounding = self.reduced.rounding
        pulled = self._start(which.size)
        pulled.constant += node.bias[which]
        pulled.summed += np.abs(node.bias[which])
        if node.bias_error is not None:
            pulled.error += node.bias_error[which]
        for term in node.terms:
            weights = term.operator.some_rows(which)
            kept = np.ascontiguousarray(weights, dtype=rounding.dtype)
            times = term.operator.roundings + (0 if kept.dtype == weights.dtype else 1)
            magnitude = self._magnitudes[term.source]
            if times:
                pulled.error += rounding.gamma(times) * abs_sums(kept, magnitude) + rounding.eta * magnitude.sum()
            self._add(pulled, term.source, kept)
        return self._down(pulled, index - 1)

    def _start(self, count: int) -> _Rows:
        return _Rows({}, {}, np.zeros(count), np.zeros(count), np.zeros(count))

    def _add(self, pulled: _Rows, source: int, rows: Floats) -> None:
        if source in pulled.moving:
            rows = pulled.moving[source] + rows
            pulled.error += 1.01 * self.reduced.rounding.unit * abs_sums(rows, self._magnitudes[source])
        pulled.moving[source] = rows

    def _down(self, pulled: _Rows, index: int) -> Affine:
        """All that moves, from node ``index`` on, down to the groups."""
        steps = 0
        for i in range(index, -1, -1):
            if i not in pulled.moving:
                continue
            steps += 1
            rows, node = pulled.moving.pop(i), self._network.nodes[i]
            if i == 0:
                pulled.edges[0] = np.ascontiguousarray(rows)
            elif isinstance(node, LinearNode):
                self._through_linear(pulled, i, node, rows)
            else:
                self._through_activation(pulled, self._passed[i], rows)
        rounding = self.reduced.rounding
        size = pulled.summed.copy()
        for group, edge in pulled.edges.items():
            size += abs_sums(edge, self.reduced.groups[group].magnitude)
        error = pulled.error + rounding.gamma(steps + 2) * pulled.summed
        edges = {group: dense_or_mostly_zero(pulled.edges[group]) for group in sorted(pulled.edges)}
        return Affine(edges, pulled.constant, error, size)

    def _through_linear(self, pulled: _Rows, index: int, node: LinearNode, rows: Floats) -> None:
        rounding = self.reduced.rounding
        self._add_constants(pulled, rows, node.bias)
        if node.bias_error is not None:
            pulled.error += abs_sums(rows, node.bias_error)
        for t, term in enumerate(node.terms):
            magnitude = self._magnitudes[term.source]
            if (index, t) not in self._sizes:
                self._sizes[index, t] = term.operator.push_abs(magnitude[:, None])[:, 0]
            terms, held = term.operator.pull_terms, float(magnitude.sum())
            pulled.error += rounding.gamma(terms + 4) * abs_sums(rows, self._sizes[index, t])
            # Products and weights that underflow.
            pulled.error += rounding.eta * held * (terms + 2 + np.abs(rows).sum(axis=1))
            self._add(pulled, term.source, term.operator.pull(rows))

    def _through_activation(self, pulled: _Rows, passed: _Passed, rows: Floats) -> None:
        rounding = self.reduced.rounding
        if passed.kept.size:
            pulled.edges[passed.group] = np.take(rows, passed.kept, axis=1)
        self._add_constants(pulled, rows, passed.constant)
        if not passed.stable.size:
            return
        through = np.zeros((rows.shape[0], self._network.nodes[passed.source].size), rows.dtype)
        stable = np.take(rows, passed.stable, axis=1)
        if not (passed.slope == 1.0).all():
            stable = (stable * passed.slope).astype(rows.dtype)
            magnitude = self._magnitudes[passed.source][passed.stable]
            pulled.error += 3.0 * rounding.unit * abs_sums(stable, magnitude) + 2.0 * rounding.eta * magnitude.sum()
        through[:, passed.stable] = stable
        self._add(pulled, passed.source, through)

    def _add_constants(self, pulled: _Rows, rows: Floats, constants: Floats) -> None:
        if constants.any():
            summed = abs_sums(rows, np.abs(constants))
            pulled.constant += rows @ constants
            pulled.summed += summed
            pulled.error += self.reduced.rounding.gamma(constants.size) * summed

    def losses(self, rows: Floats, ranges: Iterator[tuple[int, Floats, Floats]]) -> list[Floats]:
        """See :class:`distverify.bounds.reduced.PulledRows`."""
        walk = _Losses(self, rows)
        for index, lower, upper in ranges:
            walk.pass_node(index, np.maximum(np.abs(lower), np.abs(upper)))
        return walk.losses


class _Losses:
    """Magnitudes of derivatives, and of what rounding may do to them, on the ways that rows were pulled.

    ``fresh``: of neurons whose rows start at a node; ``carried``: of what was pulled to it; ``lost``: what that may be off by; each
    float64 [K, size].
    """

    def __init__(self, reduction: PulledReduction, rows: Floats) -> None:
        self.reduction, self.nodes = reduction, reduction._network.nodes
        self.losses = [np.zeros((rows.shape[0], g.size)) for g in reduction.reduced.groups]
        self.fresh: dict[int, Floats] = {}
        self.carried: dict[int, Floats] = {}
        self.lost: dict[int, Floats] = {}
        self.ways: dict[int, int] = {}
        self.started = np.zeros((rows.shape[0], 1))
        output = reduction._network.output
        if isinstance(self.nodes[output], LinearNode):
            self._begin(output, np.abs(rows))
        else:
            self._arrive(output, np.abs(rows), np.zeros(rows.shape))

    def pass_node(self, index: int, psi: Floats) -> None:
        """``psi`` float64 [K, size] bounds the magnitudes of the rows' derivatives by the node's values."""
        node, unit = self.nodes[index], self.reduction.reduced.rounding.unit
        passed = self.reduction._passed.get(index)
        if passed is not None and passed.kept.size:
            glo, ghi = self.reduction.reduced.groups[passed.group].slopes
            begun = np.zeros((psi.shape[0], self.nodes[passed.source].size))
            begun[:, passed.kept] = psi[:, passed.kept] * np.maximum(np.abs(glo), np.abs(ghi))
            self._begin(passed.source, begun)
        carried, lost = self.carried.pop(index, None), self.lost.pop(index, None)
        if carried is not None and lost is not None and self.ways[index] > 1:
            lost = lost + 2.0 * unit * self.ways[index] * carried
        if index == 0:
            if lost is not None:
                self.losses[0] += lost
        elif isinstance(node, LinearNode):
            self._through_linear(node, self.fresh.pop(index, None), carried, lost)
        elif isinstance(node, ActivationNode) and passed is not None and carried is not None and lost is not None:
            if passed.kept.size:
                self.losses[passed.group] += lost[:, passed.kept]
            if passed.stable.size:
                slope = np.abs(passed.slope)
                through, off = np.zeros((2, carried.shape[0], self.nodes[passed.source].size))
                through[:, passed.stable] = carried[:, passed.stable] * slope
                off[:, passed.stable] = lost[:, passed.stable] * slope
                if not (slope == 1.0).all():
                    off += 3.0 * unit * through + 2.0 * self.reduction.reduced.rounding.eta * self.started
                self._arrive(passed.source, through, off)

    def _begin(self, index: int, begun: Floats) -> None:
        self.started += begun.sum(axis=1)[:, None]
        self.fresh[index] = self.fresh[index] + begun if index in self.fresh else begun

    def _arrive(self, index: int, carried: Floats, lost: Floats) -> None:
        self.ways[index] = self.ways.get(index, 0) + 1
        self.carried[index] = self.carried[index] + carried if index in self.carried else carried
        self.lost[index] = self.lost[index] + lost if index in self.lost else lost

    def _through_linear(
        self, node: LinearNode, fresh: Floats | None, carried: Floats | None, lost: Floats | None
    ) -> None:
        rounding = self.reduction.reduced.rounding
        for term in node.terms:
            operator = term.operator
            through, off = np.zeros((2, self.started.shape[0], operator.in_size))
            if fresh is not None:
                # Rows begin as weights, exact but for what they were stored with, and the precision of the products.
                begun = operator.pull_abs(fresh)
                times = operator.roundings + (0 if rounding.dtype == np.float64 else 1)
                through += begun
                if times:
                    off += rounding.gamma(times) * begun + rounding.eta * self.started
            if carried is not None and lost is not None:
                pulled, still_lost = np.split(operator.pull_abs(np.concatenate([carried, lost])), 2)
                through += pulled
                off += still_lost + rounding.gamma(operator.pull_terms + 4) * pulled
                off += rounding.eta * ((operator.pull_terms + 2) * self.started + carried.sum(axis=1)[:, None])
            self._arrive(term.source, through, off * 1.001)
