"""The dense operator: a fully connected layer's matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

from distverify.network.linear.operator import NORM_FLOOR, NORM_MARGIN, Array, Indices, LinearOperator
from distverify.network.linear.spectral_norm import spectral_norm_bound


@dataclass(frozen=True, eq=False)
class Dense(LinearOperator):
    """A fully connected layer's matrix, ``weight`` float64 or float32 [out_size, in_size], C order.

    Products are of the precision of what is multiplied.
    """

    kind: ClassVar[str] = "dense"
    weight: Array
    roundings: int = field(default=0, kw_only=True)

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
        return np.maximum(norms, NORM_FLOOR) * scale * NORM_MARGIN

    @property
    def in_size(self) -> int:
        return int(self.weight.shape[1])

    @property
    def out_size(self) -> int:
        return int(self.weight.shape[0])

    @property
    def push_terms(self) -> int:
        return self.in_size + self.roundings

    @property
    def pull_terms(self) -> int:
        return self.out_size + self.roundings

    @property
    def arrays(self) -> tuple[Array, ...]:
        return (self.weight,)

    def mapped(self, change: Callable[[Array], Array]) -> Self:
        return replace(self, weight=change(self.weight))

    def rows(self) -> Array:
        return self.weight

    def some_rows(self, which: Indices) -> Array:
        return self.weight if which.size == self.out_size else self.weight[which]

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


def _accumulate(a: Array, b: Array, out: Array | None) -> Array:
    """a @ b, all C order, added to ``out`` in the same pass over it where that is given."""
    if out is None:
        return a @ b
    from scipy.linalg.blas import dgemm, sgemm

    # BLAS works on columns: in C order the transposed product has the right layout, without a copy.
    gemm = sgemm if out.dtype == np.float32 else dgemm
    gemm(1.0, b.T, a.T, beta=1.0, c=out.T, overwrite_c=1)
    return out
