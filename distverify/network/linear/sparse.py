"""The sparse operator: selections and permutations of values, sums and means of some."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from distverify.kernels.sparse import add_sparse_product
from distverify.network.linear.exactness import are_powers_of_two
from distverify.network.linear.operator import NORM_FLOOR, NORM_MARGIN, Array, Indices, LinearOperator


@dataclass(frozen=True, eq=False)
class Sparse(LinearOperator):
    """``matrix`` scipy CSR, float64 or float32 [out_size, in_size]; products are of the precision of what is multiplied."""

    kind: ClassVar[str] = "sparse"
    matrix: Any
    roundings: int = field(default=0, kw_only=True)

    @cached_property
    def _absolute(self) -> Sparse:
        return Sparse(abs(self.matrix))

    @cached_property
    def _single(self) -> Any:
        return self.matrix.astype(np.float32)

    def _of(self, factor: Array) -> Any:
        """The matrix in the precision of what it is multiplied with."""
        if factor.dtype == self.matrix.dtype:
            return self.matrix
        return self._single if factor.dtype == np.float32 else self.matrix.astype(factor.dtype)

    @property
    def in_size(self) -> int:
        return int(self.matrix.shape[1])

    @property
    def out_size(self) -> int:
        return int(self.matrix.shape[0])

    @cached_property
    def push_terms(self) -> int:
        return max(1, int(np.diff(self.matrix.indptr).max())) + self.roundings

    @cached_property
    def pull_terms(self) -> int:
        return max(1, int(np.bincount(self.matrix.indices, minlength=1).max())) + self.roundings

    @cached_property
    def norm(self) -> float:
        # ||W||_2^2 <= ||W||_1 ||W||_inf, and neither depends on signs.
        absolute = self._absolute.matrix
        return math.sqrt(absolute.sum(axis=0).max()) * math.sqrt(absolute.sum(axis=1).max()) * NORM_MARGIN

    @cached_property
    def row_norms(self) -> Array:
        largest = float(self._absolute.matrix.max())
        if largest == 0.0:
            return np.zeros(self.out_size)
        scaled = self.matrix / largest
        norms: Array = np.asarray(np.sqrt(scaled.multiply(scaled).sum(axis=1))).reshape(-1)
        return np.maximum(norms, NORM_FLOOR) * largest * NORM_MARGIN

    @property
    def arrays(self) -> tuple[Array, ...]:
        return self.matrix.data, self.matrix.indices, self.matrix.indptr

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.out_size, self.in_size

    def mapped(self, change: Callable[[Array], Array]) -> Sparse:
        from scipy.sparse import csr_array

        indices, starts = (a.astype(np.int32, copy=False) for a in (self.matrix.indices, self.matrix.indptr))
        matrix = csr_array((change(self.matrix.data), indices, starts), shape=self.matrix.shape)
        return replace(self, matrix=matrix)

    def rows(self) -> Array:
        return np.asarray(self.matrix.toarray())

    def some_rows(self, which: Indices) -> Array:
        return np.asarray(self.matrix[which].toarray())

    @cached_property
    def _by_columns(self) -> Any:
        return self.matrix.tocsc()

    def columns(self, which: slice | Indices) -> Array:
        return np.ascontiguousarray(self._by_columns[:, which].toarray())

    def push(self, columns: Array, inputs: Indices | None = None, out: Array | None = None) -> Array:
        matrix = self._of(columns)
        if inputs is not None and inputs.size < self.in_size:
            matrix = matrix[:, inputs]
        product: Array = matrix @ columns
        if out is None:
            return product
        out += product
        return out

    def pull(self, rows: Array, out: Array | None = None) -> Array:
        if out is None:
            out = np.zeros((rows.shape[0], self.in_size), dtype=rows.dtype)
        matrix = self._of(rows)
        indices = (a.astype(np.int32, copy=False) for a in (matrix.indptr, matrix.indices))
        add_sparse_product(np.ascontiguousarray(rows), *indices, matrix.data, out)
        return out

    def push_abs(self, columns: Array) -> Array:
        # Rounding terms are in float64, whatever the precision that they are for.
        return self._absolute.push(columns.astype(np.float64, copy=False))

    def pull_abs(self, rows: Array) -> Array:
        return self._absolute.pull(rows.astype(np.float64, copy=False))


def selection(indices: Indices, in_size: int, weight: float | Array = 1.0) -> Sparse:
    """The operator whose row r sums ``weight`` times the values ``indices[r]``; -1 stands for nothing.

    Parameters
    ----------
    indices : int64 [n] or [n, terms]
    weight : float or float64 [n]
    """
    from scipy.sparse import csr_array

    table = indices.reshape(indices.shape[0], -1)
    row, term = np.nonzero(table >= 0)
    values = np.broadcast_to(np.asarray(weight, dtype=np.float64), (table.shape[0],))[row]
    matrix = csr_array((values, (row, table[row, term])), shape=(table.shape[0], in_size))
    matrix.sum_duplicates()
    return Sparse(matrix)


def averages(indices: Indices, in_size: int, counts: int | Indices) -> Sparse:
    """The operator whose row r is the sum of the values ``indices[r]`` divided by ``counts`` (one, or int64 [n])."""
    roundings = 0 if are_powers_of_two(np.asarray(counts, dtype=np.float64)) else 1
    return replace(selection(indices, in_size, 1.0 / np.asarray(counts)), roundings=roundings)
