"""What bounds need of an activation on an interval: lines above and below, the range of its slope, the range of its values.

Derived from the activation table by general rules: between two breakpoints the slope is monotone, so the function is convex or
concave there, and every extremum can be bracketed. What rounding may do: docs/ROUNDING.md, section 1.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from distverify.kernels.activations import MAX_BREAKS, breakpoints
from distverify.kernels.jit import helper, i8, kernel, readonly, void, writable
from distverify.kernels.piecewise import INTERCEPTS, SLOPES, around_kink, lay_out, piece_value_range
from distverify.kernels.rounding import HUGE, LARGEST, NUDGE, TINY
from distverify.kernels.table import (
    ABOVE,
    BELOW,
    DOMAIN_HIGH,
    DOMAIN_LOW,
    DRIFT,
    FLATTEST,
    MIRRORED,
    NOISE,
    NOISE_FAR,
    PIECES,
    ROWS,
    SLOPE_NOISE,
    SLOPE_NOISE_FAR,
    SMALL_ARGUMENTS,
    STEEPEST,
    STEPS,
    column,
    integer,
    number,
    slope_at,
    value,
)

Floats = NDArray[np.float64]

# In single precision: roundings of a piece, with its parameters; of other functions.
_SINGLE_PIECES, _SINGLE_CURVES = 4.0 * 2.0**-24, 16.0 * 2.0**-24
_FARTHEST_IN_SINGLE = 1e12


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
def highest(code, l, u, p0, p1, sign, slope, breaks, n):
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
        if fa > 0.0 > fb:
            x, h = _tangent_gap(code, p0, p1, sign, slope, a, b, fa, fb)
            if h > best:
                best_x, best = x, h
        a = b
    return best_x, best


@helper
def _support_slope(code, l, u, p0, p1, sign, m, breaks, n):
    """Slope of the line that touches the concave hull of sign s on [l, u] at ``m``; at the midpoint it is the line of least area.

    For S-shaped functions the tangent or the secant of CROWN, with the tangent point at ``m`` where the hull is curved there.
    """
    slope = slope_at(code, m, 1 if m < u else -1, p0, p1)
    if not math.isfinite(slope):
        slope = 0.0
    scale = abs(value(code, l, p0, p1)) + abs(value(code, u, p0, p1)) + abs(slope) * (abs(l) + abs(u))
    x, h = highest(code, l, u, p0, p1, sign, slope, breaks, n)
    if h - sign * (value(code, m, p0, p1) - slope * m) <= 1e-14 * scale:
        return slope
    xl, xr = l, u
    for _ in range(60):
        yl = value(code, xl, p0, p1)
        slope = (value(code, xr, p0, p1) - yl) / (xr - xl)
        x, h = highest(code, l, u, p0, p1, sign, slope, breaks, n)
        gain = h - sign * (yl - slope * xl)
        if gain <= 1e-13 * scale or x == xl or x == xr:
            break
        if x < m:
            xl = x
        else:
            xr = x
        if xr - xl <= 1e-9 * (abs(xl) + abs(xr)):
            break
    return slope if math.isfinite(slope) else 0.0


@helper
def _line(code, l, u, p0, p1, sign, breaks, n):
    """A line ``slope x + intercept`` with sign (line - s) >= 0 on [l, u] in exact arithmetic."""
    lo, hi = max(l, -HUGE), min(u, HUGE)
    if n < 0:
        return number(code, DRIFT), number(code, ABOVE) if sign > 0.0 else number(code, BELOW)
    far = max(abs(lo), abs(hi))
    noise = column(code, NOISE, p0, p1) + column(code, NOISE_FAR, p0, p1) * far
    if lo > l or hi < u:
        # Unbounded: a constant, an infinite one where the function is itself unbounded.
        _, h = highest(code, lo, hi, p0, p1, sign, 0.0, breaks, n)
        if h > 1e200:
            return 0.0, sign * math.inf
        return 0.0, sign * (h + NUDGE * (abs(h) + 1.0 + noise))
    slope = _support_slope(code, l, u, p0, p1, sign, l + 0.5 * (u - l), breaks, n)
    return slope, _intercept(code, l, u, p0, p1, sign, slope, breaks, n)


@helper
def _intercept(code, l, u, p0, p1, sign, slope, breaks, n):
    """The intercept of a line of that slope, whatever it is, with sign (line - s) >= 0 on the bounded [l, u] in exact arithmetic."""
    far = max(abs(l), abs(u))
    noise = column(code, NOISE, p0, p1) + column(code, NOISE_FAR, p0, p1) * far
    x, h = highest(code, l, u, p0, p1, sign, slope, breaks, n)
    magnitude = max(abs(value(code, x, p0, p1)) + abs(slope * x), max(abs(slope * l) + abs(slope * u), abs(h))) + max(
        abs(value(code, l, p0, p1)), abs(value(code, u, p0, p1))
    )
    return sign * (h + NUDGE * (magnitude + number(code, SMALL_ARGUMENTS) * min(1.0, far) + noise) + TINY)


@helper
def fan_of_lines(code, l, u, p0, p1, sign, scratch, slopes, cuts):
    """Lines with sign (line - s) >= 0 on [l, u] that touch the function's hull at evenly spaced points: ``slopes``, ``cuts`` [K].

    Around one kink they are the pieces on either side, and lines between them. Where there are no such lines both arrays stay as they are.
    """
    last = slopes.shape[0] - 1
    if integer(code, STEPS) > 0 or l < -HUGE or u > HUGE:
        return
    if integer(code, PIECES) > 0:
        first, end, _, _ = lay_out(code, l, u, p0, p1, scratch)
        if end == first + 1:
            a, b, c, d = (
                scratch[SLOPES + first],
                scratch[INTERCEPTS + first],
                scratch[SLOPES + end],
                scratch[INTERCEPTS + end],
            )
            if (a < c) == (sign < 0.0):
                for k in range(last + 1):
                    w = k / last
                    missed = NUDGE * (max(abs(a), abs(c)) * max(abs(l), abs(u)) + abs(b) + abs(d)) + TINY
                    slopes[k] = (1.0 - w) * a + w * c
                    cuts[k] = (1.0 - w) * b + w * d + (sign * missed if 0 < k < last else 0.0)
            return
    n = turns(code, l, u, p0, p1, scratch)
    if n < 0:
        return
    for k in range(last, -1, -1):
        m = u if k == last else l + (u - l) * (k / last)
        slope = _support_slope(code, l, u, p0, p1, sign, m, scratch, n)
        slopes[k], cuts[k] = slope, _intercept(code, l, u, p0, p1, sign, slope, scratch, n)
        if k == last:
            # The hull is one line where it is as steep at both ends.
            other = _support_slope(code, l, u, p0, p1, sign, l, scratch, n)
            if abs(other - slope) <= 1e-12 * abs(slope):
                for i in range(last):
                    slopes[i], cuts[i] = slopes[last], cuts[last]
                return


@helper
def turns(code, l, u, p0, p1, scratch):
    """The breakpoints inside (l, u) and their number, or -1 where [l, u] is not within the function's domain."""
    if integer(code, STEPS) > 0:
        return -1
    low, high = column(code, DOMAIN_LOW, p0, p1), column(code, DOMAIN_HIGH, p0, p1)
    inside = low <= l and u <= high
    if integer(code, MIRRORED) > 0:
        inside |= low <= -u and -l <= high
    return breakpoints(code, max(l, -HUGE), min(u, HUGE), p0, p1, scratch) if inside else -1


@helper
def _stepped_lines(code, l, u, p0, p1):
    """Lines above and below a function that is constant between jumps upwards: exact."""
    first, last = value(code, l, p0, p1), value(code, u, p0, p1)
    drift, below, above = number(code, DRIFT), number(code, BELOW), number(code, ABOVE)
    if drift != 0.0 and last - first > above - below:
        return drift, above, drift, below
    return 0.0, last, 0.0, first


@helper
def _stepped_ranges(code, l, u, p0, p1):
    """Ranges of slope and value; at a jump the slope is unbounded."""
    first, last = value(code, l, p0, p1), value(code, u, p0, p1)
    jumps = value(code, np.nextafter(l, -np.inf), p0, p1) != value(code, np.nextafter(u, np.inf), p0, p1)
    return 0.0, math.inf if jumps else 0.0, first, last


@helper
def neuron_lines(code, l, u, p0, p1, scratch):
    """Lines above and below one neuron's activation on [l, u]: su, cu, sl, cl; ``scratch`` float64 [MAX_BREAKS]."""
    if integer(code, PIECES) > 0:
        first, last, _, _ = lay_out(code, l, u, p0, p1, scratch)
        a, b = scratch[SLOPES + first], scratch[INTERCEPTS + first]
        straight = True
        for k in range(first + 1, last + 1):
            straight &= scratch[SLOPES + k] == a and scratch[INTERCEPTS + k] == b
        if straight:
            return a, b, a, b
        if last == first + 1 and -HUGE <= l and u <= HUGE:
            return around_kink(scratch, first, l, u, column(code, NOISE, p0, p1))
    if integer(code, STEPS) > 0:
        return _stepped_lines(code, l, u, p0, p1)
    n = turns(code, l, u, p0, p1, scratch)
    su, cu = _line(code, l, u, p0, p1, 1.0, scratch, n)
    sl, cl = _line(code, l, u, p0, p1, -1.0, scratch, n)
    return su, cu, sl, cl


@helper
def _neuron_ranges(code, l, u, p0, p1, scratch):
    """Ranges of one neuron's derivative and of its value over [l, u]: glo, ghi, alo, ahi."""
    glo, ghi = math.inf, -math.inf
    if integer(code, PIECES) > 0:
        first, last, near, far = lay_out(code, l, u, p0, p1, scratch)
        for k in range(near, far + 1):
            glo, ghi = min(glo, scratch[SLOPES + k]), max(ghi, scratch[SLOPES + k])
        alo, ahi = piece_value_range(scratch, first, last, l, u)
        return glo, ghi, alo, ahi
    if integer(code, STEPS) > 0:
        return _stepped_ranges(code, l, u, p0, p1)
    lo, hi = max(l, -HUGE), min(u, HUGE)
    n = turns(code, l, u, p0, p1, scratch)
    if n < 0:
        drift = number(code, DRIFT)
        at_l, at_u = (drift * l, drift * u) if drift != 0.0 else (0.0, 0.0)
        nudge = NUDGE * max(abs(at_l), abs(at_u))
        alo, ahi = min(at_l, at_u) + number(code, BELOW) - nudge, max(at_l, at_u) + number(code, ABOVE) + nudge
        return number(code, FLATTEST), number(code, STEEPEST), alo, ahi
    for k in range(-1, n + 1):
        x = lo if k < 0 else (scratch[k] if k < n else hi)
        for side in range(-1, 2, 2):
            g = slope_at(code, x, side, p0, p1)
            # A slope that overflows is past the largest number, not infinite.
            glo, ghi = min(glo, min(g, LARGEST)), max(ghi, max(g, -LARGEST))
    far = max(abs(lo), abs(hi))
    nudge = NUDGE * (column(code, SLOPE_NOISE, p0, p1) + column(code, SLOPE_NOISE_FAR, p0, p1) * far)
    glo -= NUDGE * abs(glo) + nudge + TINY
    ghi += NUDGE * abs(ghi) + nudge + TINY
    # Never past what is known for the whole line.
    glo, ghi = max(glo, number(code, FLATTEST)), min(ghi, number(code, STEEPEST))
    noise = (
        number(code, SMALL_ARGUMENTS) * min(1.0, far)
        + column(code, NOISE, p0, p1)
        + column(code, NOISE_FAR, p0, p1) * far
    )
    alo = ahi = 0.0
    for sign in range(-1, 2, 2):
        _, h = highest(code, lo, hi, p0, p1, float(sign), 0.0, scratch, n)
        h += NUDGE * (abs(h) + noise) + TINY
        if h > 1e200 and (lo > l or hi < u):
            h = math.inf
        if sign > 0:
            ahi = h
        else:
            alo = -h
    if number(code, DRIFT) == 0.0:
        alo, ahi = max(alo, number(code, BELOW)), min(ahi, number(code, ABOVE))
    return glo, ghi, alo, ahi


@kernel(void(i8, readonly(1), readonly(1), readonly(2), writable(2)))
def fill_relaxation(code, lower, upper, parameters, out):
    """All that bounds need of an activation on [lower, upper]; see :func:`relax`."""
    scratch = np.empty(MAX_BREAKS)
    for i in range(lower.shape[0]):
        l, u, p0, p1 = lower[i], upper[i], parameters[0, i], parameters[1, i]
        out[0, i], out[1, i], out[2, i], out[3, i] = neuron_lines(code, l, u, p0, p1, scratch)
        out[4, i], out[5, i], out[6, i], out[7, i] = _neuron_ranges(code, l, u, p0, p1, scratch)


def relax(code: int, lower: Floats, upper: Floats, parameters: Floats) -> Floats:
    """Lines, slope range and value range in one call: rows su, cu, sl, cl, glo, ghi, alo, ahi of float64 [8, n]."""
    out = np.empty((8, lower.shape[0]))
    fill_relaxation(code, lower, upper, parameters, out)
    return out


@kernel(void(i8, readonly(1), readonly(2), writable(1)))
def _fill_noise(code, far, parameters, out):
    for i in range(far.shape[0]):
        p0, p1 = parameters[0, i], parameters[1, i]
        out[i] = column(code, NOISE, p0, p1) + column(code, NOISE_FAR, p0, p1) * far[i]


def evaluation_noise(code: int, lower: Floats, upper: Floats, parameters: Floats, relaxed: Floats) -> Floats:
    """What evaluating s in single precision, by a runtime's own formula, may be off over [lower, upper]: float64 [n].

    Pieces whose slopes are 0 or 1 (-1) are exact, up to their ends. Of other functions a runtime's formula is trusted to 16 units of
    the magnitudes that enter it, as its own is in double precision; see docs/ROUNDING.md, section 6.

    Parameters
    ----------
    relaxed : float64 [8, n]
        See :func:`relax`.
    """
    glo, ghi, alo, ahi = relaxed[4:]
    far = np.maximum(np.abs(lower), np.abs(upper))
    steepest, size = np.maximum(np.abs(glo), np.abs(ghi)), np.maximum(np.abs(alo), np.abs(ahi))
    noise = np.empty(far.shape[0])
    _fill_noise(code, far, parameters, noise)
    if ROWS[code, PIECES] > 0:
        exact = (np.rint(glo) == glo) & (np.rint(ghi) == ghi) & (steepest <= 1.0)
        exact &= (parameters == parameters.astype(np.float32)).all(axis=0) & (noise == 0.0)
        return np.where(exact, 0.0, _SINGLE_PIECES * (size + noise))
    own = _SINGLE_CURVES * (size + steepest * far + np.minimum(1.0, far) + noise) + 2.0**-24 * far
    # Powers of the argument may overflow on the way.
    return np.where(far < _FARTHEST_IN_SINGLE, own, np.inf)


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
    su, cu, sl, cl = relax(code, lower, upper, parameters)[:4]
    return su, cu, sl, cl


def slope_range(code: int, lower: Floats, upper: Floats, parameters: Floats) -> tuple[Floats, Floats]:
    """Bounds of s' over [lower, upper], float64 [n] each; at a kink the Clarke interval."""
    glo, ghi = relax(code, lower, upper, parameters)[4:6]
    return glo, ghi


def value_range(code: int, lower: Floats, upper: Floats, parameters: Floats) -> tuple[Floats, Floats]:
    """Bounds of s over [lower, upper], float64 [n] each."""
    alo, ahi = relax(code, lower, upper, parameters)[6:]
    return alo, ahi
