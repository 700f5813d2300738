"""Support functions: the largest value of linear functions over a norm ball, optionally intersected with a box.

With a box, the maximum over an l1 or l2 ball is bounded by Lagrange duality: every multiplier gives an upper bound (weak
duality), so rounding in the search for the best one costs tightness only, never soundness.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from distverify.kernels.jit import b1, f8, for_both, helper, i8, kernel, readonly, void, writable

Floats = NDArray[np.float64]


@helper
def _room(a, sign, i, x0, lo, hi):
    """How far coordinate i can go in the direction that helps, within the box."""
    return (hi[i] - x0[i]) if sign * a[i] > 0.0 else (x0[i] - lo[i])


@helper
def _dual(a, sign, x0, eps, norm, lo, hi, largest, penalty):
    """The dual bound of max sign a.d / (largest eps) for ||d||_p <= eps and d in the box, and the maximiser's size.

    In units of eps and of the largest coefficient, so that no square leaves the range of doubles. Norm 1:
    penalty + sum_i max (a_i d_i - penalty |d_i|), size the l1 norm; norm 2: penalty / 2 + sum_i max (a_i d_i - penalty d_i^2 / 2),
    size the squared l2 norm; both at most 1 where the ball allows the maximiser.
    """
    total, size = (penalty if norm == 1.0 else 0.5 * penalty), 0.0
    for i in range(a.shape[0]):
        g = abs(a[i]) / largest
        room = min(_room(a, sign, i, x0, lo, hi) / eps, 1.0)
        if norm == 1.0:
            if g > penalty:
                total += (g - penalty) * room
                size += room
        else:
            d = min(g / penalty, room)
            total += d * (g - 0.5 * penalty * d)
            size += d * d
    return total, size


@helper
def _offset_in_ball(a, sign, x0, eps, norm, lo, hi, clipped):
    """Upper bound (up to rounding) of max sign a.d over the ball of radius eps around 0, with x0 + d in [lo, hi]."""
    n = a.shape[0]
    largest = 0.0
    for i in range(n):
        largest = max(largest, abs(a[i]))
    if largest == 0.0 or eps == 0.0:
        return 0.0
    # Without the box: eps ||a||_q. Without the ball: every coordinate at its end.
    free, boxed, farthest = 1.0, 0.0, 0.0
    if norm == 2.0:
        squares = 0.0
        for i in range(n):
            squares += (a[i] / largest) * (a[i] / largest)
        free = math.sqrt(squares)
    best = eps * largest * free
    if not clipped:
        return best
    for i in range(n):
        if a[i] != 0.0:
            room = _room(a, sign, i, x0, lo, hi)
            boxed += abs(a[i]) * room
            farthest = max(farthest, room)
    best = min(best, boxed)
    if farthest * n <= eps or not eps < math.inf:
        return best
    # Every penalty gives a bound; bisect on the logarithm to where the maximiser just reaches the sphere.
    below, above = 1e-12 * free, free
    for _ in range(60):
        penalty = math.sqrt(below * above)
        value, size = _dual(a, sign, x0, eps, norm, lo, hi, largest, penalty)
        best = min(best, eps * largest * value)
        if size > 1.0:
            below = penalty
        else:
            above = penalty
        if above <= below * (1.0 + 1e-13):
            break
    return best


@kernel(
    *for_both(lambda f: void(
        readonly(2, f), i8, readonly(1), f8, f8, readonly(1), readonly(1), b1, f8, writable(1), writable(1)
    ))
)  # fmt: skip
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
