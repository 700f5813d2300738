"""Rows that have few entries, anywhere: what selections, maxima and their differences make of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from distverify.bounds.reduced import Floats, Indices
from distverify.bounds.windows import Image, Windows
from distverify.network.linear.sparse import Sparse

# Rows of more than one entry in so many are whole ones.
_LARGEST_SHARE = 8


@dataclass(frozen=True, eq=False)
class Entries:
    """R rows by their entries: ``matrix`` scipy CSR [R, size], float64 or float32."""

    matrix: Any

    @property
    def few(self) -> bool:
        """Whether that is less than whole rows are."""
        return bool(self.matrix.nnz * _LARGEST_SHARE <= self.matrix.shape[0] * self.matrix.shape[1])

    @classmethod
    def of_windows(cls, rows: Windows) -> Entries:
        """Those of the windows."""
        return cls(rows.entries())

    def rows(self) -> Floats:
        """Whole rows, [R, size]."""
        return np.ascontiguousarray(self.matrix.toarray())

    def windows(self, image: Image) -> Windows:
        """In the smallest windows, of one shape, that hold them."""
        count, starts = self.matrix.shape[0], self.matrix.indptr
        channel, y, x = np.unravel_index(self.matrix.indices, image)
        row = np.repeat(np.arange(count), np.diff(starts))
        corners, shape = [], []
        for place, size in ((y, image[1]), (x, image[2])):
            first, last = np.full(count, size), np.full(count, -1)
            np.minimum.at(first, row, place)
            np.maximum.at(last, row, place)
            shape.append(int(np.maximum(last - first + 1, 1).max(initial=1)))
            corners.append(np.minimum(np.where(last < 0, 0, first), size - shape[-1]))
        values = np.zeros((count, *shape, image[0]), self.matrix.dtype)
        values[row, y - corners[0][row], x - corners[1][row], channel] = self.matrix.data
        return Windows(values, corners[0], corners[1], image)

    def through(self, operator: Sparse) -> Entries:
        """The rows times a sparse operator."""
        product = csr_array(self.matrix @ operator.matrix.astype(self.matrix.dtype, copy=False))
        return Entries(product)

    def plus(self, other: Entries) -> Entries:
        """The sum of both."""
        return Entries(csr_array(self.matrix + other.matrix))

    def sums(self, constant: Floats, size: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Of each row v: v . constant, |v| . |constant|, |v| . size, and the sum of |v|."""
        matrix = self.matrix.astype(np.float64, copy=False)
        absolute = abs(matrix)
        return (
            np.asarray(matrix @ constant),
            np.asarray(absolute @ np.abs(constant)),
            np.asarray(absolute @ size),
            np.asarray(absolute @ np.ones(size.size)),
        )

    def scaled(self, slope: Floats, magnitude: Floats) -> tuple[Entries, Floats]:
        """The rows times diag(``slope``), and the sums of |v| . ``magnitude`` over the products that round."""
        indices = self.matrix.indices
        data = (self.matrix.data * slope[indices]).astype(self.matrix.dtype, copy=False)
        # Its own indices: products that are 0 leave.
        matrix = csr_array((data, indices.copy(), self.matrix.indptr.copy()), shape=self.matrix.shape)
        rounds = (slope != 0.0) & (slope != 1.0)
        spread = np.zeros(matrix.shape[0])
        if rounds.any():
            spread = np.asarray(abs(matrix).astype(np.float64, copy=False) @ np.where(rounds, magnitude, 0.0))
        matrix.eliminate_zeros()
        return Entries(matrix), spread

    def columns(self, which: Indices | None) -> Any:
        """Those columns, all by default: scipy CSR with indices of 32 bits."""
        matrix = self.matrix if which is None else csr_array(self.matrix[:, which])
        indices, starts = (a.astype(np.int32, copy=False) for a in (matrix.indices, matrix.indptr))
        return csr_array((matrix.data, indices, starts), shape=matrix.shape)

    def take(self, which: Indices) -> Entries:
        """Some of the rows."""
        return Entries(self.matrix[which])
