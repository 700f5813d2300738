"""Sums of magnitudes: what rounding terms and norm-inf bounds are made of."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from distverify.kernels.jit import f8, for_both, kernel, readonly, void, writable

Floats = NDArray[np.float64]

_SMALLEST = 2.0**-1022
_SQUARE_RANGE = 1e-280, 1e300
_NORM_RANGE = 1e-140, 1e150


@kernel(*for_both(lambda f: void(readonly(2, f), readonly(1), writable(1))))
def _fill_abs_sums(rows, weight, out):
    n = rows.shape[1]
    whole = n - n % 8
    for r in range(rows.shape[0]):
        a = rows[r]
        # Eight independent sums: strict floating point leaves a single one no room for vector instructions.
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
        for i in range(0, whole, 8):
            s0 += abs(a[i]) * weight[i]
            s1 += abs(a[i + 1]) * weight[i + 1]
            s2 += abs(a[i + 2]) * weight[i + 2]
            s3 += abs(a[i + 3]) * weight[i + 3]
            s4 += abs(a[i + 4]) * weight[i + 4]
            s5 += abs(a[i + 5]) * weight[i + 5]
            s6 += abs(a[i + 6]) * weight[i + 6]
            s7 += abs(a[i + 7]) * weight[i + 7]
        for i in range(whole, n):
            s0 += abs(a[i]) * weight[i]
        out[r] = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


def abs_sums(rows: Floats, weight: Floats) -> Floats:
    """|rows| @ weight for ``rows`` float64 [R, n] in C order, without forming |rows|."""
    out = np.empty(rows.shape[0])
    _fill_abs_sums(rows, weight, out)
    return out


@kernel(*for_both(lambda f: void(readonly(2, f), f8, writable(1))))
def _add_column_squares(rows, factor, out):
    for r in range(rows.shape[0]):
        a = rows[r]
        for i in range(rows.shape[1]):
            # In double precision; a square that underflows counts as the smallest number that has all its digits.
            v = factor * a[i]
            out[i] += max(v * v, _SMALLEST) if v != 0.0 else 0.0


def column_norms(rows: Floats) -> Floats:
    """2-norm of each column of ``rows`` float64 or float32 [R, n] in C order; not below it, up to a few roundings."""
    out = np.zeros(rows.shape[1])
    _add_column_squares(rows, 1.0, out)
    if _in_range(float(out.max(initial=0.0))):
        return np.sqrt(out)
    factor = _power_of_two(rows)
    out[:] = 0.0
    _add_column_squares(rows, 1.0 / factor, out)
    return np.sqrt(out) * factor


def row_norms(rows: Floats) -> Floats:
    """2-norm of each row of ``rows`` float64 [R, n], whatever its scale; up to a few roundings."""
    norms: Floats = np.linalg.norm(rows, axis=1)
    for r in np.flatnonzero(~((norms > _NORM_RANGE[0]) & (norms < _NORM_RANGE[1]))):
        factor = _power_of_two(rows[r])
        norms[r] = np.linalg.norm(rows[r] / factor) * factor
    return norms


def vector_norm(vector: Floats) -> float:
    """2-norm of ``vector`` float64 [n], whatever its scale; up to a few roundings."""
    square = float(vector @ vector)
    if _in_range(square):
        return math.sqrt(square)
    factor = _power_of_two(vector)
    scaled = vector / factor
    return math.sqrt(float(scaled @ scaled)) * factor


def _in_range(square: float) -> bool:
    """Whether a sum of squares lost nothing that counts to underflow, and did not overflow."""
    return _SQUARE_RANGE[0] < square < _SQUARE_RANGE[1]


def _power_of_two(values: Floats) -> float:
    """A number near the largest of ``values`` that divides without rounding; 1 where there is none."""
    largest = float(np.abs(values).max(initial=0.0))
    return math.ldexp(1.0, min(max(math.frexp(largest)[1], -1000), 1000)) if 0.0 < largest < math.inf else 1.0


@kernel(*for_both(lambda f: void(readonly(2, f), readonly(1), readonly(1), writable(1), writable(1))))
def fill_extremes(rows, middle, weight, centre, spread):
    """centre = rows @ middle and spread = |rows| @ weight, in one pass."""
    n = rows.shape[1]
    whole = n - n % 4
    for r in range(rows.shape[0]):
        a = rows[r]
        c0 = c1 = c2 = c3 = 0.0
        s0 = s1 = s2 = s3 = 0.0
        for i in range(0, whole, 4):
            c0 += a[i] * middle[i]
            c1 += a[i + 1] * middle[i + 1]
            c2 += a[i + 2] * middle[i + 2]
            c3 += a[i + 3] * middle[i + 3]
            s0 += abs(a[i]) * weight[i]
            s1 += abs(a[i + 1]) * weight[i + 1]
            s2 += abs(a[i + 2]) * weight[i + 2]
            s3 += abs(a[i + 3]) * weight[i + 3]
        for i in range(whole, n):
            c0 += a[i] * middle[i]
            s0 += abs(a[i]) * weight[i]
        centre[r] = (c0 + c1) + (c2 + c3)
        spread[r] = (s0 + s1) + (s2 + s3)
