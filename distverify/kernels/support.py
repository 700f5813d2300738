"""Support functions: the largest value of linear functions over a norm ball, optionally intersected with a box.

With a box, the maximum over the ball's l1 or l2 norm is bounded by Lagrange duality: every multiplier gives an upper bound
(weak duality), so rounding in the search for the best one costs tightness only, never soundness.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from distverify.kernels.jit import b1, f8, helper, i8, kernel, readonly, writable

Floats = NDArray[np.float64]


@helper
def _dual_l1(a, sign, x0, eps, lo, hi, penalty):
    """penalty * eps + sum_i max over box of (a_i d - penalty |d|), and the l1 norm of a maximiser."""
    total, norm = penalty * eps, 0.0
    for i in range(a.shape[0]):
        g = sign * a[i]
        room = (hi[i] - x0[i]) if g > 0.0 else (x0[i] - lo[i])
        room = min(room, eps)
        excess = abs(g) - penalty
        if excess > 0.0:
            total += excess * room
            norm += room
    return total, norm


@helper
def _dual_l2(a, sign, x0, eps, lo, hi, penalty):
    """penalty eps^2 / 2 + sum_i max over box of (a_i d - penalty d^2 / 2), and the squared l2 norm of a maximiser."""
    total, norm = 0.5 * penalty * eps * eps, 0.0
    for i in range(a.shape[0]):
        g = sign * a[i]
        room = (hi[i] - x0[i]) if g > 0.0 else (x0[i] - lo[i])
        d = min(abs(g) / penalty, min(room, eps))
        total += d * (abs(g) - 0.5 * penalty * d)
        norm += d * d
    return total, norm


@helper
def _offset_in_ball(a, sign, x0, eps, norm, lo, hi, clipped):
    """Upper bound (up to rounding) of max sign a.d over the ball of radius eps around 0, with x0 + d in [lo, hi]."""
    n = a.shape[0]
    largest, squares = 0.0, 0.0
    for i in range(n):
        largest = max(largest, abs(a[i]))
        squares += a[i] * a[i]
    if largest == 0.0 or eps == 0.0:
        return 0.0
    if norm == 1.0:
        free = eps * largest
        if not clipped:
            return free
        # The best penalty is a breakpoint |a_i|: bisect on it, keeping the best bound seen.
        best = free
        below, above = 0.0, largest
        for _ in range(60):
            penalty = 0.5 * (below + above)
            value, used = _dual_l1(a, sign, x0, eps, lo, hi, penalty)
            best = min(best, value)
            if used > eps:
                below = penalty
            else:
                above = penalty
        return min(best, _dual_l1(a, sign, x0, eps, lo, hi, 0.0)[0])
    if squares < 1e-290 or squares > 1e290:
        # Out of the range where squares are accurate: scale by the largest entry.
        squares = 0.0
        for i in range(n):
            squares += (a[i] / largest) * (a[i] / largest)
        free = eps * largest * math.sqrt(squares)
    else:
        free = eps * math.sqrt(squares)
    if not clipped or not (1e-140 < largest < 1e140) or not (1e-140 < eps < 1e140):
        return free
    best = free
    above = free / eps / eps
    below = above * 1e-12
    for _ in range(50):
        penalty = math.sqrt(below * above)
        value, used = _dual_l2(a, sign, x0, eps, lo, hi, penalty)
        best = min(best, value)
        if used > eps * eps:
            below = penalty
        else:
            above = penalty
    return best


@kernel(
    types.void(readonly(2), i8, readonly(1), f8, f8, readonly(1), readonly(1), b1, f8, writable(1), writable(1))
)
def fill_support(rows, half, x0, eps, norm, lo, hi, clipped, gamma, constant, error):
    """Add to ``constant`` the maximum of each row over the region (rows from ``half`` on: the minimum); bound the rounding.

    ``lo``, ``hi`` are the outward-rounded box around the region. ``error`` grows by gamma times the sum of magnitudes.
    """
    for r in range(rows.shape[0]):
        sign = 1.0 if r < half else -1.0
        total, magnitude = 0.0, 0.0
        a = rows[r]
        if norm == np.inf:
            for i in range(a.shape[0]):
                v = a[i]
                total += v * (hi[i] if sign * v > 0.0 else lo[i])
                magnitude += abs(v) * max(abs(lo[i]), abs(hi[i]))
            constant[r] += total
        else:
            for i in range(a.shape[0]):
                total += a[i] * x0[i]
                magnitude += abs(a[i]) * abs(x0[i])
            offset = _offset_in_ball(a, sign, x0, eps, norm, lo, hi, clipped)
            magnitude += offset
            constant[r] += total + sign * offset
        error[r] += gamma * (magnitude + abs(constant[r]))
