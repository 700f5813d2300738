"""Dense matrices that are mostly zero, multiplied by way of their few other entries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from distverify.network.linear.dense import Dense
from distverify.network.linear.operator import Array, Indices
from distverify.network.linear.sparse import Sparse

# A sparse product does one multiplication in the time of ten or more of a dense one, and is not worth it for small ones.
_LEAST_SIZE = 2**20
_DENSITY = 1 / 64


@dataclass(frozen=True, eq=False)
class MostlyZero(Dense):
    """A matrix that is kept in full and multiplied by way of its few nonzero entries, ``sparse``."""

    sparse: Sparse

    def push(self, columns: Array, inputs: Indices | None = None, out: Array | None = None) -> Array:
        return self.sparse.push(columns, inputs, out)

    def pull(self, rows: Array, out: Array | None = None) -> Array:
        return self.sparse.pull(rows, out)

    def push_abs(self, columns: Array) -> Array:
        return self.sparse.push_abs(columns)

    def pull_abs(self, rows: Array) -> Array:
        return self.sparse.pull_abs(rows)


def dense_or_mostly_zero(weight: Array) -> Dense:
    """The operator of ``weight`` [out, in], C order, that multiplies faster: pools leave most entries of theirs zero."""
    if weight.size >= _LEAST_SIZE and np.count_nonzero(weight[:: max(1, weight.shape[0] // 64)]) < _DENSITY * (
        64 * weight.shape[1]
    ):
        matrix = csr_array(weight)
        if matrix.nnz < _DENSITY * weight.size:
            return MostlyZero(weight, Sparse(matrix))
    return Dense(weight)
