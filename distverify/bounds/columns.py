"""Jacobian bounds by pushing columns forward: the recursion that `linear` and `recurjac` share.

Y(group), float64 [K, n], is the derivative of K output rows with respect to the members of a group of the reduced network. It is
bounded from the last group back to the input: unit columns start at the group and move forward to the output; each group on the way
replaces its products g Y by lines in Y, which the bounds found so far make valid (RecurJac, Zhang et al., AAAI 2019,
section 3; chords: Shi et al., NeurIPS 2022). All columns, all K rows and both sides move side by side in one product per edge.

Rounding: where |Y_i| <= psi_i, rounding of a product W B moves the bound by at most gamma_n (psi' |W|) |B|, with psi' that of the
group the product leads to; the row vectors psi' |W| are made once per edge.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distverify.bounds.enclosure import Enclosure
from distverify.bounds.reduced import Floats
from distverify.kernels.products import add_loss, contract_columns, fill_product_lines, scale_columns
from distverify.network.graph import ActivationNode, LinearNode, Network

# Columns in flight per block: large enough for the matrix products, small enough not to crowd the caches.
DEFAULT_BLOCK_BYTES = 48 * 2**20
_NOTHING = np.zeros((0, 0))
_NO_COLUMNS = np.zeros((0, 1, 1, 0))


class ColumnPush:
    """Bounds of the rows' derivatives with respect to every group, found by :meth:`bound`.

    Parameters
    ----------
    enclosure : Enclosure
    rows : float64 [K, outputs]
        Combinations of outputs: unit rows for logits, differences for margins.
    chord : bool
        `linear` (chords) or `recurjac` (worst case).
    block_bytes : int
        Memory for the columns in flight.
    """

    def __init__(
        self, enclosure: Enclosure, rows: Floats, *, chord: bool, block_bytes: int = DEFAULT_BLOCK_BYTES
    ) -> None:
        self.reduced = enclosure.reduced
        self.rounding = enclosure.rounding
        self.rows = np.ascontiguousarray(rows, dtype=np.float64)
        self.chord = chord
        self.block_bytes = block_bytes
        groups = self.reduced.groups
        self._gamma = self.rounding.gamma(self.reduced.terms)
        # Per group: members with any slope or constant, the product lines, and what a unit of scaled column loses.
        self._lines: dict[int, tuple[NDArray[np.int64], Floats, Floats, Floats, Floats, Floats]] = {}
        # What a unit coefficient of a group's member loses in the products that read it.
        self._loss = {g: np.zeros((self.rows.shape[0], group.size)) for g, group in enumerate(groups)}
        self._output: dict[int, tuple[Floats, Floats]] = {}
        assert self.reduced.output is not None
        absolute = np.abs(self.rows)
        for g, edge in self.reduced.output.edges.items():
            pulled = np.ascontiguousarray(edge.pull(self.rows))
            gamma = self.rounding.gamma(edge.pull_terms + pulled.shape[1] + len(groups))
            self._output[g] = (pulled, gamma * edge.pull_abs(absolute))
        self._folded = {g: np.zeros(group.size) for g, group in enumerate(groups)}
        for g, losses in _column_losses(enclosure, self.rows).items():
            self._folded[g] = losses
            self._loss[g] += losses

    def bound(self) -> tuple[Floats, Floats]:
        """Sound bounds of the rows' derivatives with respect to the input: lower, upper, float64 [K, inputs]."""
        for index in range(len(self.reduced.groups) - 1, 0, -1):
            self._fix_lines(index, *self.unit_columns(index))
        return self.unit_columns(0)

    def _fix_lines(self, index: int, lower: Floats, upper: Floats) -> None:
        group = self.reduced.groups[index]
        affine = group.affine
        assert affine is not None
        su, cu, sl, cl, psi_z = np.empty((5, *lower.shape))
        weight, active = self._loss[index].copy(), np.empty(group.size, dtype=np.int64)
        count = fill_product_lines(
            self.chord, *group.slopes, lower, upper, self.rounding.unit, su, cu, sl, cl, weight, psi_z, active
        )
        self._lines[index] = active[:count], su, cu, sl, cl, weight
        terms = sum(edge.push_terms for edge in affine.edges.values()) + len(affine.edges)
        gamma = self.rounding.gamma(terms)
        for source, edge in affine.edges.items():
            self._loss[source] += gamma * edge.pull_abs(psi_z)

    def unit_columns(self, index: int) -> tuple[Floats, Floats]:
        """Bounds of Y(group ``index``), all of its entries: lower, upper float64 [K, n]."""
        size = self.reduced.groups[index].size
        lower, upper = np.empty((self.rows.shape[0], size)), np.empty((self.rows.shape[0], size))
        passed = sum(g.size for g in self.reduced.groups[index + 1 :])
        widest = max((g.size for g in self.reduced.groups[index + 1 :]), default=0)
        per_column = (passed + widest + 4) * 2 * self.rows.shape[0] * 8
        block = max(16, min(size, self.block_bytes // per_column))
        for start in range(0, size, block):
            stop = min(start + block, size)
            lower[:, start:stop], upper[:, start:stop] = self._push(index, slice(start, stop), _NO_COLUMNS)
        return lower, upper

    def merged_columns(self, columns: Floats) -> tuple[Floats, Floats]:
        """Bounds of J[k] @ columns[:, k] for each row k: ``columns`` float64 [inputs, K], result float64 [K] each."""
        low, high = self._push(0, None, np.repeat(columns[:, :, None, None], 2, axis=2))
        return low[:, 0], high[:, 0]

    def _push(self, start: int, unit: slice | None, columns: NDArray[np.float64]) -> tuple[Floats, Floats]:
        """Push unit columns ``unit`` of group ``start``, or given ``columns`` [n, K, 2, r], to the output."""
        r = columns.shape[3] if unit is None else unit.stop - unit.start
        constant = np.zeros((self.rows.shape[0], 2, r))
        error = np.zeros_like(constant)
        every = np.arange(self.reduced.groups[start].size)
        moving: dict[int, tuple[NDArray[np.float64], NDArray[np.int64]]] = {}
        if unit is None:
            moving[start] = columns, every
            add_loss(self._loss[start], columns, error)
        else:
            # Unit columns are exact; the edges that they run into carry the rounding of folded products.
            error += self._folded[start][None, None, unit]
        for index in range(start + 1, len(self.reduced.groups)):
            self._through_group(index, start, unit, moving, constant, error)
        for source, (pulled, loss) in self._output.items():
            if source == start and unit is not None:
                constant += pulled[:, None, unit]
                error += loss[:, None, unit]
            elif source in moving:
                value, active = moving[source]
                if active.size < pulled.shape[1]:
                    pulled, loss = np.ascontiguousarray(pulled[:, active]), np.ascontiguousarray(loss[:, active])
                contract_columns(pulled, loss, value, constant, error)
        error *= 1.001  # the error terms' own rounding
        return self.rounding.outward(constant[:, 1] - error[:, 1], constant[:, 0] + error[:, 0])

    def _through_group(
        self, index: int, start: int, unit: slice | None,
        moving: dict[int, tuple[NDArray[np.float64], NDArray[np.int64]]], constant: Floats, error: Floats,
    ) -> None:  # fmt: skip
        affine = self.reduced.groups[index].affine
        active, su, cu, sl, cl, weight = self._lines[index]
        assert affine is not None
        if active.size == 0:
            return
        shared, total = _NOTHING, None
        for source, edge in affine.edges.items():
            if source == start and unit is not None:
                shared = edge.columns(unit)
            elif source in moving:
                value, rows = moving[source]
                flat = value.reshape(value.shape[0], -1)
                total = edge.push(flat, rows, total)
        if total is None and shared.size == 0:
            return
        r = constant.shape[2]
        arrived = _NO_COLUMNS if total is None else total.reshape(total.shape[0], self.rows.shape[0], 2, r)
        out = np.empty((active.size, self.rows.shape[0], 2, r))
        scale_columns(shared, arrived, active, su, cu, sl, cl, weight, self._gamma, out, constant, error)
        moving[index] = out, active


def _column_losses(enclosure: Enclosure, rows: Floats) -> dict[int, Floats]:
    """For each group, how much rounding in folded products may change the rows' derivatives: float64 [n].

    A product error that changes the derivative of node r's values with respect to a member by a vector d changes the rows'
    derivative by Y(r) . d, and |Y(r) . d| <= ||Y(r)||_2 ||d||_2; ||Y(r)||_2 is bounded by products of spectral norms.
    """
    norms = _derivative_norms(enclosure.network, enclosure.slopes, float(np.linalg.norm(rows, axis=1).max()))
    total: dict[int, Floats] = {}
    for node, group, losses in enclosure.reduced.column_losses:
        total[group] = total.get(group, 0.0) + norms[node] * losses
    return total


def _derivative_norms(network: Network, slopes: dict[int, tuple[Floats, Floats]], rows: float) -> list[float]:
    """Bounds of ||Y(node)||_2 over the region for every node, for output rows of 2-norm at most ``rows``."""
    norms = [0.0] * len(network.nodes)
    norms[network.output] = rows
    for index in range(network.output, 0, -1):
        node = network.nodes[index]
        if isinstance(node, LinearNode):
            for term in node.terms:
                norms[term.source] += norms[index] * term.operator.norm
        elif isinstance(node, ActivationNode):
            glo, ghi = slopes[index]
            norms[node.source] += norms[index] * float(np.maximum(np.abs(glo), np.abs(ghi)).max())
    return norms
