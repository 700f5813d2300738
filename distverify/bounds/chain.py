"""The reduced network as a chain that columns are pushed through, in either direction.

J(x) = sum over paths through the groups; transposed, the same sum runs from the outputs to the inputs. So one recursion serves
both orders: *backward* (one chain per output row; columns start at the groups and at the input and move to the outputs) and
*forward* (one chain per input column; the transposed network, whose "inputs" are the output rows).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distverify.bounds.reduced import Floats, Reduced
from distverify.network.operators import Dense


@dataclass(frozen=True, eq=False)
class Link:
    """What a group of the chain receives from an earlier one; ``matrix`` is off by a rounding error that ``error`` bounds.

    Attributes
    ----------
    matrix : Dense [n, source size]
    error : float64
        [source size]: 2-norm of each column's error; or, where ``by_row``, [n]: largest entry of each row's error; or
        [n, source size]: every entry's.
    """

    matrix: Dense
    error: Floats
    by_row: bool = False

    def loss(self, psi: Floats) -> Floats:
        """What a unit of each source member may lose, where |derivatives at this group| <= psi [K, n]: [K, source size]."""
        if self.error.ndim == 2:
            return psi @ self.error
        if self.by_row:
            return np.repeat((psi @ self.error)[:, None], self.matrix.in_size, axis=1)
        return np.linalg.norm(psi, axis=1)[:, None] * self.error


@dataclass(frozen=True, eq=False)
class Chain:
    """Groups in the order in which columns pass them; group 0 is where the wanted columns start.

    Attributes
    ----------
    rows : int
        K, the number of chains.
    sizes : list of int
    slopes : list of (glo, ghi)
        Of groups 1, 2, ...; entry 0 is unused.
    links : list of dict source -> Link
        Of groups 1, 2, ...; entry 0 is empty.
    output : dict source -> (rows, loss), float64 [K, source size]
        The wanted rows, and what a unit of each source member may lose in contracting with them.
    """

    rows: int
    sizes: list[int]
    slopes: list[tuple[Floats, Floats]]
    links: list[dict[int, Link]]
    output: dict[int, tuple[Floats, Floats]]

    @property
    def cost(self) -> int:
        """Multiplications of the whole recursion, for both sides of all rows."""
        arriving = [sum(link.matrix.weight.size for link in links.values()) for links in self.links]
        return 2 * self.rows * sum(n * sum(arriving[g + 1 :]) for g, n in enumerate(self.sizes))

    def take(self, rows: slice) -> Chain:
        """The chain for some of its rows."""
        output = {g: (wanted[rows], loss[rows]) for g, (wanted, loss) in self.output.items()}
        return Chain(len(range(self.rows)[rows]), self.sizes, self.slopes, self.links, output)


def backward_chain(reduced: Reduced, rows: Floats) -> Chain:
    """The chain for ``rows`` float64 [K, outputs]: its result is [K, inputs]."""
    links = [
        {} if g.affine is None else {s: Link(e.matrix, e.column_error) for s, e in g.affine.edges.items()}
        for g in reduced.groups
    ]
    sizes, slopes = [g.size for g in reduced.groups], [g.slopes for g in reduced.groups]
    return Chain(rows.shape[0], sizes, slopes, links, _output_rows(reduced, rows))


def forward_chain(reduced: Reduced, rows: Floats) -> Chain:
    """The transposed chain: its result is [inputs, K]."""
    groups = reduced.groups
    place = {g: len(groups) - g for g in range(1, len(groups))}
    links: list[dict[int, Link]] = [{} for _ in groups]
    outputs = _output_rows(reduced, rows)
    for g, (pulled, entries) in outputs.items():
        if g > 0:
            links[place[g]][0] = Link(_transposed(pulled), np.ascontiguousarray(entries.T))
    result: dict[int, tuple[Floats, Floats]] = {}
    for later in range(1, len(groups)):
        affine = groups[later].affine
        assert affine is not None
        for earlier, edge in affine.edges.items():
            matrix = _transposed(edge.matrix.weight)
            if earlier > 0:
                links[place[earlier]][place[later]] = Link(matrix, edge.column_error, by_row=True)
            else:
                gamma = reduced.rounding.gamma(matrix.in_size + len(groups))
                result[place[later]] = (matrix.weight, gamma * matrix.absolute + edge.column_error[:, None])
    if 0 in outputs:
        pulled, entries = outputs[0]
        result[0] = (np.ascontiguousarray(pulled.T), np.ascontiguousarray(entries.T))
    order = [0, *range(len(groups) - 1, 0, -1)]
    sizes = [rows.shape[0], *(groups[g].size for g in order[1:])]
    return Chain(groups[0].size, sizes, [groups[g].slopes for g in order], links, result)


def _output_rows(reduced: Reduced, rows: Floats) -> dict[int, tuple[Floats, Floats]]:
    """``rows`` times what the outputs receive from each group, and bounds of every entry's error (products with it too)."""
    assert reduced.output is not None
    absolute, norms = np.abs(rows), np.linalg.norm(rows, axis=1)
    out = {}
    for g, edge in reduced.output.edges.items():
        gamma = reduced.rounding.gamma(edge.matrix.pull_terms + edge.matrix.in_size + len(reduced.groups))
        entries = gamma * edge.matrix.pull_abs(absolute) + norms[:, None] * edge.column_error
        out[g] = (np.ascontiguousarray(edge.matrix.pull(rows)), entries)
    return out


def _transposed(matrix: Floats) -> Dense:
    return Dense(np.ascontiguousarray(matrix.T))
