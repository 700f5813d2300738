"""Jacobian bounds by pushing columns forward: the recursion that `linear` and `recurjac` share.

Y(node), float64 [K, size], is the derivative of K output rows with respect to a node's value. It is bounded at every
activation in reverse topological order, then at the input: unit columns start at the node and move through the graph towards
the output; each activation replaces its products g Y by lines in Y, which the bounds found so far make valid (MATH: RecurJac,
Zhang et al., AAAI 2019, section 3; chords: Shi et al., NeurIPS 2022). All columns, all K rows and both sides move side by
side in one matrix product per operator.

Rounding: where |Y_i| <= psi_i, rounding of a product W B moves the bound by at most gamma_n (psi' |W|) |B| with psi' that of the
next node; the row vectors psi' |W| are made once per node.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distverify.bounds.enclosure import Enclosure
from distverify.kernels.products import add_loss, contract_columns, fill_product_lines, scale_columns
from distverify.network.graph import ActivationNode, InputNode, LinearNode

Floats = NDArray[np.float64]
_Columns = NDArray[np.float64]  # [n, K or 1, 2 or 1, r]

# Columns in flight per block: small enough for a core's second-level cache to help, large enough for the matrix product.
DEFAULT_BLOCK_BYTES = 48 * 2**20


class ColumnPush:
    """Bounds of the rows' derivatives with respect to every node, found by :meth:`bound`.

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
        self.enclosure = enclosure
        self.network = enclosure.network
        self.rounding = enclosure.rounding
        self.rows = np.ascontiguousarray(rows, dtype=np.float64)
        self.chord = chord
        self.block_bytes = block_bytes
        self._consumers = self.network.consumers()
        self._last_use = [max(c, default=i) for i, c in enumerate(self._consumers)]
        self._lines: dict[int, tuple[NDArray[np.int64], Floats, Floats, Floats, Floats]] = {}
        # psi[node] bounds |Y(node)|; loss[node] is what a unit coefficient at the node loses in the products that read it.
        self._psi: dict[int, Floats] = {}
        self._loss: dict[int, Floats] = {}
        self._weight: dict[int, Floats] = {}
        self._gamma = self.rounding.gamma(sum(n.size for n in self.network.nodes) + len(self.network.nodes))
        self._output_terms = self._contract_output()

    def _contract_output(self) -> dict[int, tuple[Floats, Floats]]:
        """Rows of the output with respect to the nodes that it reads, and the loss per unit column there."""
        node = self.network.nodes[self.network.output]
        if not isinstance(node, LinearNode):
            return {self.network.output: (self.rows, np.abs(self.rows) * self.rounding.gamma(node.size))}
        out: dict[int, tuple[Floats, Floats]] = {}
        for term in node.terms:
            pulled = np.ascontiguousarray(term.operator.pull(self.rows))
            absolute = term.operator.pull_abs(np.abs(self.rows))
            loss = self.rounding.gamma(term.operator.pull_terms + pulled.shape[1]) * absolute
            if term.source in out:
                pulled = pulled + out[term.source][0]
                loss = loss + out[term.source][1] + self.rounding.unit * np.abs(pulled)
            out[term.source] = (pulled, loss)
        return out

    def bound(self) -> tuple[Floats, Floats]:
        """Sound bounds of the rows' derivatives with respect to the input: lower, upper, float64 [K, inputs]."""
        for index in range(self.network.output, -1, -1):
            node = self.network.nodes[index]
            if isinstance(node, LinearNode):
                self._psi[index] = self._psi_of_linear(index)
                self._loss[index] = self._product_loss(index)
                continue
            if index == self.network.output:
                lower = upper = self.rows
            else:
                lower, upper = self.unit_columns(index)
            if isinstance(node, InputNode):
                self._loss[index] = self._product_loss(index)
                return lower, upper
            self._fix_lines(index, node, lower, upper)
        raise AssertionError("a network's first node is its input")

    def _psi_of_linear(self, index: int) -> Floats:
        if index == self.network.output:
            return np.abs(self.rows)
        total = np.zeros((self.rows.shape[0], self.network.nodes[index].size))
        for c in self._consumers[index]:
            node = self.network.nodes[c]
            if isinstance(node, ActivationNode):
                glo, ghi = self.enclosure.slopes[c]
                total += np.maximum(np.abs(glo), np.abs(ghi)) * self._psi[c]
            elif isinstance(node, LinearNode):
                for term in node.terms:
                    if term.source == index:
                        total += term.operator.pull_abs(self._psi[c])
        return total * (1.0 + self._gamma)

    def _product_loss(self, index: int) -> Floats:
        total = np.zeros((self.rows.shape[0], self.network.nodes[index].size))
        for c in self._consumers[index]:
            node = self.network.nodes[c]
            if isinstance(node, LinearNode) and c != self.network.output:
                gamma = self.rounding.gamma(sum(t.operator.push_terms for t in node.terms) + len(node.terms))
                for term in node.terms:
                    if term.source == index:
                        total += gamma * term.operator.pull_abs(self._psi[c])
        return total

    def _fix_lines(self, index: int, node: ActivationNode, lower: Floats, upper: Floats) -> None:
        su, cu, sl, cl = (np.empty(lower.shape) for _ in range(4))
        fill_product_lines(self.chord, *self.enclosure.slopes[index], lower, upper, su, cu, sl, cl)
        used = ((su != 0) | (sl != 0) | (cu != 0) | (cl != 0)).any(axis=0)
        self._lines[index] = np.flatnonzero(used), su, cu, sl, cl
        self._psi[index] = np.maximum(np.abs(lower), np.abs(upper))
        self._weight[index] = self.rounding.unit * self._psi[index] + self._product_loss(index)

    def unit_columns(self, index: int) -> tuple[Floats, Floats]:
        """Bounds of Y(node ``index``), all of its entries: lower, upper float64 [K, size]."""
        size = self.network.nodes[index].size
        shape = (self.rows.shape[0], size)
        lower, upper = np.empty(shape), np.empty(shape)
        widest = max(n.size for n in self.network.nodes[index:])
        per_column = 3 * widest * 2 * self.rows.shape[0] * 8
        block = max(16, min(size, self.block_bytes // per_column))
        for start in range(0, size, block):
            stop = min(start + block, size)
            low, high = self._push(index, start, stop, None)
            lower[:, start:stop], upper[:, start:stop] = low, high
        return lower, upper

    def merged_columns(self, columns: Floats) -> tuple[Floats, Floats]:
        """Bounds of J[k] @ columns[:, k] for each row k: ``columns`` float64 [inputs, K], result float64 [K] each."""
        low, high = self._push(0, 0, 1, np.ascontiguousarray(columns[:, :, None, None]))
        return low[:, 0], high[:, 0]

    def _push(self, start: int, first: int, last: int, columns: _Columns | None) -> tuple[Floats, Floats]:
        """Push unit columns first:last of node ``start``, or given ``columns`` [n, K, 1, r], to the output."""
        nodes = self.network.nodes
        r = last - first if columns is None else columns.shape[3]
        constant = np.zeros((self.rows.shape[0], 2, r))
        error = np.zeros_like(constant)
        moving: dict[int, tuple[_Columns, NDArray[np.int64] | None]] = {}
        if columns is not None:
            moving[start] = columns, None
            add_loss(self._loss[start], columns, error)
        for index in range(start + 1, self.network.output + 1):
            node = nodes[index]
            if isinstance(node, LinearNode) and index == self.network.output:
                for source, (pulled, loss) in self._output_terms.items():
                    if source == start and columns is None:
                        constant += pulled[:, None, first:last]
                        error += loss[:, None, first:last]
                    elif source in moving:
                        value, active = moving[source]
                        if active is not None:
                            pulled, loss = np.ascontiguousarray(pulled[:, active]), np.ascontiguousarray(loss[:, active])
                        contract_columns(pulled, loss, value, constant, error)
            elif isinstance(node, LinearNode):
                total = self._through_linear(node, start, first, last, columns, moving)
                if total is not None:
                    moving[index] = total, None
                    if any(isinstance(nodes[c], LinearNode) for c in self._consumers[index]):
                        add_loss(self._loss[index], total, error)
            elif isinstance(node, ActivationNode):
                value = self._at_source(node.source, start, first, last, columns, moving)
                if value is not None and self._lines[index][0].size > 0:
                    moving[index] = self._through_activation(index, value, constant, error)
                    if index == self.network.output:
                        pulled, loss = self._output_terms[index]
                        value, active = moving[index]
                        assert active is not None
                        contract_columns(
                            np.ascontiguousarray(pulled[:, active]), np.ascontiguousarray(loss[:, active]), value, constant, error
                        )
            for source in node.sources:
                if self._last_use[source] <= index:
                    moving.pop(source, None)
        error *= 1.001  # the error terms' own rounding
        lower, upper = self.rounding.outward(constant[:, 1] - error[:, 1], constant[:, 0] + error[:, 0])
        return lower, upper

    def _at_source(
        self, source: int, start: int, first: int, last: int, columns: _Columns | None,
        moving: dict[int, tuple[_Columns, NDArray[np.int64] | None]],
    ) -> _Columns | None:  # fmt: skip
        if source == start and columns is None:
            return np.eye(self.network.nodes[start].size, last - first, -first)[:, None, None, :]
        return moving[source][0] if source in moving else None

    def _through_linear(
        self, node: LinearNode, start: int, first: int, last: int, columns: _Columns | None,
        moving: dict[int, tuple[_Columns, NDArray[np.int64] | None]],
    ) -> _Columns | None:  # fmt: skip
        total: _Columns | None = None
        for term in node.terms:
            if term.source == start and columns is None:
                pushed = term.operator.columns(first, last)[:, None, None, :]
            elif term.source in moving:
                value, active = moving[term.source]
                flat = term.operator.push(value.reshape(value.shape[0], -1), active)
                pushed = flat.reshape(node.size, *value.shape[1:])
            else:
                continue
            total = pushed if total is None else np.ascontiguousarray(total + pushed)
        return total

    def _through_activation(
        self, index: int, value: _Columns, constant: Floats, error: Floats
    ) -> tuple[_Columns, NDArray[np.int64]]:
        active, su, cu, sl, cl = self._lines[index]
        out = np.empty((active.size, self.rows.shape[0], 2, value.shape[3]))
        scale_columns(value, active, su, cu, sl, cl, self._weight[index], self._gamma, out, constant, error)
        return out, active
