"""Parallel lines around an activation and around its derivative, as functions of the pre-activation.

On [l, u]:  s'(z) = p z + r +/- d  and  s(z) = lam z + mu +/- nu.  The slope p is that of the derivative's chord. What the line
leaves of the derivative, h(z) = s'(z) - p z, is bounded cell by cell: between two points a < b without a kink of s' inside, a
function whose second derivative is at most c lies within c (b - a)^2 / 8 of its chord, here with c = sup |s'''|, a column of
the activation table. So nothing rests on where s'' has its roots.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from distverify.kernels.activations import MAX_BREAKS
from distverify.kernels.jit import helper, i8, kernel, readonly, void, writable
from distverify.kernels.relaxations import highest, turns
from distverify.kernels.rounding import HUGE, NUDGE, TINY
from distverify.kernels.table import (
    BEND,
    NOISE,
    NOISE_FAR,
    SLOPE_NOISE,
    SLOPE_NOISE_FAR,
    TURN_ERROR,
    column,
    number,
    slope_at,
    value,
)

Floats = NDArray[np.float64]

# Cells between two breakpoints: what their chords may be off is 1 / CELLS^2 of what the whole interval's is.
CELLS = 64
_NARROW = 1e-9  # relative to the interval's place: narrower ones have nothing to gain from a slope
_WIDE = 1e6


@helper
def _residual(code, l, u, p0, p1, p, breaks, n):
    """Least and greatest s'(z) - p z on [l, u], before rounding; at kinks, and at both ends, from both sides."""
    bend = column(code, BEND, p0, p1)
    first, last = slope_at(code, l, -1, p0, p1) - p * l, slope_at(code, u, 1, p0, p1) - p * u
    low, high = min(first, last), max(first, last)
    a = l
    for i in range(n + 1):
        b = breaks[i] if i < n else u
        step = (b - a) / CELLS
        off = 0.12502 * bend * step * step  # an eighth, and what rounding may do to the ends of a cell
        before = slope_at(code, a, 1, p0, p1) - p * a
        for j in range(1, CELLS + 1):
            x = b if j == CELLS else a + j * step
            h = slope_at(code, x, -1 if j == CELLS else 1, p0, p1) - p * x
            low = min(low, min(before, h) - off)
            high = max(high, max(before, h) + off)
            before = h
        a = b
    return low, high


@kernel(void(i8, readonly(1), readonly(1), readonly(2), readonly(1), readonly(1), writable(2)))
def fill_parallel_lines(code, lower, upper, parameters, glo, ghi, out):
    """Rows p, r, d, lam, mu, nu of ``out`` [6, n]; see :func:`parallel_lines`."""
    breaks = np.empty(MAX_BREAKS)
    for i in range(lower.shape[0]):
        l, u, p0, p1 = lower[i], upper[i], parameters[0, i], parameters[1, i]
        # A constant for the derivative: its range is rounded outwards already.
        p, r = 0.0, 0.5 * glo[i] + 0.5 * ghi[i]
        d = max(ghi[i] - r, r - glo[i]) * (1.0 + 4.0 * NUDGE)
        if not math.isfinite(d):
            r, d = 0.0, math.inf
        place = max(abs(l), abs(u))
        n = -1
        if l > -HUGE and u < HUGE:
            n = turns(code, l, u, p0, p1, breaks)
        wide = u - l > _NARROW * max(1.0, place)
        exact = number(code, TURN_ERROR) == 0.0  # else a kink just outside may lie inside
        if n >= 0 and ghi[i] > glo[i] and place < _WIDE and wide and exact:
            q = (slope_at(code, u, -1, p0, p1) - slope_at(code, l, 1, p0, p1)) / (u - l)
            low, high = _residual(code, l, u, p0, p1, q, breaks, n)
            # Cells' ends are rounded as well: their lengths are off by what this grants z.
            noise = column(code, SLOPE_NOISE, p0, p1) + column(code, SLOPE_NOISE_FAR, p0, p1) * place
            nudge = NUDGE * (1.0 + max(abs(glo[i]), abs(ghi[i])) + 2.0 * abs(q) * place + noise) + TINY
            middle = 0.5 * low + 0.5 * high
            half = max(high - middle, middle - low) + nudge
            if half < d:
                p, r, d = q, middle, half
        out[0, i], out[1, i], out[2, i] = p, r, d
        if n < 0:
            out[3, i], out[4, i], out[5, i] = 0.0, 0.0, math.inf
            continue
        slope = r
        if glo[i] == ghi[i]:
            slope = glo[i]
        elif wide:
            slope = (value(code, u, p0, p1) - value(code, l, p0, p1)) / (u - l)
        _, above = highest(code, l, u, p0, p1, 1.0, slope, breaks, n)
        _, below = highest(code, l, u, p0, p1, -1.0, slope, breaks, n)
        middle = 0.5 * above - 0.5 * below
        size = max(abs(value(code, l, p0, p1)), abs(value(code, u, p0, p1))) + abs(slope) * place + abs(middle)
        out[3, i], out[4, i] = slope, middle
        noise = column(code, NOISE, p0, p1) + column(code, NOISE_FAR, p0, p1) * place
        out[5, i] = max(above - middle, below + middle) + NUDGE * (size + min(1.0, place) + noise) + TINY


def parallel_lines(
    code: int, lower: Floats, upper: Floats, parameters: Floats, slopes: tuple[Floats, Floats]
) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
    """Parallel lines around the activation's derivative and around itself, on the whole of each interval.

    Parameters
    ----------
    code : int
    lower, upper : float64 [n]
    parameters : float64 [PARAMETER_ROWS, n]
    slopes : (glo, ghi), float64 [n]
        The derivative's range there.

    Returns
    -------
    p, r, d, lam, mu, nu : float64 [n]
        |s'(z) - p z - r| <= d and |s(z) - lam z - mu| <= nu in exact arithmetic; at kinks for Clarke's derivative. On an unbounded
        interval p and lam are 0, and nu is infinite.
    """
    out = np.empty((6, lower.shape[0]))
    fill_parallel_lines(code, lower, upper, parameters, *slopes, out)
    return out[0], out[1], out[2], out[3], out[4], out[5]
