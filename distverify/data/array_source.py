"""Arrays that are not read yet."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
AnyArray = NDArray[Any]


@dataclass(frozen=True)
class ArraySource:
    """An array that is not read yet.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
    read : callable (distinct indices int64 [n]) -> array [n, ...]
        Reads the chosen rows, in that order.
    line_of : callable (index) -> int, optional
        The line of a text file that holds a row, from 1.
    columns : tuple of str
        What the features are called, where a table says so.
    certain : bool
        Whether it is known to be what it is taken for; the first column of a table without names is not.
    classes : tuple of str
        Of labels: what the classes are called, where the file says so.
    layout : str
        Of images: the order of their axes, "hwc" or "chw", where the format fixes it; else "flat".
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[Indices], AnyArray]
    line_of: Callable[[int], int] | None = None
    certain: bool = True
    columns: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    layout: str = "flat"

    def bytes(self, rows: int) -> int:
        """Memory for ``rows`` rows of this array."""
        return rows * math.prod(self.shape[1:]) * self.dtype.itemsize

    def place(self, index: int) -> str:
        """Where a sample stands, for people: ``sample 5``, or ``sample 5 (line 7)``."""
        line = "" if self.line_of is None else f" (line {self.line_of(index)})"
        return f"sample {index}{line}"


Sources = Mapping[str, ArraySource]
