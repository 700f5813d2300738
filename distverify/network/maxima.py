"""Maxima of two values, which networks hold as max(a, b) = a + relu(b - a): where they are, and of what.

A pool of maxima is a tree of them. Bounds that know the parts for a maximum are closer than sums of intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distverify.network.linear.operator import Array
from distverify.network.linear.sparse import Sparse
from distverify.network.nodes import ActivationNode, LinearNode, Node

Indices = NDArray[np.int64]
Pair = tuple[Array, Array]


@dataclass(frozen=True, eq=False)
class Maximum:
    """A linear node ``x[first] + relu(x[second] - x[first])``, where ``place`` says which of the differences it takes.

    Attributes
    ----------
    node, source : int
        The linear node, and x.
    difference, rise : int
        The linear node of the differences x[above] - x[below], and their ReLU.
    below, above : int64 [differences]
    first, second : int64 [n]
        ``second`` is ``first`` where an entry is passed on as it is.
    place : int64 [n]
        -1 there.
    """

    node: int
    source: int
    difference: int
    rise: int
    below: Indices
    above: Indices
    first: Indices
    second: Indices
    place: Indices

    def range(self, lower: Array, upper: Array) -> Pair:
        """Bounds of the larger ones, float64 [n] each, from bounds of x: exact."""
        return (
            np.maximum(lower[self.first], lower[self.second]),
            np.maximum(upper[self.first], upper[self.second]),
        )

    def differences(self, lower: Array, upper: Array) -> Pair:
        """Bounds of x[above] - x[below], float64 [differences] each, from bounds of x: rounded outwards where they are rounded."""
        low, missed = _difference(lower[self.above], upper[self.below])
        high, exceeded = _difference(upper[self.above], lower[self.below])
        low = np.where(missed >= 0.0, low, np.nextafter(low, -np.inf))
        high = np.where(exceeded <= 0.0, high, np.nextafter(high, np.inf))
        return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)


def _difference(a: Array, b: Array) -> Pair:
    """a - b in floating point, and what that misses (Knuth, The Art of Computer Programming 2, 4.2.2); NaN where it overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = a - b
        of_a = total + b
        of_b = of_a - total
        return total, (a - of_a) + (of_b - b)


def maxima(nodes: Sequence[Node]) -> tuple[Maximum, ...]:
    """All of them among ``nodes``."""
    found = (_maximum(nodes, i, n) for i, n in enumerate(nodes) if isinstance(n, LinearNode) and len(n.terms) == 2)
    return tuple(m for m in found if m is not None)


def _maximum(nodes: Sequence[Node], index: int, node: LinearNode) -> Maximum | None:
    (source, passed), (rise, risen) = node.terms
    positive = nodes[rise]
    if not isinstance(positive, ActivationNode) or positive.kind != "relu" or not (_plain(node) and _taken(passed)):
        return None
    below = nodes[positive.source]
    if not isinstance(below, LinearNode) or len(below.terms) != 1 or not _plain(below) or not _taken(risen):
        return None
    term = below.terms[0]
    if term.source != source or not isinstance(term.operator, Sparse) or term.operator.roundings:
        return None
    assert isinstance(passed, Sparse)
    assert isinstance(risen, Sparse)
    minus, plus = _pairs(term.operator)
    counts, starts = np.diff(risen.matrix.indptr), risen.matrix.indices.astype(np.int64)
    if minus.size == 0 or (np.diff(passed.matrix.indptr) != 1).any() or counts.max() > 1:
        return None
    place = np.full(node.size, -1)
    place[counts == 1] = starts
    first = passed.matrix.indices.astype(np.int64)
    real = place >= 0
    if np.unique(starts).size != starts.size or not np.array_equal(minus[place[real]], first[real]):
        return None
    second = first.copy()
    second[real] = plus[place[real]]
    return Maximum(index, source, positive.source, rise, minus, plus, first, second, place)


def _plain(node: LinearNode) -> bool:
    return node.bias_error is None and not node.bias.any()


def _taken(operator: object) -> bool:
    """Whether all entries are 1."""
    return isinstance(operator, Sparse) and not operator.roundings and bool((operator.matrix.data == 1.0).all())


def _pairs(operator: Sparse) -> tuple[Indices, Indices]:
    """The columns of -1 and of 1 in each row; nothing where rows are anything else."""
    matrix, nothing = operator.matrix, np.zeros(0, dtype=np.int64)
    if (np.diff(matrix.indptr) != 2).any():
        return nothing, nothing
    values, columns = matrix.data.reshape(-1, 2), matrix.indices.astype(np.int64).reshape(-1, 2)
    if not (np.abs(values) == 1.0).all() or (values.sum(axis=1) != 0.0).any():
        return nothing, nothing
    up = values[:, 1] > 0.0
    return np.where(up, columns[:, 0], columns[:, 1]), np.where(up, columns[:, 1], columns[:, 0])
