"""Rows that are zero outside of a window of an image, pulled through convolutions: kernels.

A batch of R windows is ``values`` [R, h, w, C], channels last, with the corners ``y``, ``x`` int64 [R] in an image [C, H, W]; every window
lies inside the image. Vectors over the image are laid out as windows are, [H, W, C] flattened.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distverify.kernels.convolution import Geometry
from distverify.kernels.jit import b1, for_both, i4, i8, kernel_on_demand, readonly, void, writable

# Of either precision.
Floats = NDArray[Any]
Indices = NDArray[np.int64]

# A block's unfolded product should stay in the second level cache.
_SCRATCH_VALUES = 2**17


@kernel_on_demand(
    *for_both(lambda f: void(
        readonly(4, f), readonly(1, i8), readonly(1, i8), readonly(1, i8), i8, i8, i8, i8, i8, i8, i8, i8,
        readonly(1, i8), readonly(1, i8), writable(4, f),
    ))
)  # fmt: skip
def _fill_taps(weight, channel, oy, ox, top, left, sy, sx, dy, dx, height, width, y, x, out):
    """The weights [kernel height, kernel width, C] per output channel, of outputs ``channel``, ``oy``, ``ox``, into their windows."""
    for r in range(out.shape[0]):
        taps = weight[channel[r]]
        for ky in range(taps.shape[0]):
            iy = oy[r] * sy - top + ky * dy
            if iy < 0 or iy >= height:
                continue
            for kx in range(taps.shape[1]):
                ix = ox[r] * sx - left + kx * dx
                if 0 <= ix < width:
                    out[r, iy - y[r], ix - x[r]] = taps[ky, kx]


@kernel_on_demand(
    *for_both(lambda f: void(
        readonly(6, f), readonly(1, i8), readonly(1, i8), i8, i8, i8, i8, i8, i8, i8, i8, readonly(1, i8), readonly(1, i8),
        writable(4, f),
    ))
)  # fmt: skip
def _fold(product, y, x, top, left, sy, sx, dy, dx, height, width, new_y, new_x, out):
    """Add what every output pulls, ``product`` [R, h, w, kernel height, kernel width, C], to the windows ``out`` of the input."""
    channels = product.shape[5]
    for r in range(product.shape[0]):
        for a in range(product.shape[1]):
            for ky in range(product.shape[3]):
                iy = (y[r] + a) * sy - top + ky * dy
                if iy < 0 or iy >= height:
                    continue
                for b in range(product.shape[2]):
                    for kx in range(product.shape[4]):
                        ix = (x[r] + b) * sx - left + kx * dx
                        if ix < 0 or ix >= width:
                            continue
                        source, target = product[r, a, b, ky, kx], out[r, iy - new_y[r], ix - new_x[r]]
                        for c in range(channels):
                            target[c] += source[c]


@kernel_on_demand(
    *for_both(lambda f: void(
        readonly(4, f), readonly(1, i8), readonly(1, i8), i8, readonly(1), readonly(1), writable(1), writable(1), writable(1),
        writable(1),
    ))
)  # fmt: skip
def add_window_sums(values, y, x, width, constant, size, total, summed, spread, held):
    """Of each row add values . ``constant``, |values| . |``constant``|, |values| . ``size`` and the sum of |values|."""
    channels = values.shape[3]
    # A sum for every channel: strict floating point leaves a single one no room for vector instructions.
    sums = np.empty((4, channels))
    t, s, p, h = sums[0], sums[1], sums[2], sums[3]
    for r in range(values.shape[0]):
        sums[:] = 0.0
        for a in range(values.shape[1]):
            for b in range(values.shape[2]):
                place = ((y[r] + a) * width + x[r] + b) * channels
                pixel, k, n = values[r, a, b], constant[place : place + channels], size[place : place + channels]
                for c in range(channels):
                    m = abs(pixel[c])
                    t[c] += pixel[c] * k[c]
                    s[c] += m * abs(k[c])
                    p[c] += m * n[c]
                    h[c] += m
        for c in range(channels):
            total[r] += t[c]
            summed[r] += s[c]
            spread[r] += p[c]
            held[r] += h[c]


@kernel_on_demand(
    *for_both(lambda f: void(
        writable(4, f), readonly(1, i8), readonly(1, i8), i8, readonly(1), readonly(1), b1, writable(1),
    ))
)  # fmt: skip
def scale_windows(values, y, x, width, slope, magnitude, rounds, spread):
    """Multiply by ``slope``, in place; if that ``rounds``, ``spread`` grows by |product| . ``magnitude``."""
    channels = values.shape[3]
    sums = np.empty(channels)
    for r in range(values.shape[0]):
        sums[:] = 0.0
        for a in range(values.shape[1]):
            for b in range(values.shape[2]):
                place = ((y[r] + a) * width + x[r] + b) * channels
                pixel, g, m = values[r, a, b], slope[place : place + channels], magnitude[place : place + channels]
                for c in range(channels):
                    pixel[c] *= g[c]
                if rounds:
                    for c in range(channels):
                        sums[c] += abs(pixel[c]) * m[c]
        for c in range(channels):
            spread[r] += sums[c]


@kernel_on_demand(
    *for_both(lambda f: i8(
        readonly(4, f), readonly(1, i8), readonly(1, i8), i8, readonly(1, i4), writable(1, i4),
        writable(1, i4), writable(1, f),
    ))
)  # fmt: skip
def take_entries(values, y, x, width, column, starts, indices, entries):
    """The entries that are not zero and whose ``column`` is not negative, in compressed rows; their number."""
    channels = values.shape[3]
    count = 0
    for r in range(values.shape[0]):
        for c in range(channels):
            for a in range(values.shape[1]):
                for b in range(values.shape[2]):
                    number = column[((y[r] + a) * width + x[r] + b) * channels + c]
                    if number >= 0 and values[r, a, b, c] != 0.0:
                        indices[count] = number
                        entries[count] = values[r, a, b, c]
                        count += 1
        starts[r + 1] = count
    return count


@kernel_on_demand(
    *for_both(lambda f: void(
        readonly(4, f), readonly(1, i8), readonly(1, i8), i8, readonly(1, i4), writable(2, f),
    ))
)  # fmt: skip
def spread_entries(values, y, x, width, column, out):
    """The entries whose ``column`` is not negative, into those columns of ``out``."""
    channels = values.shape[3]
    for r in range(values.shape[0]):
        for a in range(values.shape[1]):
            for b in range(values.shape[2]):
                place = ((y[r] + a) * width + x[r] + b) * channels
                for c in range(channels):
                    number = column[place + c]
                    if number >= 0:
                        out[r, number] = values[r, a, b, c]


@kernel_on_demand(
    *for_both(lambda f: void(
        readonly(4, f), readonly(1, i8), readonly(1, i8), readonly(1, i8), readonly(1, i8), writable(4, f),
    ))
)  # fmt: skip
def add_windows(values, y, x, into_y, into_x, out):
    """Add windows to larger ones that contain them."""
    for r in range(values.shape[0]):
        for a in range(values.shape[1]):
            for b in range(values.shape[2]):
                source, target = values[r, a, b], out[r, y[r] + a - into_y[r], x[r] + b - into_x[r]]
                for c in range(values.shape[3]):
                    target[c] += source[c]


def taps_last(weight: Floats) -> Floats:
    """Weights [O, C, kernel height, kernel width] with the channels last: [O, kernel height, kernel width, C]."""
    return np.ascontiguousarray(weight.transpose(0, 2, 3, 1))


def reach(g: Geometry, height: int, width: int) -> tuple[int, int]:
    """Height and width of the input's windows that outputs' windows of ``height`` x ``width`` see; the image's where those are whole."""
    seen = (height - 1) * g.stride_y + g.reach[0] + 1, (width - 1) * g.stride_x + g.reach[1] + 1
    return (
        g.height if height == g.out_height else min(seen[0], g.height),
        g.width if width == g.out_width else min(seen[1], g.width),
    )


def corners(g: Geometry, y: Indices, x: Indices, shape: tuple[int, int]) -> tuple[Indices, Indices]:
    """Where the input's windows of ``shape`` lie that see outputs from ``y``, ``x`` on: inside the image."""
    return (
        np.clip(y * g.stride_y - g.top, 0, g.height - shape[0]),
        np.clip(x * g.stride_x - g.left, 0, g.width - shape[1]),
    )


def _steps(g: Geometry) -> tuple[int, ...]:
    return g.top, g.left, g.stride_y, g.stride_x, g.dilation_y, g.dilation_x, g.height, g.width


def convolution_rows(weight: Floats, g: Geometry, which: Indices) -> tuple[Floats, Indices, Indices]:
    """Rows ``which`` of a convolution without groups, as windows of its input: values, y, x.

    Parameters
    ----------
    weight : [O, kernel height, kernel width, C]
    """
    channel, oy, ox = (np.ascontiguousarray(i) for i in np.unravel_index(which, g.out_image))
    shape = reach(g, 1, 1)
    y, x = corners(g, oy, ox, shape)
    out = np.zeros((which.size, *shape, g.channels), weight.dtype)
    _fill_taps(weight, channel, oy, ox, *_steps(g), y, x, out)
    return out, y, x


def pull_windows(
    weight: Floats, g: Geometry, values: Floats, y: Indices, x: Indices
) -> tuple[Floats, Indices, Indices]:
    """Windows of a convolution's output, pulled to its input: values, y, x.

    Parameters
    ----------
    weight : [O, kernel height, kernel width, C]
        Without groups.
    """
    count, height, width, outputs = values.shape
    shape = reach(g, height, width)
    new_y, new_x = corners(g, y, x, shape)
    out = np.zeros((count, *shape, g.channels), values.dtype)
    matrix = weight.reshape(outputs, -1)
    for part, band in _blocks(count, height, width * matrix.shape[1]):
        product = values[part, band].reshape(-1, outputs) @ matrix
        product = product.reshape(-1, band.stop - band.start, width, g.kernel_height, g.kernel_width, g.channels)
        _fold(product, y[part] + band.start, x[part], *_steps(g), new_y[part], new_x[part], out[part])
    return out, new_y, new_x


def _blocks(count: int, height: int, per_line: int) -> Iterator[tuple[slice, slice]]:
    """Windows and lines of theirs whose unfolded products stay in the cache: several whole windows, or a part of one."""
    several, lines = _SCRATCH_VALUES // (height * per_line), max(1, _SCRATCH_VALUES // per_line)
    for first in range(0, count, max(1, several)):
        if several > 0:
            yield slice(first, min(first + several, count)), slice(0, height)
            continue
        for line in range(0, height, lines):
            yield slice(first, first + 1), slice(line, min(line + lines, height))
