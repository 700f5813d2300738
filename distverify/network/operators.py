"""Linear operators: what a linear node applies to each of its inputs.

An operator pushes columns forward (W @ A) and pulls rows backward (A @ W), many at once; ``push_abs`` and ``pull_abs``
do the same with |W|, for rounding terms. ``push_terms`` and ``pull_terms`` are the longest inner sums, the n of
gamma_n = n u / (1 - n u) (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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

    def rows(self, start: int, stop: int) -> Array:
        """Rows start:stop of W, [stop - start, in_size]."""
        ...

    def columns(self, start: int, stop: int) -> Array:
        """Columns start:stop of W, [out_size, stop - start]."""
        ...

    def push(self, columns: Array, inputs: NDArray[np.int64] | None = None) -> Array:
        """W @ columns, [in_size, k] -> [out_size, k]; with ``inputs``, ``columns`` holds only those rows, the others are zero."""
        ...

    def pull(self, rows: Array) -> Array:
        """rows @ W, [k, out_size] -> [k, in_size]."""
        ...

    def push_abs(self, columns: Array) -> Array:
        """|W| @ columns."""
        ...

    def pull_abs(self, rows: Array) -> Array:
        """rows @ |W|."""
        ...


def _scatter(columns: Array, inputs: NDArray[np.int64] | None, size: int) -> Array:
    """``columns`` with zero rows put back where ``inputs`` left them out."""
    if inputs is None or inputs.size == size:
        return columns
    out = np.zeros((size, columns.shape[1]))
    out[inputs] = columns
    return out


@dataclass(frozen=True, eq=False)
class Dense:
    """A fully connected layer's matrix, ``weight`` float64 [out_size, in_size], C order."""

    weight: Array
    absolute: Array

    @classmethod
    def of(cls, weight: Array) -> Dense:
        return cls(weight, np.abs(weight))

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

    def rows(self, start: int, stop: int) -> Array:
        return self.weight[start:stop]

    def columns(self, start: int, stop: int) -> Array:
        return np.ascontiguousarray(self.weight[:, start:stop])

    def push(self, columns: Array, inputs: NDArray[np.int64] | None = None) -> Array:
        if inputs is None or inputs.size == self.in_size:
            return self.weight @ columns
        return np.take(self.weight, inputs, axis=1) @ columns

    def pull(self, rows: Array) -> Array:
        return rows @ self.weight

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

    def rows(self, start: int, stop: int) -> Array:
        out = np.zeros((stop - start, self.scale.size))
        out[np.arange(stop - start), np.arange(start, stop)] = self.scale[start:stop]
        return out

    def columns(self, start: int, stop: int) -> Array:
        return np.ascontiguousarray(self.rows(start, stop).T)

    def push(self, columns: Array, inputs: NDArray[np.int64] | None = None) -> Array:
        return self.scale[:, None] * _scatter(columns, inputs, self.scale.size)

    def pull(self, rows: Array) -> Array:
        return rows * self.scale

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
        return 0

    @property
    def pull_terms(self) -> int:
        return 0

    def rows(self, start: int, stop: int) -> Array:
        return np.eye(stop - start, self.size, start)

    def columns(self, start: int, stop: int) -> Array:
        return np.ascontiguousarray(np.eye(self.size, stop - start, -start))

    def push(self, columns: Array, inputs: NDArray[np.int64] | None = None) -> Array:
        return _scatter(columns, inputs, self.size)

    def pull(self, rows: Array) -> Array:
        return rows

    def push_abs(self, columns: Array) -> Array:
        return columns

    def pull_abs(self, rows: Array) -> Array:
        return rows


@dataclass(frozen=True)
class OperatorSpec:
    """How an operator is stored: its type's name, and where its parameters lie in the network's buffer."""

    kind: str
    size: int
    parameters: tuple[BufferSlice, ...]

    def bind(self, buffer: Array) -> LinearOperator:
        """The operator, with its parameters as views into ``buffer``."""
        arrays: list[Any] = [p.view(buffer) for p in self.parameters]
        if self.kind == "dense":
            return Dense.of(arrays[0])
        if self.kind == "diagonal":
            return Diagonal(arrays[0])
        if self.kind == "identity":
            return Identity(self.size)
        raise AssertionError(f"operator kind {self.kind!r} has no binding")


@dataclass(frozen=True)
class BufferSlice:
    """A C-ordered array of ``shape`` that starts ``offset`` float64 values into the network's buffer."""

    offset: int
    shape: tuple[int, ...]

    def view(self, buffer: Array) -> Array:
        size = int(np.prod(self.shape, dtype=np.int64))
        return buffer[self.offset : self.offset + size].reshape(self.shape)
