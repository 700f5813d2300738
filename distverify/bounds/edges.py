"""Edges of the reduced network: matrices that are kept in full, or by their few entries where most are zero."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from distverify.kernels.sums import abs_sums
from distverify.network.linear.dense import Dense
from distverify.network.linear.sparse import Sparse

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Edge: TypeAlias = Dense | Sparse

# A sparse product does one multiplication in the time of ten or more of a dense one, and is not worth it for small ones.
_LEAST_SIZE = 2**15
_DENSITY = 1 / 48


def _is_sparse(matrix: Any) -> bool:
    return not isinstance(matrix, np.ndarray)


def edge(matrix: Any) -> Edge:
    """The operator of ``matrix``, an array [n, m] in C order or scipy CSR, that multiplies faster."""
    size = matrix.shape[0] * matrix.shape[1]
    if _is_sparse(matrix):
        return Sparse(matrix) if size >= _LEAST_SIZE and matrix.nnz < _DENSITY * size else Dense(matrix.toarray())
    if size >= _LEAST_SIZE and np.count_nonzero(matrix[:: max(1, matrix.shape[0] // 64)]) < _DENSITY * (
        64 * matrix.shape[1]
    ):
        from scipy.sparse import csr_array

        entries = csr_array(matrix)
        if entries.nnz < _DENSITY * size:
            return Sparse(entries)
    return Dense(matrix)


def stacked(parts: list[Any]) -> Any:
    """Matrices below one another: an array if one of them is one."""
    if len(parts) == 1:
        return parts[0]
    if all(_is_sparse(part) for part in parts):
        from scipy.sparse import vstack

        return vstack(parts, format="csr")
    return np.concatenate([part.toarray() if _is_sparse(part) else part for part in parts])


def some_rows(whole: Edge, rows: Indices) -> Edge:
    """Those rows of an edge, of the same form."""
    return Sparse(whole.matrix[rows]) if isinstance(whole, Sparse) else Dense(whole.weight[rows])


def entries(whole: Edge) -> Any:
    """The matrix of an edge, an array or scipy CSR; :func:`edge` is the way back."""
    return whole.matrix if isinstance(whole, Sparse) else whole.weight


def weighted_sums(matrix: Any, weight: Floats) -> Floats:
    """|matrix| @ weight, float64 [n], of an edge, an array, or scipy CSR."""
    if isinstance(matrix, Dense):
        matrix = matrix.weight
    elif isinstance(matrix, Sparse):
        matrix = matrix.matrix
    if _is_sparse(matrix):
        return np.asarray(abs(matrix).astype(np.float64) @ weight)
    return abs_sums(matrix, weight)


def multiplications(whole: Edge) -> int:
    """Of a product with one column."""
    return int(whole.matrix.nnz) if isinstance(whole, Sparse) else whole.weight.size


def transposed(whole: Edge, dtype: Any = None) -> Edge:
    """The other way round, in the given precision."""
    if isinstance(whole, Sparse):
        from scipy.sparse import csr_array

        return Sparse(csr_array(whole.matrix.T).astype(dtype or whole.matrix.dtype, copy=False))
    return Dense(np.ascontiguousarray(whole.weight.T, dtype=dtype))
