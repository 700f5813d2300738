"""Convolutions of many columns at once: im2col, one matrix product, and the transposed map by col2im.

A column is an image, flattened [channels, height, width]; columns lie side by side in C order, so that runs of one
pixel of neighbouring columns are copied. Work is done in blocks of columns, and within a block only where it is not
zero: a unit column, or one that a few pixels lead to, touches a small window of the image.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from distverify.kernels.jit import f4, f8, i8, kernel, readonly, void, writable

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]

# Neighbouring unit columns share most of their window; fewer columns at a time make the copied runs too short.
_BLOCK_COLUMNS = 32
# The unfolded block should stay in the second or third level cache.
_SCRATCH_VALUES = 2**18


@dataclass(frozen=True)
class Geometry:
    """Sizes of a two-dimensional convolution; one-dimensional ones have height 1.

    Attributes
    ----------
    top, left : int
        Rows and columns of zeros before the image; those behind it follow from the output's size.
    """

    groups: int
    channels: int
    height: int
    width: int
    out_channels: int
    out_height: int
    out_width: int
    kernel_height: int
    kernel_width: int
    stride_y: int
    stride_x: int
    dilation_y: int
    dilation_x: int
    top: int
    left: int

    @property
    def attributes(self) -> tuple[int, ...]:
        """All fields, in order."""
        return astuple(self)

    @property
    def image(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width

    @property
    def out_image(self) -> tuple[int, int, int]:
        return self.out_channels, self.out_height, self.out_width

    @property
    def taps(self) -> int:
        """Number of weights of one output."""
        return self.channels // self.groups * self.kernel_height * self.kernel_width

    @property
    def reach(self) -> tuple[int, int]:
        """Distance of the kernel's first weight from its last, along y and x."""
        return (self.kernel_height - 1) * self.dilation_y, (self.kernel_width - 1) * self.dilation_x

    @property
    def strides(self) -> tuple[int, int]:
        return self.stride_y, self.stride_x

    @property
    def offsets(self) -> tuple[int, int]:
        return self.top, self.left


@kernel(*(void(readonly(2, dtype), i8, i8, i8, writable(2, i8)) for dtype in (f8, f4)))
def _fill_windows(columns, height, width, block, windows):
    """For each block of columns the smallest window [y0, y1, x0, x1) that holds all nonzeros; 0 if none."""
    n = columns.shape[1]
    for b in range(windows.shape[0]):
        start, stop = b * block, min((b + 1) * block, n)
        y0, y1, x0, x1 = height, 0, width, 0
        for i in range(columns.shape[0]):
            x = i % width
            y = (i // width) % height
            if y0 <= y < y1 and x0 <= x < x1:
                continue
            a = columns[i]
            for j in range(start, stop):
                if a[j] != 0.0:
                    y0, y1, x0, x1 = min(y0, y), max(y1, y + 1), min(x0, x), max(x1, x + 1)
                    break
        if y1 > 0:
            windows[b, 0], windows[b, 1], windows[b, 2], windows[b, 3] = y0, y1, x0, x1


def _blocks(columns: Floats, height: int, width: int) -> list[tuple[slice, tuple[int, int], tuple[int, int]]]:
    """Blocks of columns that are not zero, each with its window (y0, y1), (x0, x1)."""
    count = -(-columns.shape[1] // _BLOCK_COLUMNS)
    windows = np.zeros((count, 4), dtype=np.int64)
    _fill_windows(columns, height, width, _BLOCK_COLUMNS, windows)
    return [
        (slice(b * _BLOCK_COLUMNS, (b + 1) * _BLOCK_COLUMNS), (y0, y1), (x0, x1))
        for b, (y0, y1, x0, x1) in enumerate(windows.tolist())
        if y1 > 0
    ]


def _bands(window: tuple[int, int], values_per_row: int) -> list[tuple[int, int]]:
    """``window`` in bands of rows whose unfolded values fit the scratch memory."""
    step = max(1, _SCRATCH_VALUES // max(1, values_per_row))
    return [(y, min(y + step, window[1])) for y in range(window[0], window[1], step)]


def _inside(first: int, length: int, size: int) -> tuple[slice, slice]:
    """Where ``first : first + length`` overlaps ``0 : size``: in the whole, and counted from ``first``."""
    start, stop = max(first, 0), min(first + length, size)
    return slice(start, max(start, stop)), slice(start - first, max(start, stop) - first)


class _Patch:
    """The part of a padded image that the outputs ``oy`` x ``ox`` see, for one block of columns."""

    def __init__(self, g: Geometry, oy: tuple[int, int], ox: tuple[int, int]) -> None:
        self.g = g
        self.shape = oy[1] - oy[0], ox[1] - ox[0]
        spans, places = [], []
        for (first, last), stride, offset, reach, size in zip(
            (oy, ox), g.strides, g.offsets, g.reach, (g.height, g.width), strict=True
        ):
            length = (last - first - 1) * stride + reach + 1
            spans.append(length)
            places.append(_inside(first * stride - offset, length, size))
        self.padded = spans[0], spans[1]
        (self.rows, self.rows_here), (self.columns, self.columns_here) = places

    def unfolded(self, image: Floats) -> Floats:
        """``image`` [padded channels, height, width, n] as a view [channels, ky, kx, y, x, n]."""
        g, (c, y, x, n) = self.g, image.strides
        strides = (c, y * g.dilation_y, x * g.dilation_x, y * g.stride_y, x * g.stride_x, n)
        shape = (g.channels, g.kernel_height, g.kernel_width, *self.shape, image.shape[3])
        return as_strided(image, shape, strides)


def convolve(weight: Floats, g: Geometry, columns: Floats, out: Floats | None = None) -> Floats:
    """The convolution (without flipping the kernel) of every column.

    Parameters
    ----------
    weight : [out_channels, channels / groups, kernel_height, kernel_width]
    columns : [channels * height * width, n], C order, of the same type as ``weight``
    out : [out_channels * out_height * out_width, n], optional
        Is added to.
    """
    n = columns.shape[1]
    images = columns.reshape(*g.image, n)
    result = np.zeros((int(np.prod(g.out_image)), n), dtype=columns.dtype) if out is None else out
    target = result.reshape(*g.out_image, n)
    matrix = weight.reshape(g.groups, -1, g.taps)
    for block, wy, wx in _blocks(columns, g.height, g.width):
        source = images[..., block]
        b = source.shape[3]
        oy, ox = (
            (max(0, -(-(first + pad - reach) // stride)), min(size, (last - 1 + pad) // stride + 1))
            for (first, last), pad, reach, stride, size in zip(
                (wy, wx), g.offsets, g.reach, g.strides, g.out_image[1:], strict=True
            )
        )
        if ox[1] <= ox[0]:
            continue
        for band in _bands(oy, g.groups * g.taps * (ox[1] - ox[0]) * b):
            patch = _Patch(g, band, ox)
            padded = np.zeros((g.channels, *patch.padded, b), dtype=columns.dtype)
            padded[:, patch.rows_here, patch.columns_here] = source[:, patch.rows, patch.columns]
            unfolded = patch.unfolded(padded).reshape(g.groups, g.taps, -1)
            product = (matrix @ unfolded).reshape(g.out_channels, *patch.shape, b)
            window = target[:, band[0] : band[1], ox[0] : ox[1], block]
            if out is None:
                window[...] = product
            else:
                window += product
    return result


def convolve_transposed(weight: Floats, g: Geometry, columns: Floats, out: Floats | None = None) -> Floats:
    """The transpose of :func:`convolve`, for columns [out_channels * out_height * out_width, n].

    Returns [channels * height * width, n].
    """
    n = columns.shape[1]
    images = columns.reshape(*g.out_image, n)
    result = np.zeros((int(np.prod(g.image)), n), dtype=columns.dtype) if out is None else out
    target = result.reshape(*g.image, n)
    matrix = np.ascontiguousarray(weight.reshape(g.groups, -1, g.taps).transpose(0, 2, 1))
    for block, oy, ox in _blocks(columns, g.out_height, g.out_width):
        b = min(block.stop, n) - block.start
        for band in _bands(oy, g.groups * g.taps * (ox[1] - ox[0]) * b):
            patch = _Patch(g, band, ox)
            source = images[:, band[0] : band[1], ox[0] : ox[1], block]
            product = matrix @ source.reshape(g.groups, g.out_channels // g.groups, -1)
            product = product.reshape(g.channels, g.kernel_height, g.kernel_width, *patch.shape, b)
            padded = np.zeros((g.channels, *patch.padded, b), dtype=columns.dtype)
            unfolded = patch.unfolded(padded)
            # Different weights lead to the same pixel: one at a time.
            for ky in range(g.kernel_height):
                for kx in range(g.kernel_width):
                    unfolded[:, ky, kx] += product[:, ky, kx]
            target[:, patch.rows, patch.columns, block] += padded[:, patch.rows_here, patch.columns_here]
    return result


def unit_columns(weight: Floats, g: Geometry, which: Indices) -> Floats:
    """Convolutions of the unit images ``which``: [out_channels * out_height * out_width, k]."""
    out = np.zeros((*g.out_image, which.size), dtype=weight.dtype)
    channel, y, x = np.unravel_index(which, g.image)
    own = g.channels // g.groups
    outputs = (channel // own)[:, None] * (g.out_channels // g.groups) + np.arange(g.out_channels // g.groups)
    for ky in range(g.kernel_height):
        for kx in range(g.kernel_width):
            ty, tx = y + g.top - ky * g.dilation_y, x + g.left - kx * g.dilation_x
            oy, ox = ty // g.stride_y, tx // g.stride_x
            valid = (ty % g.stride_y == 0) & (tx % g.stride_x == 0)
            valid &= (oy >= 0) & (oy < g.out_height) & (ox >= 0) & (ox < g.out_width)
            j = np.flatnonzero(valid)
            values = weight[outputs[j], (channel[j] % own)[:, None], ky, kx]
            out[outputs[j], oy[j, None], ox[j, None], j[:, None]] = values
    return out.reshape(-1, which.size)


def unit_columns_transposed(weight: Floats, g: Geometry, which: Indices) -> Floats:
    """Transposed convolutions of the unit images ``which``: [channels * height * width, k]."""
    out = np.zeros((*g.image, which.size), dtype=weight.dtype)
    channel, oy, ox = np.unravel_index(which, g.out_image)
    own = g.channels // g.groups
    inputs = (channel // (g.out_channels // g.groups))[:, None] * own + np.arange(own)
    for ky in range(g.kernel_height):
        for kx in range(g.kernel_width):
            y, x = oy * g.stride_y - g.top + ky * g.dilation_y, ox * g.stride_x - g.left + kx * g.dilation_x
            j = np.flatnonzero((y >= 0) & (y < g.height) & (x >= 0) & (x < g.width))
            out[inputs[j], y[j, None], x[j, None], j[:, None]] = weight[channel[j], :, ky, kx]
    return out.reshape(-1, which.size)
