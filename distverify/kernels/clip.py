"""Minima of linear functions over a unit ball that half-spaces cut, from below, by coordinate ascent on the multipliers.

With half-spaces ``G t + h <= 0`` every b >= 0 gives min (v . t) >= b . h - support(v + G' b): D(b), where
support(v) = max -v . t. Any multipliers are sound,
however they came about; the last evaluation alone carries rounding terms. D is concave in each multiplier: a
line search by tangents from both sides finds its maximum. Source: complete clipping, Clip-and-Verify (NeurIPS 2025).

The ball is ``||t||_p <= 1``, p = inf, 2 or 1; norms 2 and 1 may be cut by a box [lo, hi] as well, in which the
support function is that of the smaller of both bounds (a penalty on the ball, as in ``support.py``).
"""

from __future__ import annotations

import math

import numpy as np

from distverify.kernels.jit import b1, f8, helper, i8, kernel_on_demand, readonly, void, writable
from distverify.kernels.lanes import LANES, abs_sum, fold

_STEPS = 12
_NEAR = 0.02


@helper
def _box_slope(v, g, b, lanes):
    """sum |v + b g| and its derivative in b (its right-hand one where entries vanish is near enough).

    ``lanes`` [2, LANES]: see :mod:`distverify.kernels.lanes`.
    """
    n = v.shape[0]
    sums, rates = lanes[0], lanes[1]
    sums[:] = 0.0
    rates[:] = 0.0
    whole = n - n % LANES
    for j in range(0, whole, LANES):
        part_v, part_g = v[j : j + LANES], g[j : j + LANES]
        for k in range(LANES):
            x = part_v[k] + b * part_g[k]
            sums[k] += abs(x)
            rates[k] += math.copysign(1.0, x) * part_g[k]
    for j in range(whole, n):
        x = v[j] + b * g[j]
        sums[j - whole] += abs(x)
        rates[j - whole] += math.copysign(1.0, x) * g[j]
    return fold(sums), fold(rates)


@helper
def _penalised(v, norm, lo, hi, largest, penalty, point):
    """Bound of max (-v . t) / largest over ball and box by a penalty on the ball; ``point`` gets minus the maximiser; its size."""
    total, size = (penalty if norm == 1.0 else 0.5 * penalty), 0.0
    for j in range(v.shape[0]):
        g = abs(v[j]) / largest
        room = -lo[j] if v[j] > 0.0 else hi[j]
        d = 0.0
        if norm == 1.0:
            if g > penalty:
                d = room
                total += (g - penalty) * d
                size += d
        else:
            d = min(g / penalty, room)
            total += d * (g - 0.5 * penalty * d)
            size += d * d
        point[j] = d if v[j] > 0.0 else -d
    return total, size


@helper
def support(v, norm, boxed, lo, hi, point, lanes):
    """An upper bound, up to rounding, of max -v . t over the region; ``point`` gets minus a maximiser (of that bound)."""
    n = v.shape[0]
    if norm == math.inf:
        for j in range(n):
            point[j] = 1.0 if v[j] > 0.0 else (-1.0 if v[j] < 0.0 else 0.0)
        return abs_sum(v, lanes)
    largest, where = 0.0, 0
    for j in range(n):
        point[j] = 0.0
        if abs(v[j]) > largest:
            largest, where = abs(v[j]), j
    if largest == 0.0:
        return 0.0
    free = 1.0
    if norm == 2.0:
        squares = 0.0
        for j in range(n):
            squares += (v[j] / largest) * (v[j] / largest)
        free = math.sqrt(squares)
    if not boxed:
        if norm == 2.0:
            for j in range(n):
                point[j] = (v[j] / largest) / free
        else:
            point[where] = 1.0 if v[where] > 0.0 else -1.0
        return largest * free
    # Every penalty gives a bound; bisect to where the maximiser just reaches the sphere.
    best = free
    below, above = 0.0, free
    value, size = _penalised(v, norm, lo, hi, largest, 1e-9 * free, point)
    best = min(best, value)
    if size > 1.0:
        for _ in range(50):
            penalty = 0.5 * (below + above)
            value, size = _penalised(v, norm, lo, hi, largest, penalty, point)
            best = min(best, value)
            if size > 1.0:
                below = penalty
            else:
                above = penalty
            if above - below <= 1e-10 * free:
                break
    return largest * best


@helper
def _rate(v, g, b, norm, boxed, lo, hi, trial, point, lanes):
    """support(v + b g) and its derivative in b; see :func:`support`."""
    if norm == math.inf:
        return _box_slope(v, g, b, lanes)
    for j in range(v.shape[0]):
        trial[j] = v[j] + b * g[j]
    value = support(trial, norm, boxed, lo, hi, point, lanes)
    slope = 0.0
    for j in range(v.shape[0]):
        slope += g[j] * point[j]
    return value, slope


@helper
def _search(v, g, h, size, start, norm, boxed, lo, hi, trial, point, lanes):
    """The b >= 0 that about maximises b h - support(v + b g); infinite where nothing stops it."""
    s0, d0 = _rate(v, g, 0.0, norm, boxed, lo, hi, trial, point, lanes)
    rise = h - d0
    if rise <= 0.0:
        return 0.0
    left, value_left, rise_left = 0.0, -s0, rise
    # A point to the right where D falls.
    right = start if start > 0.0 else s0 / max(1e-300, size)
    if right <= 0.0:
        right = 1e-6
    value_right, rise_right = 0.0, 1.0
    for k in range(60):
        s, d = _rate(v, g, right, norm, boxed, lo, hi, trial, point, lanes)
        value_right, rise_right = right * h - s, h - d
        if rise_right <= 0.0:
            break
        left, value_left, rise_left = right, value_right, rise_right
        right *= 4.0
        if k == 59:
            return math.inf
    for _ in range(_STEPS):
        if rise_right == 0.0:
            return right
        # Where the tangents meet: the maximum lies between, and is there for one breakpoint left.
        middle = (value_right - value_left + rise_left * left - rise_right * right) / (rise_left - rise_right)
        if not left < middle < right:
            break
        s, d = _rate(v, g, middle, norm, boxed, lo, hi, trial, point, lanes)
        value, r = middle * h - s, h - d
        bound = value_left + rise_left * (middle - left)
        if r > 0.0:
            left, value_left, rise_left = middle, value, r
        else:
            right, value_right, rise_right = middle, value, r
        best = max(value_left, value_right)
        # Near enough: what is left is little of what this multiplier brings (D is -s0 without it).
        if bound - best <= _NEAR * (best + s0):
            break
    value, b = (value_left, left) if value_left > value_right else (value_right, right)
    if boxed:
        # Of a ball that a box cuts, the support is only bounded, and its slopes are about right: nothing may get worse.
        if -s0 > value:
            value, b = -s0, 0.0
        if start > 0.0:
            s, d = _rate(v, g, start, norm, boxed, lo, hi, trial, point, lanes)
            if start * h - s > value:
                b = start
    return b


@helper
def outward(value, error, tiny):
    """``value`` less its error (grown by a thousandth, far more than its own rounding), by at least one unit in the last place."""
    low = value - 1.001 * error
    if tiny > 0.0:
        low -= abs(low) * 2.0**-52 + tiny
    return low if low == low else -math.inf


@helper
def cut_minimum(
    v, constant, error, half, offset, size, b, active, sweeps, gamma, norm, boxed, lo, hi, out, trial, point, lanes
):
    """A sound lower bound of constant + v . t over ball and half-spaces; multipliers ``b`` are improved by ``sweeps``.

    ``out`` gets v + G' b, ``point`` the minimiser's opposite (a maximiser of -(...)): the minimiser is -point.
    Returns inf where some half-space, with the others, misses the ball: there is no such point.

    Parameters
    ----------
    half, offset, size : G [S, n], h [S] and sum |G| [S]
    active : int64 [A]
        Which half-spaces take part in the sweeps.
    gamma : float
        Of sums of n + S + 8 terms.
    """
    n = v.shape[0]
    out[:] = v
    for k in range(active.shape[0]):
        s = active[k]
        if b[s] > 0.0:
            g, x = half[s], b[s]
            for j in range(n):
                out[j] += x * g[j]
    missed = False
    for _ in range(sweeps):
        moved = False
        for k in range(active.shape[0]):
            s = active[k]
            g, old = half[s], b[s]
            if old > 0.0:
                for j in range(n):
                    out[j] -= old * g[j]
            new = _search(out, g, offset[s], size[s], old, norm, boxed, lo, hi, trial, point, lanes)
            missed = new == math.inf
            if missed:
                # Only a finite multiplier proves anything; a large one leaves no doubt.
                new = 1e6 * (1.0 + abs_sum(out, lanes)) / max(1e-300, size[s])
            b[s] = new
            if new > 0.0:
                for j in range(n):
                    out[j] += new * g[j]
            if abs(new - old) > 1e-3 * new:
                moved = True
            if missed:
                break
        if not moved or missed:
            break
    # The evaluation that counts.
    out[:] = v
    magnitude, total = abs_sum(v, lanes) + abs(constant), constant
    for k in range(active.shape[0]):
        s = active[k]
        x = b[s]
        if x > 0.0:
            g = half[s]
            for j in range(n):
                out[j] += x * g[j]
            total += x * offset[s]
            magnitude += x * (size[s] + abs(offset[s]))
    top = support(out, norm, boxed, lo, hi, point, lanes)
    return total - top, error + gamma * (magnitude + top)


@kernel_on_demand(
    void(
        readonly(2), readonly(1), readonly(1), readonly(2), readonly(1), readonly(1), writable(2), readonly(1, i8), i8,
        f8, f8, b1, readonly(1), readonly(1), f8, writable(1),
    )
)  # fmt: skip
def cut_minima(
    rows, constant, error, half, offset, size, multipliers, active, sweeps, gamma, norm, boxed, lo, hi, tiny, out
):
    """Sound lower bounds of constant + rows . t over ball and half-spaces: float64 [R]; see :func:`cut_minimum`.

    ``multipliers`` [R, S] are where the ascent starts, and where it ended.
    """
    n = rows.shape[1]
    scratch, trial, point, lanes = np.empty(n), np.empty(n), np.empty(n), np.empty((2, LANES))
    for r in range(rows.shape[0]):
        value, lost = cut_minimum(
            rows[r], constant[r], error[r], half, offset, size, multipliers[r], active, sweeps, gamma, norm, boxed,
            lo, hi, scratch, trial, point, lanes,
        )  # fmt: skip
        out[r] = outward(value, lost, tiny)
