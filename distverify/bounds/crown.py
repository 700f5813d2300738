"""CROWN: linear bounds of rows of the network, pulled back to the input.

Sources: Zhang et al., NeurIPS 2018 (arXiv 1811.00866), on any directed acyclic graph; rounding terms: with |a_j| <= alpha_j
over the region, the rounding of a product A W moves the bound A W a by at most gamma_n |A| (|W| alpha).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from distverify.kernels.crown import add_bias, relax_rows
from distverify.kernels.support import fill_support
from distverify.network.graph import InputNode, LinearNode

if TYPE_CHECKING:
    from distverify.bounds.enclosure import Enclosure

Floats = NDArray[np.float64]


def node_bounds(enclosure: Enclosure, target: int) -> tuple[Floats, Floats]:
    """Bounds of every value of linear node ``target`` over the region, float64 [size] each; NaN where they overflow."""
    node = enclosure.network.nodes[target]
    assert isinstance(node, LinearNode)
    pull = _Pull(enclosure, target, node.size)
    pull.constant += np.concatenate([node.bias, node.bias])
    for term in node.terms:
        pull.add(term.source, term.operator.rows(0, node.size))
    return pull.finish(target - 1)


def row_bounds(enclosure: Enclosure, rows: Floats) -> tuple[Floats, Floats]:
    """Bounds of ``rows @ f(x)`` over the region; ``rows`` float64 [K, outputs], result float64 [K] each."""
    output = enclosure.network.output
    pull = _Pull(enclosure, output, rows.shape[0])
    pull.add(output, np.ascontiguousarray(rows, dtype=np.float64))
    return pull.finish(output)


class _Pull:
    """Coefficients on their way to the input: the first ``half`` rows bound from above, the others from below.

    Until the first activation both halves are the same and only one is kept.
    """

    def __init__(self, enclosure: Enclosure, target: int, half: int) -> None:
        self.enclosure = enclosure
        self.half = half
        self.rows: dict[int, Floats] = {}
        self.constant = np.zeros(2 * half)
        self.error = np.zeros(2 * half)
        nodes = enclosure.network.nodes[: target + 1]
        # Every sum of intercepts over the whole network has at most this many terms.
        self.gamma = enclosure.rounding.gamma(sum(n.size for n in nodes) + len(nodes))

    def add(self, node: int, rows: Floats) -> None:
        """Add ``rows`` to the coefficients of ``node``."""
        if node not in self.rows:
            self.rows[node] = rows
            return
        known = self.rows[node]
        if known.shape[0] != rows.shape[0]:
            known, rows = (r if r.shape[0] == 2 * self.half else np.concatenate([r, r]) for r in (known, rows))
        total = known + rows
        loss = self.enclosure.rounding.unit * (np.abs(total) @ self.enclosure.magnitude(node))
        self.error += loss if loss.size == self.error.size else np.concatenate([loss, loss])
        self.rows[node] = total

    def finish(self, start: int) -> tuple[Floats, Floats]:
        """Pull everything from node ``start`` down to the input, and take the extremes over the region."""
        nodes = self.enclosure.network.nodes
        with np.errstate(invalid="ignore", over="ignore"):
            for index in range(start, -1, -1):
                if index not in self.rows:
                    continue
                rows = self.rows.pop(index)
                node = nodes[index]
                if isinstance(node, LinearNode):
                    self._through_linear(node, rows)
                elif isinstance(node, InputNode):
                    self._at_input(rows)
                else:
                    self._through_activation(index, rows)
            # The error terms' own rounding, far below one in a thousand.
            error = self.error * 1.001
            lower, upper = self.constant[self.half :] - error[self.half :], self.constant[: self.half] + error[: self.half]
            return self.enclosure.rounding.outward(lower, upper)

    def _through_linear(self, node: LinearNode, rows: Floats) -> None:
        rounding = self.enclosure.rounding
        weight = np.zeros(node.size)
        for term in node.terms:
            magnitude = self.enclosure.magnitude(term.source)[:, None]
            weight += rounding.gamma(term.operator.pull_terms) * term.operator.push_abs(magnitude)[:, 0]
        if rows.shape[0] == self.half:
            constant, error = np.zeros(self.half), np.zeros(self.half)
            add_bias(rows, node.bias, self.gamma, weight, constant, error)
            self.constant += np.concatenate([constant, constant])
            self.error += np.concatenate([error, error])
        else:
            add_bias(rows, node.bias, self.gamma, weight, self.constant, self.error)
        for term in node.terms:
            self.add(term.source, term.operator.pull(rows))

    def _through_activation(self, index: int, rows: Floats) -> None:
        node = self.enclosure.network.nodes[index]
        source = node.sources[0]
        out = np.empty((2 * self.half, node.size))
        offset = self.half if rows.shape[0] == self.half else 0
        su, cu, sl, cl = self.enclosure.lines[index]
        # What fl(slope * coefficient) loses, times the largest |z|.
        weight = self.enclosure.rounding.unit * self.enclosure.magnitude(source)
        relax_rows(rows, offset, self.half, su, cu, sl, cl, weight, self.gamma, out, self.constant, self.error)
        self.add(source, out)

    def _at_input(self, rows: Floats) -> None:
        if rows.shape[0] == self.half:
            rows = np.concatenate([rows, rows])
        region = self.enclosure.region
        lo, hi = region.box
        eps = region.eps if isinstance(region.eps, float) else 0.0  # per feature: the box says all
        gamma = self.enclosure.rounding.gamma(rows.shape[1] + 4)
        fill_support(
            np.ascontiguousarray(rows), self.half, region.x0, eps, region.norm, lo, hi, region.clip is not None,
            gamma, self.constant, self.error,
        )  # fmt: skip
