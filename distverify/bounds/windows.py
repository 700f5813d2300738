"""Rows of a linear map of an image that are zero outside of a window each, and the sparse matrices that are made of them.

Through convolutions that is all there is to a row that was asked for; memory and time go with windows instead of images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from distverify.bounds.reduced import Floats, Indices
from distverify.kernels import windows as kernels
from distverify.network.linear.convolution import Convolution
from distverify.network.linear.operator import LinearOperator

Image = tuple[int, int, int]

# Columns are sparse only of windows smaller than this share of the image, and of many rows.
_LARGEST_SHARE = 16
_LEAST_SIZE = 2**16


def channels_last(vector: Floats, image: Image) -> Floats:
    """``vector`` [C H W] in the order of windows, [H W C]."""
    return np.ascontiguousarray(vector.reshape(image).transpose(1, 2, 0)).reshape(-1)


def has_windows(operator: LinearOperator) -> TypeGuard[Convolution]:
    """Whether rows of the operator are windows of its input."""
    return isinstance(operator, Convolution) and not operator.transposed and operator.geometry.groups == 1


@dataclass(frozen=True, eq=False)
class Windows:
    """R rows [C H W], given inside a window each; see :mod:`distverify.kernels.windows`.

    Attributes
    ----------
    values : float64 or float32 [R, h, w, C]
    y, x : int64 [R]
    image : (C, H, W)
    """

    values: Floats
    y: Indices
    x: Indices
    image: Image

    @classmethod
    def of_convolution(cls, operator: Convolution, which: Indices, dtype: Any) -> Windows:
        """Rows ``which`` of a convolution."""
        taps = kernels.taps_last(operator.weight.astype(dtype, copy=False))
        return cls(*kernels.convolution_rows(taps, operator.geometry, which), operator.geometry.image)

    @classmethod
    def of_rows(cls, rows: Floats, image: Image) -> Windows:
        """Whole rows, [R, C H W]."""
        values = np.ascontiguousarray(rows.reshape(-1, *image).transpose(0, 2, 3, 1))
        nothing = np.zeros(rows.shape[0], dtype=np.int64)
        return cls(values, nothing, nothing, image)

    def rows(self) -> Floats:
        """Whole rows, [R, C H W]."""
        channels, height, width = self.image
        if self.values.shape[1:3] != (height, width):
            whole = np.zeros((self.y.size, height, width, channels), self.values.dtype)
            nothing = np.zeros(self.y.size, dtype=np.int64)
            kernels.add_windows(self.values, self.y, self.x, nothing, nothing, whole)
        else:
            whole = self.values
        return np.ascontiguousarray(whole.transpose(0, 3, 1, 2)).reshape(self.y.size, -1)

    def copy(self) -> Windows:
        """With values of its own."""
        return replace(self, values=self.values.copy())

    def through(self, operator: Convolution) -> Windows:
        """The rows times a convolution."""
        taps = kernels.taps_last(operator.weight.astype(self.values.dtype, copy=False))
        return Windows(
            *kernels.pull_windows(taps, operator.geometry, self.values, self.y, self.x), operator.geometry.image
        )

    def plus(self, other: Windows) -> Windows:
        """The sum of both, in windows around theirs."""
        y, x = np.minimum(self.y, other.y), np.minimum(self.x, other.x)
        ends = [
            int((np.maximum(a + self.values.shape[axis], b + other.values.shape[axis]) - np.minimum(a, b)).max())
            for axis, a, b in ((1, self.y, other.y), (2, self.x, other.x))
        ]
        # One shape for all: those that would leave the image begin earlier.
        y, x = np.minimum(y, self.image[1] - ends[0]), np.minimum(x, self.image[2] - ends[1])
        values = np.zeros((y.size, *ends, self.image[0]), self.values.dtype)
        for part in (self, other):
            kernels.add_windows(part.values, part.y, part.x, y, x, values)
        return Windows(values, y, x, self.image)

    def sums(self, constant: Floats, size: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Of each row v: v . constant, |v| . |constant|, |v| . size, and the sum of |v|; vectors [C H W]."""
        out: Floats = np.zeros((4, self.y.size))
        last = channels_last(constant, self.image), channels_last(size, self.image)
        kernels.add_window_sums(self.values, self.y, self.x, self.image[2], *last, *out)
        return out[0], out[1], out[2], out[3]

    def scaled(self, slope: Floats, magnitude: Floats) -> tuple[Windows, Floats]:
        """The rows times diag(``slope``), overwritten, and the sums of |v| . ``magnitude`` over the products that round."""
        spread = np.zeros(self.y.size)
        rounds = (slope != 0.0) & (slope != 1.0)
        last = (channels_last(vector, self.image) for vector in (slope, np.where(rounds, magnitude, 0.0)))
        kernels.scale_windows(self.values, self.y, self.x, self.image[2], *last, bool(rounds.any()), spread)
        return self, spread

    def columns(self, which: Indices | None = None) -> Any:
        """Those columns of the rows, ascending, all by default: an array [R, k], or scipy CSR where most of them are zero."""
        size = math.prod(self.image)
        count = size if which is None else which.size
        if self.values.size * _LARGEST_SHARE >= self.y.size * size or self.y.size * count < _LEAST_SIZE:
            out = np.zeros((self.y.size, count), self.values.dtype)
            kernels.spread_entries(self.values, self.y, self.x, self.image[2], self._numbers(which), out)
            return out
        return self.entries(which)

    def entries(self, which: Indices | None = None) -> Any:
        """Those columns, as scipy CSR."""
        starts = np.zeros(self.y.size + 1, dtype=np.int32)
        indices: NDArray[np.int32] = np.empty(self.values.size, dtype=np.int32)
        entries = np.empty(self.values.size, self.values.dtype)
        place = self.y, self.x, self.image[2], self._numbers(which)
        found = kernels.take_entries(self.values, *place, starts, indices, entries)
        count = math.prod(self.image) if which is None else which.size
        from scipy.sparse import csr_array

        return csr_array((entries[:found].copy(), indices[:found].copy(), starts), shape=(self.y.size, count))

    def _numbers(self, which: Indices | None) -> NDArray[np.int32]:
        """Of each value of the image, in the order of windows, which of the columns it is; -1: none."""
        size = math.prod(self.image)
        number = np.full(size, -1, dtype=np.int32)
        number[slice(None) if which is None else which] = np.arange(size if which is None else which.size)
        return np.ascontiguousarray(number.reshape(self.image).transpose(1, 2, 0)).reshape(-1)

    def take(self, which: Indices) -> Windows:
        """Some of the rows."""
        return replace(self, values=self.values[which], y=self.y[which], x=self.x[which])
