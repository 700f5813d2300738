"""Interval arithmetic through a dense layer, and the last step of every bound: rounding it outwards."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distverify.kernels.jit import f8, helper, i8, kernel, readonly, void, writable

Floats = NDArray[np.float64]


@helper
def _down(x, tiny):
    # At least one unit in the last place, by plain arithmetic: two units of |x| and an allowance for underflow.
    return x - (abs(x) * 2.0**-52 + tiny)


@helper
def _up(x, tiny):
    return x + (abs(x) * 2.0**-52 + tiny)


@helper
def _known(low, up):
    """Bounds without NaN and without what overflowed inwards: a sum may pass the range on its way to a finite value."""
    return low if low < np.inf else -np.inf, up if up > -np.inf else np.inf


@kernel(void(readonly(1), readonly(1), i8, f8, writable(1), writable(1)))
def close_bounds(constant, error, half, tiny, lower, upper):
    """``upper`` = constant + error from the first ``half`` entries, ``lower`` = constant - error from the others, outwards.

    The errors are grown by a thousandth, which is far more than their own rounding. ``tiny`` 0: rounding is ignored.
    """
    for i in range(half):
        up, low = constant[i] + 1.001 * error[i], constant[half + i] - 1.001 * error[half + i]
        if tiny > 0.0:
            up, low = _up(up, tiny), _down(low, tiny)
        lower[i], upper[i] = _known(low, up)


@kernel(void(readonly(2), readonly(1), readonly(1), readonly(1), f8, f8, writable(1), writable(1)))
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
        out_lower[i], out_upper[i] = _known(low, up)


@kernel(void(readonly(2), readonly(2), readonly(2), f8, f8, writable(2), writable(2), writable(2)))
def pull_dense_range(weight, lower, upper, gamma, tiny, out_lower, out_upper, psi):
    """Bounds of Y @ weight for lower <= Y <= upper [K, n], and ``psi`` >= max |Y| @ |weight|."""
    n = weight.shape[1]
    for k in range(lower.shape[0]):
        centre, spread, size = out_lower[k], out_upper[k], psi[k]
        for j in range(n):
            centre[j] = spread[j] = size[j] = 0.0
        for i in range(weight.shape[0]):
            low, up = lower[k, i], upper[k, i]
            if low == 0.0 and up == 0.0:
                continue
            mid = 0.5 * low + 0.5 * up
            rad = max(up - mid, mid - low) * (1.0 + (2.0**-51 if tiny > 0.0 else 0.0)) + tiny if low != up else 0.0
            largest = abs(mid) + rad
            w = weight[i]
            for j in range(n):
                centre[j] += mid * w[j]
                spread[j] += rad * abs(w[j])
                size[j] += largest * abs(w[j])
        for j in range(n):
            c, s = centre[j], spread[j] + gamma * size[j]
            low, up = c - s, c + s
            if tiny > 0.0:
                low, up = _down(low, tiny), _up(up, tiny)
            out_lower[k, j], out_upper[k, j] = _known(low, up)


@kernel(void(readonly(2), readonly(2), readonly(1), readonly(1), f8, writable(2), writable(2)))
def scale_range(lower, upper, glo, ghi, tiny, out_lower, out_upper):
    """Bounds of g Y for lower <= Y <= upper [K, n] and glo <= g <= ghi [n]."""
    for k in range(lower.shape[0]):
        for i in range(lower.shape[1]):
            a, b, p, q = lower[k, i], upper[k, i], glo[i], ghi[i]
            low = min(min(p * a, p * b), min(q * a, q * b))
            up = max(max(p * a, p * b), max(q * a, q * b))
            if tiny > 0.0 and not (p == q and (p == 0.0 or p == 1.0)):
                low, up = _down(low, tiny), _up(up, tiny)
            out_lower[k, i], out_upper[k, i] = _known(low, up)


@kernel(
    void(
        readonly(2), readonly(1), readonly(1, i8), readonly(1), readonly(1), readonly(1), readonly(1), f8,
        writable(1), writable(1), writable(1),
    )
)  # fmt: skip
def push_dense_vectors(
    weight, constant, stable, slope, below_constant, below_size, below_error, scaled, out, sizes, errors
):
    """Push what a folded product needs besides its matrix, in one pass over ``weight`` [m, n].

    An activation's values are ``constant`` [n] plus, at neurons ``stable``, ``slope`` times an affine function of constant
    ``below_constant``, size ``below_size`` and error ``below_error`` [n]; ``scaled`` is what scaling by the slope may lose.
    ``out`` gets weight @ constants, ``sizes`` |weight| @ sizes and ``errors`` |weight| @ errors, [m] each.
    """
    n = weight.shape[1]
    value, size, error = constant.copy(), np.empty(n), np.zeros(n)
    for j in range(n):
        size[j] = abs(constant[j])
    for position in range(stable.shape[0]):
        j, d = stable[position], slope[position]
        value[j] += d * below_constant[j]
        size[j] += abs(d) * below_size[j]
        error[j] = abs(d) * below_error[j] + scaled
    for i in range(weight.shape[0]):
        w = weight[i]
        v = s = e = 0.0
        for j in range(n):
            v += w[j] * value[j]
            s += abs(w[j]) * size[j]
            e += abs(w[j]) * error[j]
        out[i], sizes[i], errors[i] = v, s, e
