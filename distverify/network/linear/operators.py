"""Linear operators: what a linear node applies to each of its inputs.

An operator pushes columns forward (W @ A) and pulls rows backward (A @ W), many at once; ``push_abs`` and ``pull_abs``
do the same with |W|, for rounding terms. ``push_terms`` and ``pull_terms`` are the longest inner sums, the n of
gamma_n = n u / (1 - n u) (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dgemm, sgemm

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# Norms only scale rounding terms; far more than their own rounding is added to them.
NORM_MARGIN = 1.001


class LinearOperator(Protocol):
    """A linear map from ``in_size`` to ``out_size`` flattened values."""

    @property
    def in_size(self) -> int: ...

    @property
    def out_size(self) -> int: ...

    @property
    def push_terms(self) -> int: ...

    @property
    def pull_terms(self) -> int: ...

    @property
    def norm(self) -> float:
        """An upper bound of the spectral norm of W."""
        ...

    @property
    def row_norms(self) -> Array:
        """Upper bounds of the 2-norm of each row, [out_size]."""
        ...

    def rows(self) -> Array:
        """W itself, [out_size, in_size]."""
        ...

    def columns(self, which: slice | Indices) -> Array:
        """Those columns of W, [out_size, k], C order."""
        ...

    def push(self, columns: Array, inputs: Indices | None = None, out: Array | None = None) -> Array:
        """W @ columns, [in_size, k] -> [out_size, k]; added to ``out`` in place where that is given.

        With ``inputs``, ``columns`` holds only those rows; all others are zero.
        """
        ...

    def pull(self, rows: Array, out: Array | None = None) -> Array:
        """rows @ W, [k, out_size] -> [k, in_size]; added to ``out`` in place where that is given."""
        ...

    def push_abs(self, columns: Array) -> Array:
        """|W| @ columns."""
        ...

    def pull_abs(self, rows: Array) -> Array:
        """rows @ |W|."""
        ...


def scatter_rows(columns: Array, inputs: Indices | None, size: int) -> Array:
    """``columns`` with zero rows put back where ``inputs`` left them out."""
    if inputs is None or inputs.size == size:
        return columns
    out = np.zeros((size, columns.shape[1]), dtype=columns.dtype)
    out[inputs] = columns
    return out


def _accumulate(a: Array, b: Array, out: Array | None) -> Array:
    """a @ b, all C order, added to ``out`` in the same pass over it where that is given."""
    if out is None:
        return a @ b
    # BLAS works on columns: in C order the transposed product has the right layout, without a copy.
    gemm = sgemm if out.dtype == np.float32 else dgemm
    gemm(1.0, b.T, a.T, beta=1.0, c=out.T, overwrite_c=1)
    return out


def _add(value: Array, out: Array | None) -> Array:
    if out is None:
        return value
    out += value
    return out


def spectral_norm_bound(weight: Array) -> float:
    """An upper bound of ||W||_2, usually within a tenth, proven by a Cholesky factorisation.

    s^2 I - W W^T is positive semidefinite, hence ||W||_2 <= s, if the factorisation succeeds with the diagonal lowered by the
    rounding of the product and of the factorisation (Rump, Verification of positive definiteness, BIT 46, 2006).
    """
    scale = float(np.abs(weight).max(initial=0.0))
    if scale == 0.0:
        return 0.0
    w = weight / scale
    w = w if w.shape[0] <= w.shape[1] else w.T
    n = w.shape[0]
    x: Array = np.random.default_rng(0).standard_normal((n,))
    for _ in range(12):
        y: Array = w @ (w.T @ x)
        length = max(float(np.linalg.norm(y)), 1e-300)
        x = np.divide(y, length)
    estimate = float(np.sqrt(((w.T @ x) ** 2).sum()))
    frobenius = float(np.linalg.norm(w)) * NORM_MARGIN
    gram = w @ w.T
    margin = 4.0 * (sum(w.shape) + 4) * 2.0**-53 * frobenius**2
    for factor in (1.05, 1.15, 1.4, 2.0):
        bound = estimate * factor
        shifted = -gram
        shifted[np.diag_indices(n)] += bound * bound - margin
        try:
            np.linalg.cholesky(shifted)
        except np.linalg.LinAlgError:
            continue
        return min(bound, frobenius) * scale * NORM_MARGIN
    return frobenius * scale


@dataclass(frozen=True, eq=False)
class Dense:
    """A fully connected layer's matrix, ``weight`` float64 or float32 [out_size, in_size], C order.

    Products are of the precision of what is multiplied.
    """

    weight: Array

    @cached_property
    def absolute(self) -> Array:
        return np.abs(self.weight)

    @cached_property
    def _single(self) -> Array:
        return self.weight.astype(np.float32)

    def _of(self, factor: Array) -> Array:
        """The matrix in the precision of what it is multiplied with."""
        if factor.dtype == self.weight.dtype:
            return self.weight
        return self._single if factor.dtype == np.float32 else self.weight.astype(factor.dtype)

    @cached_property
    def norm(self) -> float:
        return spectral_norm_bound(self.weight)

    @cached_property
    def row_norms(self) -> Array:
        scale = float(np.abs(self.weight).max(initial=0.0)) or 1.0
        norms: Array = np.linalg.norm(self.weight / scale, axis=1)
        return norms * scale * NORM_MARGIN

    @property
    def in_size(self) -> int:
        return int(self.weight.shape[1])

    @property
    def out_size(self) -> int:
        return int(self.weight.shape[0])

    @property
    def push_terms(self) -> int:
        return self.in_size

    @property
    def pull_terms(self) -> int:
        return self.out_size

    def rows(self) -> Array:
        return self.weight

    def columns(self, which: slice | Indices) -> Array:
        if isinstance(which, slice):
            return np.ascontiguousarray(self.weight[:, which])
        if which.size == self.in_size:
            return self.weight
        return np.take(self.weight, which, axis=1)

    def push(self, columns: Array, inputs: Indices | None = None, out: Array | None = None) -> Array:
        if inputs is None or inputs.size == self.in_size:
            return _accumulate(self._of(columns), columns, out)
        return _accumulate(np.take(self._of(columns), inputs, axis=1), columns, out)

    def pull(self, rows: Array, out: Array | None = None) -> Array:
        return _accumulate(rows, self._of(rows), out)

    def push_abs(self, columns: Array) -> Array:
        return self.absolute @ columns

    def pull_abs(self, rows: Array) -> Array:
        return rows @ self.absolute


@dataclass(frozen=True, eq=False)
class Diagonal:
    """Elementwise multiplication by ``scale`` float64 [size]."""

    scale: Array

    @property
    def in_size(self) -> int:
        return int(self.scale.size)

    @property
    def out_size(self) -> int:
        return int(self.scale.size)

    @property
    def push_terms(self) -> int:
        return 1

    @property
    def pull_terms(self) -> int:
        return 1

    @property
    def norm(self) -> float:
        return float(np.abs(self.scale).max())

    @property
    def row_norms(self) -> Array:
        return np.abs(self.scale)

    def rows(self) -> Array:
        return np.diag(self.scale)

    def columns(self, which: slice | Indices) -> Array:
        return np.ascontiguousarray(self.rows()[:, which])

    def push(self, columns: Array, inputs: Indices | None = None, out: Array | None = None) -> Array:
        scaled = self.scale[:, None] * scatter_rows(columns, inputs, self.scale.size)
        return _add(scaled.astype(columns.dtype, copy=False), out)

    def pull(self, rows: Array, out: Array | None = None) -> Array:
        return _add((rows * self.scale).astype(rows.dtype, copy=False), out)

    def push_abs(self, columns: Array) -> Array:
        return np.abs(self.scale)[:, None] * columns

    def pull_abs(self, rows: Array) -> Array:
        return rows * np.abs(self.scale)


@dataclass(frozen=True)
class Identity:
    """Passes its input on: the skip branch of a residual block."""

    size: int

    @property
    def in_size(self) -> int:
        return self.size

    @property
    def out_size(self) -> int:
        return self.size

    @property
    def push_terms(self) -> int:
        return 1

    @property
    def pull_terms(self) -> int:
        return 1

    @property
    def norm(self) -> float:
        return 1.0

    @property
    def row_norms(self) -> Array:
        return np.ones(self.size)

    def rows(self) -> Array:
        return np.eye(self.size)

    def columns(self, which: slice | Indices) -> Array:
        return np.ascontiguousarray(np.eye(self.size)[:, which])

    def push(self, columns: Array, inputs: Indices | None = None, out: Array | None = None) -> Array:
        return _add(scatter_rows(columns, inputs, self.size), out)

    def pull(self, rows: Array, out: Array | None = None) -> Array:
        return _add(rows, out)

    def push_abs(self, columns: Array) -> Array:
        return columns

    def pull_abs(self, rows: Array) -> Array:
        return rows
