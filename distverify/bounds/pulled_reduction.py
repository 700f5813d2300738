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
from typing import Any

import numpy as np

from distverify.bounds.coefficients import (
    Coefficients,
    added,
    contracted,
    entries_of,
    pulled_through,
    row_cost,
    scaled,
    some,
    sums,
    weighted,
)
from distverify.bounds.edges import edge, stacked, weighted_sums
from distverify.bounds.entries import Entries
from distverify.bounds.midpoints import midpoint_radius
from distverify.bounds.pulled_losses import Losses, Passed
from distverify.bounds.reduced import Affine, Floats, Indices, Pair, Reduced
from distverify.bounds.reduction import Reduction, Test
from distverify.bounds.windows import Windows, has_windows
from distverify.kernels.rounding import SOUND
from distverify.network.graph import Network
from distverify.network.linear.sparse import Sparse
from distverify.network.nodes import LinearNode

# Whole maps of fewer entries are multiplied out.
LEAST_ENTRIES = 2**20
# Coefficients in flight.
_BLOCK_ENTRIES = 2**21
# Largest product of the norms of magnitudes that stable neurons are folded over.
_LARGEST_GROWTH = 2.0**30


def worth_pulling(network: Network) -> bool:
    """Whether whole maps of some first layer are so large that rows are better pulled one by one."""
    first = [n.size for n in network.nodes if isinstance(n, LinearNode) and 0 in n.sources]
    return max(first, default=0) * network.input_size >= LEAST_ENTRIES


@dataclass(frozen=True, eq=False)
class _Range:
    """Of a node's values: middle +/- reach, and bounds of their magnitudes."""

    middle: Floats
    reach: Floats
    magnitude: Floats


@dataclass(eq=False)
class _Rows:
    """Values on their way to the groups: coefficients of nodes, and what is said of them so far."""

    which: Indices  # rows that are still pulled
    place: Indices  # of these among all
    lower: Floats  # of all
    upper: Floats
    moving: dict[int, Coefficients]
    edges: dict[int, Any]
    constant: Floats
    summed: Floats
    error: Floats
    size: Floats
    steps: int
    is_open: Test | None

    def keep(self, still: Indices) -> None:
        """Let the other rows go."""
        self.which, self.place = self.which[still], self.place[still]
        self.moving = {node: some(rows, still) for node, rows in self.moving.items()}
        self.edges = {group: matrix[still] for group, matrix in self.edges.items()}
        self.constant, self.summed = self.constant[still], self.summed[still]
        self.error, self.size = self.error[still], self.size[still]


def joined(parts: list[_Rows]) -> Affine:
    """What was pulled, in blocks below one another."""
    edges = {g: edge(stacked([p.edges[g] for p in parts])) for g in sorted(parts[0].edges)}
    constant, error, size = (
        np.concatenate([getattr(p, name) for p in parts]) for name in ("constant", "error", "size")
    )
    return Affine(edges, constant, error, size)


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
        self._passed: dict[int, Passed] = {}
        self._ranges: dict[int, _Range] = {}
        self._sizes: dict[tuple[int, int], Floats] = {}
        self._growth: dict[int, float] = {0: 1.0}
        self._asked: tuple[int, Indices, Affine] | None = None

    def note(self, index: int, lower: Floats, upper: Floats) -> None:
        """See :class:`Reduction`."""
        self._ranges[index] = _Range(*midpoint_radius(lower, upper), np.maximum(np.abs(lower), np.abs(upper)))

    def rows(self, index: int, node: LinearNode, which: Indices) -> Affine:
        """See :class:`Reduction`."""
        if index not in self._growth:
            grown = [float(t.operator.push_abs(np.ones((t.operator.in_size, 1))).max()) for t in node.terms]
            self._growth[index] = sum(g * self._growth[t.source] for g, t in zip(grown, node.terms, strict=True))
        if self._asked is not None and self._asked[0] == index:
            place = np.searchsorted(self._asked[1], which)
            if (place < self._asked[1].size).all() and np.array_equal(self._asked[1][place], which):
                return self._asked[2].take(place)
        return self.open_rows(index, node, which, None, None)[1]

    def open_rows(
        self, index: int, node: LinearNode, which: Indices, bounds: Pair | None, is_open: Test | None
    ) -> tuple[Indices, Affine, Pair]:
        """See :class:`Reduction`; a row is pulled on only while intervals of what it has come to leave it open."""
        if not which.size:
            return which, Affine({}, *np.zeros((3, 0))), (np.zeros(0), np.zeros(0))
        block = max(16, _BLOCK_ENTRIES // max(1, row_cost(self._network, index).entries))
        parts = []
        for k in range(0, which.size, block):
            some_of = which[k : k + block]
            known = None if bounds is None else (bounds[0][k : k + block], bounds[1][k : k + block])
            parts.append(self._block(index, node, some_of, known, is_open))
        affine = joined(parts)
        kept = np.concatenate([p.which for p in parts])
        self._asked = index, kept, affine
        return kept, affine, (np.concatenate([p.lower for p in parts]), np.concatenate([p.upper for p in parts]))

    def take(self, index: int, which: Indices, rows: Affine) -> None:
        """Neurons ``which``, ascending, of linear node ``index``, as somebody pulled them."""
        self._asked = index, which, rows

    def is_dear(self, index: int, rows: int) -> bool:
        """Whether pulling so many rows of node ``index`` takes longer than multiplying out the whole maps up to there."""
        maps = 0.0
        for node in self._network.nodes[: index + 1]:
            if isinstance(node, LinearNode):
                maps += sum(float(node.size) * t.operator.push_terms for t in node.terms if t.source > 0)
        return maps > 0.0 and rows * row_cost(self._network, index).work > maps * self._offsets[-1]

    def _members(self, source: int, members: Indices) -> Affine:
        node = self._network.nodes[source]
        assert isinstance(node, LinearNode)
        return self.rows(source, node, members)

    def _remember(
        self, index: int, source: int, stable: Indices, slope: Floats, constant: Floats, members: Indices, column: int,
        magnitude: Floats,
    ) -> None:  # fmt: skip
        group = len(self.reduced.groups) - 1 if members.size else 0
        self._passed[index] = Passed(source, stable, slope, constant, members, group)
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
        pulled = self._start(np.arange(node.size))
        pulled.moving[output] = np.eye(node.size, dtype=self.reduced.rounding.dtype)
        self.reduced.output = joined([self._down(pulled, output)])

    def _block(self, index: int, node: LinearNode, which: Indices, bounds: Pair | None, is_open: Test | None) -> _Rows:
        rounding = self.reduced.rounding
        pulled = self._start(which, bounds, is_open)
        pulled.constant += node.bias[which]
        pulled.summed += np.abs(node.bias[which])
        if node.bias_error is not None:
            pulled.error += node.bias_error[which]
        for term in node.terms:
            operator, magnitude = term.operator, self._ranges[term.source].magnitude
            if has_windows(operator):
                kept: Coefficients = Windows.of_convolution(operator, which, rounding.dtype)
                exact = rounding.dtype == np.float64
            elif isinstance(operator, Sparse):
                kept = Entries(operator.matrix[which].astype(rounding.dtype, copy=False))
                exact = rounding.dtype == np.float64
            else:
                weights = operator.some_rows(which)
                kept = np.ascontiguousarray(weights, dtype=rounding.dtype)
                exact = kept.dtype == weights.dtype
            times = operator.roundings + (0 if exact else 1)
            if times:
                pulled.error += rounding.gamma(times) * weighted(kept, magnitude) + rounding.eta * magnitude.sum()
            self._add(pulled, term.source, kept)
        return self._down(pulled, index - 1)

    def _start(self, which: Indices, bounds: Pair | None = None, is_open: Test | None = None) -> _Rows:
        count = which.size
        lower, upper = (np.full(count, -np.inf), np.full(count, np.inf)) if bounds is None else bounds
        constant, summed, error, size = np.zeros((4, count))
        return _Rows(
            which, np.arange(count), lower.copy(), upper.copy(), {}, {}, constant, summed, error, size, 0, is_open
        )

    def _add(self, pulled: _Rows, source: int, rows: Coefficients) -> None:
        if source in pulled.moving:
            rows = added(pulled.moving[source], rows)
            pulled.error += 1.01 * self.reduced.rounding.unit * weighted(rows, self._ranges[source].magnitude)
        pulled.moving[source] = rows

    def _down(self, pulled: _Rows, index: int) -> _Rows:
        """All that moves, from node ``index`` on, down to the groups."""
        for i in range(index, -1, -1):
            if i not in pulled.moving:
                continue
            if pulled.is_open is not None and pulled.steps and isinstance(self._network.nodes[i], LinearNode):
                self._leave_settled(pulled, pulled.is_open)
            pulled.steps += 1
            rows, node = pulled.moving.pop(i), self._network.nodes[i]
            if i == 0:
                pulled.edges[0] = entries_of(rows, None)
            elif isinstance(node, LinearNode):
                self._through_linear(pulled, i, node, rows)
            else:
                self._through_activation(pulled, self._passed[i], rows)
        rounding = self.reduced.rounding
        pulled.size += pulled.summed
        for group, matrix in pulled.edges.items():
            pulled.size += weighted_sums(matrix, self.reduced.groups[group].magnitude)
        pulled.error += rounding.gamma(pulled.steps + 2) * pulled.summed
        return pulled

    def _leave_settled(self, pulled: _Rows, is_open: Test) -> None:
        """Bound all rows by intervals of what they are made of now; those that are settled go no further."""
        rounding = self.reduced.rounding
        centre, size, spread = pulled.constant.copy(), pulled.summed.copy(), np.zeros(pulled.constant.size)
        terms = 8
        for node, rows in pulled.moving.items():
            known = self._ranges[node]
            total, summed, reached, _ = sums(rows, known.middle, known.reach)
            centre, size, spread = centre + total, size + summed + reached, spread + reached
            terms += known.middle.size
        for group, matrix in pulled.edges.items():
            known = self._of_group(group)
            centre += np.asarray(matrix @ known.middle, dtype=np.float64)
            reached = weighted_sums(matrix, known.reach)
            size, spread = size + weighted_sums(matrix, np.abs(known.middle)) + reached, spread + reached
            terms += known.middle.size
        # Sums are in double precision, whatever the coefficients are.
        gamma = min(rounding.gamma(terms), SOUND.gamma(terms))
        spread += 1.001 * (pulled.error + rounding.gamma(pulled.steps + 2) * pulled.summed + gamma * size)
        lower, upper = rounding.outward(centre - spread, centre + spread)
        place = pulled.place
        pulled.lower[place] = np.fmax(pulled.lower[place], lower)
        pulled.upper[place] = np.fmin(pulled.upper[place], upper)
        still = np.flatnonzero(is_open(pulled.which, pulled.lower[place], pulled.upper[place]))
        if still.size < place.size:
            pulled.keep(still)

    def _of_group(self, group: int) -> _Range:
        """The group's activations."""
        of, known = self.reduced.groups[group], self._ranges[self.reduced.groups[group].node]
        if of.members is None:
            return known
        return _Range(known.middle[of.members], known.reach[of.members], known.magnitude[of.members])

    def _through_linear(self, pulled: _Rows, index: int, node: LinearNode, rows: Coefficients) -> None:
        rounding = self.reduced.rounding
        if node.bias_error is not None:
            pulled.error += weighted(rows, node.bias_error)
        for t, term in enumerate(node.terms):
            magnitude = self._ranges[term.source].magnitude
            if (index, t) not in self._sizes:
                self._sizes[index, t] = term.operator.push_abs(magnitude[:, None])[:, 0]
            constant, summed, size, total = sums(rows, node.bias, self._sizes[index, t])
            if t == 0:
                self._add_constants(pulled, node.size, constant, summed)
            terms, held = term.operator.pull_terms, float(magnitude.sum())
            # Products and weights that underflow, besides those that round.
            pulled.error += rounding.gamma(terms + 4) * size + rounding.eta * held * (terms + 2 + total)
            self._add(pulled, term.source, pulled_through(term.operator, rows))

    def _through_activation(self, pulled: _Rows, passed: Passed, rows: Coefficients) -> None:
        rounding = self.reduced.rounding
        if passed.kept.size:
            pulled.edges[passed.group] = entries_of(rows, passed.kept)
        if passed.constant.any():
            self._add_constants(pulled, passed.constant.size, *contracted(rows, passed.constant))
        if not passed.stable.size:
            return
        slope = np.zeros(self._network.nodes[passed.source].size)
        slope[passed.stable] = passed.slope
        magnitude = self._ranges[passed.source].magnitude
        through, spread = scaled(rows, slope, magnitude)
        if not (passed.slope == 1.0).all():
            held = float(magnitude[passed.stable].sum())
            pulled.error += 3.0 * rounding.unit * spread + 2.0 * rounding.eta * held
        self._add(pulled, passed.source, through)

    def _add_constants(self, pulled: _Rows, terms: int, constant: Floats, summed: Floats) -> None:
        pulled.constant += constant
        pulled.summed += summed
        pulled.error += self.reduced.rounding.gamma(terms) * summed

    def losses(self, rows: Floats, ranges: Iterator[tuple[int, Floats, Floats]]) -> list[Floats]:
        """See :class:`distverify.bounds.reduced.PulledRows`."""
        walk = Losses(self._network, self.reduced, self._passed, rows)
        for index, lower, upper in ranges:
            walk.pass_node(index, np.maximum(np.abs(lower), np.abs(upper)))
        return walk.losses
