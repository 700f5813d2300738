"""Interval arithmetic through a dense layer, and the last step of every bound: rounding it outwards."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from distverify.kernels.jit import f8, helper, i8, kernel, readonly, writable

Floats = NDArray[np.float64]


@helper
def _down(x, tiny):
    # At least one unit in the last place, by plain arithmetic: two units of |x| and an allowance for underflow.
    return x - (abs(x) * 2.0**-52 + tiny)


@helper
def _up(x, tiny):
    return x + (abs(x) * 2.0**-52 + tiny)


@kernel(types.void(readonly(1), readonly(1), i8, f8, writable(1), writable(1)))
def close_bounds(constant, error, half, tiny, lower, upper):
    """``upper`` = constant + error from the first ``half`` entries, ``lower`` = constant - error from the others, outwards.

    The errors are grown by a thousandth, which is far more than their own rounding. ``tiny`` 0: rounding is ignored.
    """
    for i in range(half):
        up, low = constant[i] + 1.001 * error[i], constant[half + i] - 1.001 * error[half + i]
        if tiny > 0.0:
            up, low = _up(up, tiny), _down(low, tiny)
        upper[i] = up if up == up else np.inf
        lower[i] = low if low == low else -np.inf


@kernel(types.void(readonly(2), readonly(1), readonly(1), readonly(1), f8, f8, writable(1), writable(1)))
def dense_range(weight, bias, lower, upper, gamma, tiny, out_lower, out_upper):
    """Bounds of weight @ a + bias for lower <= a <= upper; infinite where they overflow."""
    n = weight.shape[1]
    mid, rad, size = np.empty(n), np.empty(n), np.empty(n)
    for j in range(n):
        m = 0.5 * lower[j] + 0.5 * upper[j]
        mid[j] = m
        rad[j] = max(upper[j] - m, m - lower[j]) * (1.0 + (2.0**-51 if tiny > 0.0 else 0.0)) + tiny
        size[j] = rad[j] + gamma * (rad[j] + abs(m))
    for i in range(weight.shape[0]):
        w = weight[i]
        c0 = c1 = c2 = c3 = 0.0
        s0 = s1 = s2 = s3 = 0.0
        whole = n - n % 4
        for j in range(0, whole, 4):
            c0 += w[j] * mid[j]
            c1 += w[j + 1] * mid[j + 1]
            c2 += w[j + 2] * mid[j + 2]
            c3 += w[j + 3] * mid[j + 3]
            s0 += abs(w[j]) * size[j]
            s1 += abs(w[j + 1]) * size[j + 1]
            s2 += abs(w[j + 2]) * size[j + 2]
            s3 += abs(w[j + 3]) * size[j + 3]
        for j in range(whole, n):
            c0 += w[j] * mid[j]
            s0 += abs(w[j]) * size[j]
        centre = ((c0 + c1) + (c2 + c3)) + bias[i]
        spread = ((s0 + s1) + (s2 + s3)) * (1.0 + gamma) + gamma * (abs(bias[i]) + abs(centre))
        low, up = centre - spread, centre + spread
        if tiny > 0.0:
            low, up = _down(low, tiny), _up(up, tiny)
        out_lower[i] = low if low == low else -np.inf
        out_upper[i] = up if up == up else np.inf
