"""What bounds need of an activation on an interval: lines above and below, the range of its slope, the range of its values.

Derived from the activation table by general rules: between two breakpoints the slope is monotone, so the function is convex or
concave there, and every extremum can be bracketed.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from distverify.kernels.activations import (
    ARCTAN,
    CLIP,
    ERF,
    GELU,
    GELU_TANH,
    HARD_SIGMOID,
    HUGE,
    LAST_PIECEWISE_LINEAR,
    LEAKY,
    MAX_BREAKS,
    NUDGE,
    SIGMOID,
    SILU,
    SIN,
    SOFTPLUS,
    SOFTSIGN,
    TANH,
    TINY,
    breakpoints,
    slope_at,
    value,
)
from distverify.kernels.jit import helper, i8, kernel, readonly, writable

Floats = NDArray[np.float64]


@helper
def _is_linear(code, l, u, p0, p1):
    """Whether s is one straight line on [l, u], with a slope that a kernel knows exactly."""
    if code == LEAKY:
        return l >= 0.0 or u <= 0.0 or p0 == 1.0
    if code == CLIP:
        return u <= p0 or l >= p1 or (l >= p0 and u <= p1)
    return False


@helper
def _tangent_gap(code, p0, p1, sign, slope, a, b, fa, fb):
    """Upper bound of h = sign (s(x) - slope x) on [a, b], where h is concave with h'(a) = fa > 0 > fb = h'(b); and the place.

    The root of h' is bracketed by bisection and false position; the tangents at both ends of the bracket then bound h.
    """
    x1, x2 = a, b
    w1, w2 = fa, fb
    for step in range(200):
        width = x2 - x1
        if width <= 1e-9 * max(1.0, abs(x1), abs(x2)):
            break
        if width > 8.0 or step % 3 == 2:
            mid = math.sinh(0.5 * (math.asinh(x1) + math.asinh(x2)))
        else:
            mid = x1 + width * (w1 / (w1 - w2))
        if not (x1 < mid < x2):
            mid = x1 + 0.5 * width
            if not (x1 < mid < x2):
                break
        f = sign * (slope_at(code, mid, 1, p0, p1) - slope)
        if f >= 0.0:
            if w1 == fa:
                w2 *= 0.5
            x1, fa, w1 = mid, f, f
        else:
            if w2 == fb:
                w1 *= 0.5
            x2, fb, w2 = mid, f, f
        if f == 0.0:
            break
    left = sign * (value(code, x1, p0, p1) - slope * x1) + max(fa, 0.0) * (x2 - x1)
    right = sign * (value(code, x2, p0, p1) - slope * x2) + max(-fb, 0.0) * (x2 - x1)
    if left <= right:
        return x1, left
    return x2, right


@helper
def _highest(code, l, u, p0, p1, sign, slope, breaks, n):
    """Where h(x) = sign (s(x) - slope x) is largest on [l, u], and an upper bound of it there (before nudging)."""
    best_x = l
    best = sign * (value(code, l, p0, p1) - slope * l)
    a = l
    for i in range(n + 1):
        b = breaks[i] if i < n else u
        hb = sign * (value(code, b, p0, p1) - slope * b)
        if hb > best:
            best_x, best = b, hb
        fa = sign * (slope_at(code, a, 1, p0, p1) - slope)
        fb = sign * (slope_at(code, b, -1, p0, p1) - slope)
        if code > LAST_PIECEWISE_LINEAR and fa > 0.0 > fb:
            x, h = _tangent_gap(code, p0, p1, sign, slope, a, b, fa, fb)
            if h > best:
                best_x, best = x, h
        a = b
    return best_x, best


@helper
def _support_slope(code, l, u, p0, p1, sign, breaks, n):
    """Slope of the line that touches the concave hull of sign s at the midpoint of [l, u]: the line of least area.

    For ReLU this is the chord above and the adaptive slope (1 iff u > -l) below; for S-shaped functions the tangent or
    the secant of CROWN, with the tangent point at the midpoint where the hull is curved there.
    """
    m = l + 0.5 * (u - l)
    slope = slope_at(code, m, 1, p0, p1)
    scale = abs(value(code, l, p0, p1)) + abs(value(code, u, p0, p1)) + abs(slope) * (abs(l) + abs(u))
    x, h = _highest(code, l, u, p0, p1, sign, slope, breaks, n)
    if h - sign * (value(code, m, p0, p1) - slope * m) <= 1e-14 * scale:
        return slope
    xl, xr = l, u
    for _ in range(60):
        yl = value(code, xl, p0, p1)
        slope = (value(code, xr, p0, p1) - yl) / (xr - xl)
        x, h = _highest(code, l, u, p0, p1, sign, slope, breaks, n)
        gain = h - sign * (yl - slope * xl)
        if gain <= 1e-13 * scale or x == xl or x == xr:
            break
        if x < m:
            xl = x
        else:
            xr = x
        if xr - xl <= 1e-9 * (abs(xl) + abs(xr)):
            break
    return slope


@helper
def _line(code, l, u, p0, p1, sign, breaks, n):
    """A line ``slope x + intercept`` with sign (line - s) >= 0 on [l, u] in exact arithmetic."""
    lo, hi = max(l, -HUGE), min(u, HUGE)
    if n < 0 or lo > l or hi < u:
        # Unbounded, or too many turns: a constant. Functions that are themselves unbounded there get an infinite one.
        if code == SIN:
            return 0.0, sign
        _, h = _highest(code, lo, hi, p0, p1, sign, 0.0, breaks, max(n, 0))
        if h > 1e200:
            return 0.0, sign * math.inf
        return 0.0, sign * (h + NUDGE * (abs(h) + 1.0))
    slope = _support_slope(code, l, u, p0, p1, sign, breaks, n)
    x, h = _highest(code, l, u, p0, p1, sign, slope, breaks, n)
    magnitude = max(abs(value(code, x, p0, p1)) + abs(slope * x), max(abs(slope * l) + abs(slope * u), abs(h))) + max(
        abs(value(code, l, p0, p1)), abs(value(code, u, p0, p1))
    )
    if code > LAST_PIECEWISE_LINEAR:
        magnitude += min(1.0, max(abs(l), abs(u)))
    return slope, sign * (h + NUDGE * magnitude + TINY)


@helper
def neuron_lines(code, l, u, p0, p1, breaks):
    """Lines (su, cu, sl, cl) above and below one activation on [l, u]; ``breaks`` [MAX_BREAKS] is room to work in."""
    if _is_linear(code, l, u, p0, p1):
        # The right-hand slope at l and the left-hand one at u agree; a degenerate interval at a kink takes either.
        slope = slope_at(code, l, 1, p0, p1) if l < u else slope_at(code, l, -1, p0, p1)
        constant = p0 if u <= p0 else p1
        constant = constant if code == CLIP and slope == 0.0 else 0.0
        return slope, constant, slope, constant
    if code == LEAKY and p0 <= 1.0 and -HUGE < l and u < HUGE:
        slope = (u - p0 * l) / (u - l)
        # The chord lies above at both ends whatever its rounded slope: intercept from the worse end.
        c = max(u - slope * u, p0 * l - slope * l)
        return slope, c + NUDGE * (abs(u) + abs(l)) + TINY, 1.0 if u > -l else p0, 0.0
    n = breakpoints(code, max(l, -HUGE), min(u, HUGE), p0, p1, breaks)
    su, cu = _line(code, l, u, p0, p1, 1.0, breaks, n)
    sl, cl = _line(code, l, u, p0, p1, -1.0, breaks, n)
    return su, cu, sl, cl


@kernel(types.void(i8, readonly(1), readonly(1), readonly(2), writable(1), writable(1), writable(1), writable(1)))
def fill_lines(code, lower, upper, parameters, su, cu, sl, cl):
    """Lines above and below the activation on [lower, upper]; see :func:`lines`."""
    breaks = np.empty(MAX_BREAKS)
    for i in range(lower.shape[0]):
        su[i], cu[i], sl[i], cl[i] = neuron_lines(code, lower[i], upper[i], parameters[0, i], parameters[1, i], breaks)


@kernel(
    types.void(
        readonly(1, i8), readonly(1), readonly(1), readonly(2), writable(1), writable(1), writable(1), writable(1)
    )
)
def fill_mixed_lines(codes, lower, upper, parameters, su, cu, sl, cl):
    """Lines above and below activations of several kinds, ``codes`` [n]; see :func:`lines`."""
    breaks = np.empty(MAX_BREAKS)
    for i in range(lower.shape[0]):
        su[i], cu[i], sl[i], cl[i] = neuron_lines(
            codes[i], lower[i], upper[i], parameters[0, i], parameters[1, i], breaks
        )


@kernel(types.void(i8, readonly(1), readonly(1), readonly(2), writable(1), writable(1)))
def fill_slope_range(code, lower, upper, parameters, glo, ghi):
    """Range of the derivative over [lower, upper]; see :func:`slope_range`."""
    breaks = np.empty(MAX_BREAKS)
    for i in range(lower.shape[0]):
        l, u = max(lower[i], -HUGE), min(upper[i], HUGE)
        p0, p1 = parameters[0, i], parameters[1, i]
        if code == LEAKY:
            if l > 0.0:
                glo[i] = ghi[i] = 1.0
            elif u < 0.0:
                glo[i] = ghi[i] = p0
            else:
                glo[i], ghi[i] = min(p0, 1.0), max(p0, 1.0)
            continue
        n = breakpoints(code, l, u, p0, p1, breaks)
        if n < 0:
            glo[i], ghi[i] = -1.0, 1.0
            continue
        lo, hi = math.inf, -math.inf
        for k in range(-1, n + 1):
            x = l if k < 0 else (breaks[k] if k < n else u)
            for side in (-1, 1):
                g = slope_at(code, x, side, p0, p1)
                lo, hi = min(lo, g), max(hi, g)
        if code > LAST_PIECEWISE_LINEAR:
            # Relative to 1 where the slope is a difference of larger terms; never past what is known for the whole line.
            # So is erf's, whose argument's rounding grows with its square.
            nudge = NUDGE * (
                1.0 if code == SILU or code == GELU or code == GELU_TANH or code == SIN or code == ERF else 0.0
            )
            lo -= NUDGE * abs(lo) + nudge + TINY
            hi += NUDGE * abs(hi) + nudge + TINY
            if code == SIGMOID or code == TANH or code == ARCTAN or code == SOFTPLUS or code == SOFTSIGN:
                lo = max(lo, 0.0)
                hi = min(hi, 0.25 if code == SIGMOID else 1.0)
            elif code == ERF:
                lo = max(lo, 0.0)
            elif code == SIN:
                lo, hi = max(lo, -1.0), min(hi, 1.0)
        elif code == HARD_SIGMOID and n > 0:
            lo, hi = min(lo, 0.0, p0), max(hi, 0.0, p0)
        glo[i], ghi[i] = lo, hi


@kernel(types.void(i8, readonly(1), readonly(1), readonly(2), writable(1), writable(1)))
def fill_value_range(code, lower, upper, parameters, alo, ahi):
    """Range of the activation's values over [lower, upper]; see :func:`value_range`."""
    breaks = np.empty(MAX_BREAKS)
    for i in range(lower.shape[0]):
        l, u = lower[i], upper[i]
        p0, p1 = parameters[0, i], parameters[1, i]
        if code == LEAKY and p0 >= 0.0:
            alo[i], ahi[i] = l, u
            if p0 == 0.0:
                alo[i], ahi[i] = max(l, 0.0), max(u, 0.0)
            elif p0 != 1.0:
                if l < 0.0:
                    alo[i] = p0 * l - NUDGE * abs(p0 * l) - TINY
                if u < 0.0:
                    ahi[i] = p0 * u + NUDGE * abs(p0 * u) + TINY
            continue
        if code == CLIP:
            alo[i], ahi[i] = min(max(l, p0), p1), min(max(u, p0), p1)
            continue
        if code == SIN and u - l > 4.0 * math.pi:
            alo[i], ahi[i] = -1.0, 1.0
            continue
        lo, hi = max(l, -HUGE), min(u, HUGE)
        n = breakpoints(code, lo, hi, p0, p1, breaks)
        if n < 0:
            alo[i], ahi[i] = -1.0, 1.0
            continue
        for sign in (-1.0, 1.0):
            _, h = _highest(code, lo, hi, p0, p1, sign, 0.0, breaks, n)
            h += NUDGE * (abs(h) + min(1.0, max(abs(lo), abs(hi)))) + TINY
            if h > 1e200 and (lo > l or hi < u):
                h = math.inf
            if sign > 0.0:
                ahi[i] = h
            else:
                alo[i] = -h


@kernel(types.void(i8, readonly(1), readonly(1), readonly(2), writable(2)))
def fill_relaxation(code, lower, upper, parameters, out):
    """All that bounds need of an activation on [lower, upper]; see :func:`relax`."""
    fill_lines(code, lower, upper, parameters, out[0], out[1], out[2], out[3])
    fill_slope_range(code, lower, upper, parameters, out[4], out[5])
    fill_value_range(code, lower, upper, parameters, out[6], out[7])


def relax(code: int, lower: Floats, upper: Floats, parameters: Floats) -> Floats:
    """Lines, slope range and value range in one call: rows su, cu, sl, cl, glo, ghi, alo, ahi of float64 [8, n]."""
    out = np.empty((8, lower.shape[0]))
    fill_relaxation(code, lower, upper, parameters, out)
    return out


def lines(code: int, lower: Floats, upper: Floats, parameters: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Lines above and below each neuron's activation, valid in exact arithmetic on the whole interval.

    Parameters
    ----------
    code : int
    lower, upper : float64 [n]
        Pre-activation bounds; infinite ones are allowed.
    parameters : float64 [PARAMETER_ROWS, n]

    Returns
    -------
    su, cu, sl, cl : float64 [n]
        ``su z + cu >= s(z) >= sl z + cl`` for lower <= z <= upper. Source: CROWN (Zhang et al., NeurIPS 2018, section 3.2),
        generalised to any function with finitely many inflection points.
    """
    su, cu, sl, cl = (np.empty(lower.shape[0]) for _ in range(4))
    fill_lines(code, lower, upper, parameters, su, cu, sl, cl)
    return su, cu, sl, cl


def slope_range(code: int, lower: Floats, upper: Floats, parameters: Floats) -> tuple[Floats, Floats]:
    """Bounds of s' over [lower, upper], float64 [n] each; at a kink the Clarke interval."""
    glo, ghi = np.empty(lower.shape[0]), np.empty(lower.shape[0])
    fill_slope_range(code, lower, upper, parameters, glo, ghi)
    return glo, ghi


def value_range(code: int, lower: Floats, upper: Floats, parameters: Floats) -> tuple[Floats, Floats]:
    """Bounds of s over [lower, upper], float64 [n] each."""
    alo, ahi = np.empty(lower.shape[0]), np.empty(lower.shape[0])
    fill_value_range(code, lower, upper, parameters, alo, ahi)
    return alo, ahi
