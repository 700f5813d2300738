"""How operators are stored: numbers in the network's one buffer, sizes beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from distverify.kernels.convolution import Geometry
from distverify.network.linear.convolution import Convolution
from distverify.network.linear.operators import Array, Dense, Diagonal, Identity, LinearOperator
from distverify.network.linear.sparse import Sparse


@dataclass(frozen=True)
class BufferSlice:
    """A C-ordered array of ``shape`` that starts ``offset`` float64 values into the network's buffer."""

    offset: int
    shape: tuple[int, ...]

    def view(self, buffer: Array) -> Array:
        size = int(np.prod(self.shape, dtype=np.int64))
        return buffer[self.offset : self.offset + size].reshape(self.shape)


@dataclass(frozen=True)
class OperatorSpec:
    """How an operator is stored: its kind, where its parameters lie in the network's buffer, and its sizes."""

    kind: str
    parameters: tuple[BufferSlice, ...]
    attributes: tuple[int, ...] = ()

    def bind(self, buffer: Array) -> LinearOperator:
        """The operator, with its parameters as views into ``buffer``."""
        arrays = [p.view(buffer) for p in self.parameters]
        if self.kind == "dense":
            return Dense(arrays[0])
        if self.kind == "diagonal":
            return Diagonal(arrays[0])
        if self.kind == "identity":
            return Identity(self.attributes[0])
        if self.kind == "convolution":
            *sizes, transposed = self.attributes
            return Convolution(arrays[0], Geometry(*sizes), bool(transposed))
        if self.kind == "sparse":
            values, *structure = arrays
            # Whole numbers below 2**53 are exact in a buffer of float64.
            indices, starts = (a.astype(np.int32) for a in structure)
            return Sparse(csr_array((values, indices, starts), shape=self.attributes))
        raise AssertionError(f"operator kind {self.kind!r} has no binding")


def parts(kind: str, value: Any) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """The arrays and the sizes to store for ``value``, as :meth:`NetworkBuilder.linear` takes it."""
    if kind == "convolution":
        return (value.weight,), (*value.geometry.attributes, int(value.transposed))
    if kind == "sparse":
        return (value.data, value.indices, value.indptr), tuple(int(n) for n in value.shape)
    return (value,), ()


def of_operator(operator: LinearOperator) -> tuple[str, Any]:
    """The kind and value that :meth:`NetworkBuilder.linear` takes for ``operator``."""
    if isinstance(operator, Dense):
        return "dense", operator.weight
    if isinstance(operator, Diagonal):
        return "diagonal", operator.scale
    if isinstance(operator, Identity):
        return "identity", None
    if isinstance(operator, Convolution):
        return "convolution", operator
    if isinstance(operator, Sparse):
        return "sparse", operator.matrix
    raise AssertionError(f"operator {type(operator).__name__} has no stored form")
