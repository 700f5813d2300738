"""Linear operators with few nonzero entries: selections and permutations of values, sums and means of some."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from distverify.network.operators import NORM_MARGIN, Array, Indices


@dataclass(frozen=True, eq=False)
class Sparse:
    """``matrix`` scipy CSR, float64 [out_size, in_size]."""

    matrix: Any

    @cached_property
    def _absolute(self) -> Sparse:
        return Sparse(abs(self.matrix))

    @cached_property
    def _transposed(self) -> Any:
        return self.matrix.T.tocsr()

    @cached_property
    def _single(self) -> Sparse:
        return Sparse(self.matrix.astype(np.float32))

    @property
    def in_size(self) -> int:
        return int(self.matrix.shape[1])

    @property
    def out_size(self) -> int:
        return int(self.matrix.shape[0])

    @cached_property
    def push_terms(self) -> int:
        return max(1, int(np.diff(self.matrix.indptr).max()))

    @cached_property
    def pull_terms(self) -> int:
        return max(1, int(np.diff(self._transposed.indptr).max()))

    @cached_property
    def norm(self) -> float:
        # ||W||_2^2 <= ||W||_1 ||W||_inf, and neither depends on signs.
        absolute = self._absolute.matrix
        return math.sqrt(absolute.sum(axis=0).max()) * math.sqrt(absolute.sum(axis=1).max()) * NORM_MARGIN

    @property
    def norm_abs(self) -> float:
        return self.norm

    @cached_property
    def row_norms(self) -> Array:
        largest = float(self._absolute.matrix.max())
        if largest == 0.0:
            return np.zeros(self.out_size)
        scaled = self.matrix / largest
        return np.asarray(np.sqrt(scaled.multiply(scaled).sum(axis=1))).reshape(-1) * largest * NORM_MARGIN

    def rows(self) -> Array:
        return np.asarray(self.matrix.toarray())

    def columns(self, which: slice | Indices) -> Array:
        return np.ascontiguousarray(self.matrix[:, which].toarray())

    def push(self, columns: Array, inputs: Indices | None = None, out: Array | None = None) -> Array:
        matrix = self._single.matrix if columns.dtype == np.float32 else self.matrix
        if inputs is not None and inputs.size < self.in_size:
            matrix = matrix[:, inputs]
        return _add(matrix @ columns, out)

    def pull(self, rows: Array, out: Array | None = None) -> Array:
        matrix = self._single._transposed if rows.dtype == np.float32 else self._transposed
        return _add(np.ascontiguousarray((matrix @ rows.T).T), out)

    def push_abs(self, columns: Array) -> Array:
        return self._absolute.push(columns)

    def pull_abs(self, rows: Array) -> Array:
        return self._absolute.pull(rows)


def _add(value: Array, out: Array | None) -> Array:
    if out is None:
        return value
    out += value
    return out


def selection(indices: Indices, in_size: int, weight: float | Array = 1.0) -> Any:
    """The matrix whose row r sums ``weight`` times the values ``indices[r]``; -1 stands for nothing.

    Parameters
    ----------
    indices : int64 [n] or [n, terms]
    weight : float or float64 [n]

    Returns
    -------
    scipy CSR, float64 [n, in_size]
    """
    table = indices.reshape(indices.shape[0], -1)
    row, term = np.nonzero(table >= 0)
    values = np.broadcast_to(np.asarray(weight, dtype=np.float64), (table.shape[0],))[row]
    matrix = csr_array((values, (row, table[row, term])), shape=(table.shape[0], in_size))
    matrix.sum_duplicates()
    return matrix
