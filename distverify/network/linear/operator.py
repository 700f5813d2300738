"""A linear operator: what a linear node applies to each of its inputs.

An operator pushes columns forward (W @ A) and pulls rows backward (A @ W), many at once; ``push_abs`` and ``pull_abs``
do the same with |W|, for rounding terms. ``push_terms`` and ``pull_terms`` are the n of
gamma_n = n u / (1 - n u) (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1): the longest inner sums,
and the roundings that the entries of W themselves may be off by.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# Norms only scale rounding terms; far more than their own rounding is added to them.
NORM_MARGIN = 1.001
# Norms of rows relative to the largest entry: below it their squares may have underflowed.
NORM_FLOOR = 1e-130


class LinearOperator(ABC):
    """A linear map W from ``in_size`` to ``out_size`` flattened values; a frozen dataclass.

    Attributes
    ----------
    kind : str
        The operator's name in a network's digest and description.
    roundings : int
        Each entry of W is off by at most so many relative roundings: true = stored (1 + d), |d| <= gamma_roundings.
        They count among ``push_terms`` and ``pull_terms``; 0 where W is exact.
    """

    kind: ClassVar[str]
    roundings: int = 0

    @property
    @abstractmethod
    def in_size(self) -> int: ...

    @property
    @abstractmethod
    def out_size(self) -> int: ...

    @property
    @abstractmethod
    def push_terms(self) -> int: ...

    @property
    @abstractmethod
    def pull_terms(self) -> int: ...

    @property
    @abstractmethod
    def norm(self) -> float:
        """An upper bound of the spectral norm of W."""

    @property
    @abstractmethod
    def row_norms(self) -> Array:
        """Upper bounds of the 2-norm of each row, [out_size]."""

    @property
    @abstractmethod
    def arrays(self) -> tuple[Array, ...]:
        """The numbers that the operator stores."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Whole numbers that are needed beside the shapes of ``arrays`` to make the operator."""
        return ()

    @property
    def stored(self) -> int:
        """How many numbers ``arrays`` holds."""
        return sum(a.size for a in self.arrays)

    @abstractmethod
    def mapped(self, change: Callable[[Array], Array]) -> Self:
        """The operator with ``change`` of each array of weights in its place."""

    @abstractmethod
    def rows(self) -> Array:
        """W itself, [out_size, in_size]."""

    def some_rows(self, which: Indices) -> Array:
        """Those rows of W, [k, in_size], C order."""
        unit = np.zeros((which.size, self.out_size))
        unit[np.arange(which.size), which] = 1.0
        return self.pull(unit)

    @abstractmethod
    def columns(self, which: slice | Indices) -> Array:
        """Those columns of W, [out_size, k], C order."""

    @abstractmethod
    def push(self, columns: Array, inputs: Indices | None = None, out: Array | None = None) -> Array:
        """W @ columns, [in_size, k] -> [out_size, k]; added to ``out`` in place where that is given.

        With ``inputs``, ``columns`` holds only those rows; all others are zero.
        """

    @abstractmethod
    def pull(self, rows: Array, out: Array | None = None) -> Array:
        """rows @ W, [k, out_size] -> [k, in_size]; added to ``out`` in place where that is given."""

    @abstractmethod
    def push_abs(self, columns: Array) -> Array:
        """|W| @ columns."""

    @abstractmethod
    def pull_abs(self, rows: Array) -> Array:
        """rows @ |W|."""

    def __getstate__(self) -> dict[str, Any]:
        # What was computed from the weights stays where it was computed.
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]


def scatter_rows(columns: Array, inputs: Indices | None, size: int) -> Array:
    """``columns`` with zero rows put back where ``inputs`` left them out."""
    if inputs is None or inputs.size == size:
        return columns
    out = np.zeros((size, columns.shape[1]), dtype=columns.dtype)
    out[inputs] = columns
    return out


def added(value: Array, out: Array | None) -> Array:
    """``value``, added to ``out`` in place where that is given."""
    if out is None:
        return value
    out += value
    return out
