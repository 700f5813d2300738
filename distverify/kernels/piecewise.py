"""Lines, slope ranges and value ranges of a piecewise linear activation on an interval: its pieces are known exactly.

The helpers work on the pieces of one neuron, laid out in scratch memory by :func:`lay_out`.
What rounding may do: docs/ROUNDING.md, section 1.
"""

from __future__ import annotations

import math

from distverify.kernels.jit import helper
from distverify.kernels.rounding import LARGEST, NUDGE, TINY
from distverify.kernels.table import (
    MAX_TURNS,
    PIECE_INTERCEPT,
    PIECE_SLOPE,
    TURN,
    TURN_ERROR,
    TURNS,
    column,
    integer,
    number,
)

# Where things are in the scratch memory: turns, slopes, intercepts.
SLOPES, INTERCEPTS = MAX_TURNS, 2 * MAX_TURNS + 1


@helper
def lay_out(code, l, u, p0, p1, pieces):
    """Write the neuron's turns and pieces into ``pieces``; the first and the last piece that the open interval (l, u) meets,
    and those that its closure meets.
    """
    n, error = integer(code, TURNS), number(code, TURN_ERROR)
    first = last = near = far = 0
    for k in range(n):
        t = column(code, TURN + 2 * k, p0, p1)
        doubt = error * abs(t) if math.isfinite(t) else 0.0
        first += t + doubt <= l
        last += t - doubt < u
        near += t + doubt < l
        far += t - doubt <= u
        pieces[k] = t
    for k in range(n + 1):
        pieces[SLOPES + k] = column(code, PIECE_SLOPE + 2 * k, p0, p1)
        pieces[INTERCEPTS + k] = column(code, PIECE_INTERCEPT + 2 * k, p0, p1)
    return min(first, last), last, near, far


@helper
def _at(pieces, k, x):
    slope = pieces[SLOPES + k]
    return pieces[INTERCEPTS + k] if slope == 0.0 else slope * x + pieces[INTERCEPTS + k]


@helper
def piece_value_range(pieces, first, last, l, u):
    """Of the values on [l, u], which pieces ``first`` to ``last`` share."""
    lo, hi = math.inf, -math.inf
    for k in range(first, last + 2):
        x = l if k == first else (u if k > last else pieces[k - 1])
        # At a turn both pieces say the same; a constant one says it exactly.
        j = k if k == first or (k <= last and pieces[SLOPES + k] == 0.0) else k - 1
        slope, intercept = pieces[SLOPES + j], pieces[INTERCEPTS + j]
        v, doubt = _at(pieces, j, x), 0.0
        exact = slope == 0.0 or x == 0.0 or (abs(slope) == 1.0 and intercept == 0.0)
        if not exact and abs(v) <= LARGEST:
            doubt = NUDGE * (abs(slope * x) + abs(intercept)) + TINY
        # A value that overflows is past the largest number, not infinite.
        lo, hi = min(lo, min(v, LARGEST) - doubt), max(hi, max(v, -LARGEST) + doubt)
    return lo, hi


@helper
def around_kink(pieces, k, l, u, noise):
    """Lines around pieces k and k + 1, which share [l, u]: su, cu, sl, cl.

    The chord on the one side; on the other the piece of the midpoint, which gives the least area (for ReLU: slope 1 iff u > -l).
    """
    a, b = pieces[SLOPES + k], pieces[INTERCEPTS + k]
    c, d = pieces[SLOPES + k + 1], pieces[INTERCEPTS + k + 1]
    yl, yu = _at(pieces, k, l), _at(pieces, k + 1, u)
    slope = (yu - yl) / (u - l)
    # A chord is valid at both ends whatever its rounded slope: intercept from the worse end.
    nudge = NUDGE * (max(1.0, max(abs(a), abs(c))) * (abs(u) + abs(l)) + (abs(b) + abs(d) + noise)) + TINY
    convex = a < c
    outer = max(yu - slope * u, yl - slope * l) + nudge if convex else min(yu - slope * u, yl - slope * l) - nudge
    if not (math.isfinite(slope) and math.isfinite(outer)):
        slope, outer = 0.0, math.inf if convex else -math.inf
    inner, constant = (c, d) if u - pieces[k] > pieces[k] - l else (a, b)
    if convex:
        return slope, outer, inner, constant
    return inner, constant, slope, outer
