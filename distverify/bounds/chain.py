"""The reduced network as a chain that columns are pushed through, in either direction.

J(x) = sum over paths through the groups; transposed, the same sum runs from the outputs to the inputs. So one recursion serves
both orders: *backward* (one chain per output row; columns start at the groups and at the input and move to the outputs) and
*forward* (one chain per input column; the transposed network, whose "inputs" are the output rows).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from distverify.bounds.edges import Edge, multiplications, transposed
from distverify.bounds.enclosure import Enclosure, plain_reduction
from distverify.bounds.fastlip import derivative_ranges
from distverify.bounds.reduced import Floats, Group, Product, Reduced
from distverify.kernels.sums import row_norms
from distverify.network.linear.dense import Dense


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
    links : list of dict source -> Dense or Sparse [n, source size]
        What groups 1, 2, ... receive; entry 0 is empty.
    inexact : list of float64 [K, n]
        The links that read a group's members may be off: what a unit of each may lose by that.
    output : dict source -> (rows, loss), float64 [K, source size]
        The wanted rows, and what a unit of each source member may lose in contracting with them.
    groups : list of Group
        Of the reduced network; of groups 1, 2, ... the chain's members are theirs.
    reduced : Reduced
        That network.
    """

    rows: int
    sizes: list[int]
    slopes: list[tuple[Floats, Floats]]
    links: list[dict[int, Edge]]
    inexact: list[Floats]
    output: dict[int, tuple[Floats, Floats]]
    groups: list[Group]
    reduced: Reduced

    @property
    def work(self) -> list[int]:
        """Multiplications for one member of each group, for both sides of one row."""
        return self.work_for(self.sizes[0])

    def work_for(self, columns: int) -> list[int]:
        """:attr:`work` if group 0 had so many members."""
        arriving = [
            sum(
                multiplications(matrix) if source > 0 else multiplications(matrix) * columns // max(matrix.in_size, 1)
                for source, matrix in links.items()
            )
            for links in self.links
        ]
        return [2 * sum(arriving[g + 1 :]) for g in range(len(self.sizes))]

    @property
    def structure(self) -> bytes:
        """Hash of which neurons the groups hold: bounds of a group's columns from elsewhere are of those neurons."""
        digest = hashlib.sha256()
        for group in self.groups[1:]:
            digest.update(f"{group.node} {group.size} ".encode())
            if group.members is not None:
                digest.update(group.members.tobytes())
        return digest.digest()

    def take(self, rows: slice) -> Chain:
        """The chain for some of its rows."""
        output = {g: (wanted[rows], loss[rows]) for g, (wanted, loss) in self.output.items()}
        inexact = [loss[rows] for loss in self.inexact]
        return Chain(
            len(range(self.rows)[rows]), self.sizes, self.slopes, self.links, inexact, output, self.groups, self.reduced
        )


def backward_chain(enclosure: Enclosure, rows: Floats, losses: list[Floats] | None = None) -> Chain:
    """The chain for ``rows`` float64 [K, outputs]: its result is [K, inputs].

    ``losses``: the :func:`product_losses` of the rows, where they are known.
    """
    groups = enclosure.reduced.groups
    links = [{} if g.affine is None else g.affine.edges for g in groups]
    sizes, slopes = [g.size for g in groups], [g.slopes for g in groups]
    inexact = product_losses(enclosure, rows) if losses is None else losses
    return Chain(
        rows.shape[0], sizes, slopes, links, inexact, _output_rows(enclosure.reduced, rows), groups, enclosure.reduced
    )


def product_losses(enclosure: Enclosure, rows: Floats) -> list[Floats]:
    """For each group, how much rounding in the products that made the edges may change the derivatives of ``rows``: [K, n]."""
    return _product_losses(enclosure, enclosure.reduced, rows)


def _product_losses(enclosure: Enclosure, reduced: Reduced, rows: Floats) -> list[Floats]:
    """For each group, how much rounding in the products that made the edges may change the rows' derivatives: [K, n].

    An error D in a product that node r reads changes the derivative by Y(r) D. With |Y(r)| <= psi and |D| <= gamma |W| |F|, column
    c of that is at most gamma (psi |W|) |F_c| <= gamma ||psi |W|||_2 ||F_c||_2.
    """
    if reduced.pulled is not None:
        return reduced.pulled.losses(rows, derivative_ranges(enclosure, rows))
    losses = [np.zeros((rows.shape[0], g.size)) for g in reduced.groups]
    products: dict[int, list[Product]] = {}
    for product in reduced.products:
        products.setdefault(product.node, []).append(product)
    if not products:
        return losses
    for index, lower, upper in derivative_ranges(enclosure, rows):
        for product in products.pop(index, []):
            psi = np.maximum(np.abs(lower), np.abs(upper))
            total = psi.sum(axis=1)[:, None]
            sizes = row_norms(product.operator.pull_abs(psi)[:, product.stable])
            for group, norms in product.column_norms.items():
                losses[group] += product.gamma * sizes[:, None] * norms + product.underflow * total
                if product.factor_underflow > 0.0:
                    losses[group] += product.factor_underflow * total * norms
        if not products:
            break
    return losses


def forward_chain(enclosure: Enclosure, rows: Floats) -> Chain:
    """The transposed chain: its result is [inputs, K].

    Nothing is folded. What rounding is left in the links (sums of parallel terms, the rows times the output layer) changes the
    result by Y D X for an error D, and is added to it: |Y| bounded as for the backward chain, |X| by magnitudes.
    """
    reduced = plain_reduction(enclosure)
    groups = reduced.groups
    place = {g: len(groups) - g for g in range(1, len(groups))}
    links: list[dict[int, Edge]] = [{} for _ in groups]
    outputs = _output_rows(reduced, rows)
    inexact = [np.zeros((groups[0].size, n)) for n in (rows.shape[0], *(g.size for g in groups[:0:-1]))]
    result: dict[int, tuple[Floats, Floats]] = {}
    for g, (pulled, loss) in outputs.items():
        if g == 0:
            result[0] = (np.ascontiguousarray(pulled.T), np.ascontiguousarray(loss.T))
        else:
            links[place[g]][0] = transposed(Dense(pulled), reduced.rounding.dtype)
    for later in range(1, len(groups)):
        affine = groups[later].affine
        assert affine is not None
        for earlier, edge in affine.edges.items():
            matrix = transposed(edge)
            if earlier > 0:
                links[place[earlier]][place[later]] = matrix
            else:
                gamma = reduced.rounding.gamma(matrix.in_size + len(groups))
                result[place[later]] = (
                    matrix.rows().astype(np.float64),
                    gamma * np.abs(matrix.rows()).astype(np.float64),
                )
    losses = _product_losses(enclosure, reduced, rows)
    for g, (_, loss) in outputs.items():
        losses[g] = losses[g] + loss
    for loss, magnitudes in zip(losses, _magnitudes(reduced), strict=True):
        inexact[0] += (loss @ magnitudes).T
    order = [0, *range(len(groups) - 1, 0, -1)]
    sizes = [rows.shape[0], *(groups[g].size for g in order[1:])]
    return Chain(
        groups[0].size,
        sizes,
        [groups[g].slopes for g in order],
        links,
        inexact,
        result,
        [groups[g] for g in order],
        reduced,
    )


def _magnitudes(reduced: Reduced) -> list[Floats]:
    """Bounds of |d a_group / d input|, float64 [n, inputs] each, by magnitudes alone: they only scale rounding terms."""
    out: list[Floats] = [np.eye(reduced.groups[0].size)]
    for group in reduced.groups[1:]:
        assert group.affine is not None
        steepest = np.maximum(np.abs(group.slopes[0]), np.abs(group.slopes[1]))
        total = sum(edge.push_abs(out[source]) for source, edge in group.affine.edges.items())
        out.append(steepest[:, None] * total * 1.001)
    return out


def _output_rows(reduced: Reduced, rows: Floats) -> dict[int, tuple[Floats, Floats]]:
    """``rows`` times what the outputs receive from each group, and what a unit of each member may lose there."""
    assert reduced.output is not None
    absolute = np.abs(rows)
    out = {}
    for g, edge in reduced.output.edges.items():
        gamma = reduced.rounding.gamma(edge.pull_terms + edge.in_size + len(reduced.groups))
        loss = gamma * edge.pull_abs(absolute) + reduced.rounding.eta * (edge.pull_terms + 2)
        out[g] = (np.ascontiguousarray(edge.pull(np.ascontiguousarray(rows, dtype=np.float64))), loss)
    return out
