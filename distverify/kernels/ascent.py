"""Optimised slopes (alpha-CROWN) without automatic differentiation, and bounds of neurons under half-spaces, first groups first.

A lower bound of a row is concave in the slopes of the lines below that its positive coefficients take; a supergradient costs one
forward pass of the minimiser along the lines: d bound / d slope_j = max(A_j, 0) z_j. Every slope is sound, so every step's
bound carries its rounding terms and the best one is kept. Source: Xu et al., ICLR 2021 (arXiv 2011.13824).
"""

from __future__ import annotations

import math

import numpy as np

from distverify.kernels.activations import MAX_BREAKS
from distverify.kernels.clip import cut_minimum, outward
from distverify.kernels.jit import b1, f8, i8, kernel_on_demand, readonly, void, writable
from distverify.kernels.lanes import LANES
from distverify.kernels.pull import pull_row, push_row
from distverify.kernels.relaxations import neuron_lines

_DECAY = 0.98
_PATIENCE = 5


@kernel_on_demand(
    void(
        readonly(2), readonly(1, i8), readonly(1, i8), readonly(1), readonly(1), readonly(1), readonly(1), readonly(1), readonly(1),
        readonly(1, b1), readonly(1), f8, f8, readonly(1, i8), readonly(2), readonly(1), readonly(1), readonly(1),
        readonly(2), readonly(1), readonly(1), readonly(1, i8), i8, f8, f8, b1, readonly(1), readonly(1), f8, i8, f8,
        writable(2), writable(2), writable(1), writable(2), writable(2),
    )
)  # fmt: skip
def ascend(
    weight, begins, ends, bias, loss, su, cu, sl, cl, free, lowest, gamma, underflow, top, rows, constant, error, goal,
    half, offset, size, active, sweeps, gamma_cut, norm, boxed, lo, hi, tiny, steps, rate, alpha, multipliers, best, pulled, points,
):  # fmt: skip
    """Lower bounds of the rows [R, n + N] over ball and half-spaces, with slopes and multipliers improved in ``steps`` steps.

    ``alpha`` [R, N] and ``multipliers`` [R, S] are where the ascent starts and what gave the ``best`` [R] bounds. A row ends
    early once its bound is above ``goal`` [R], or gains no more. ``rate``: of Adam's first step; 0: steps in the direction of the
    supergradient, as long as a concave function that reaches the goal would need (Polyak). ``pulled`` [R, n + N] gets the row's
    coefficients at every neuron and, cut, at the inputs; ``points`` [R, n] the minimiser. Half-spaces: see :func:`cut_minimum`.
    """
    neurons = weight.shape[0]
    n = weight.shape[1] - neurons
    w, v, out, trial, point = np.empty(n + neurons), np.empty(n + neurons), np.empty(n), np.empty(n), np.empty(n)
    z, slope, tried = np.zeros(neurons), np.empty(neurons), np.empty(neurons)
    first, second = np.empty(neurons), np.empty(neurons)
    scratch, index = np.empty(neurons), np.empty(neurons, np.int64)
    lanes = np.empty((2, LANES))
    b = np.empty(offset.shape[0])
    for r in range(rows.shape[0]):
        tried[:] = alpha[r]
        first[:] = 0.0
        second[:] = 0.0
        b[:] = multipliers[r]
        best[r] = -math.inf
        shown, since, beta1, beta2 = -math.inf, 0, 1.0, 1.0
        pace = rate
        for step in range(steps + 1):
            for i in range(top[r]):
                slope[i] = tried[i] if free[i] else sl[i]
            w[:] = rows[r]
            total, _, lost = pull_row(
                weight, begins, ends, bias, loss, su, cu, slope, cl, gamma, underflow, top[r], w, scratch, index
            )
            lost += error[r] + gamma * (abs(total) + abs(constant[r]))
            value, lost = cut_minimum(
                w[:n], constant[r] + total, lost, half, offset, size, b, active, sweeps if step == 0 else 1,
                gamma_cut, norm, boxed, lo, hi, out, trial, point, lanes,
            )  # fmt: skip
            value = outward(value, lost, tiny)
            if value > best[r] or step == 0:
                best[r] = value
                alpha[r] = tried
                multipliers[r] = b
                pulled[r, :n] = out
                pulled[r, n:] = w[n:]
                for j in range(n):
                    points[r, j] = -point[j]
            if best[r] > goal[r] or step == steps:
                break
            if value > shown + 1e-3 * abs(shown) or step == 0:
                shown, since = value, 0
            else:
                since += 1
                if since >= _PATIENCE:
                    break
            for j in range(n):
                v[j] = -point[j]
            push_row(weight, begins, ends, bias, su, cu, slope, cl, top[r], w, v, z, lanes)
            if rate == 0.0:
                squares = 0.0
                for i in range(top[r]):
                    if free[i] and w[n + i] > 0.0:
                        squares += (w[n + i] * z[i]) ** 2
                length = (goal[r] - value) / max(squares, 1e-300)
                for i in range(top[r]):
                    if free[i] and w[n + i] > 0.0:
                        tried[i] = min(1.0, max(lowest[i], tried[i] + length * w[n + i] * z[i]))
                continue
            beta1 *= 0.9
            beta2 *= 0.999
            for i in range(top[r]):
                if not free[i]:
                    continue
                gradient = w[n + i] * z[i] if w[n + i] > 0.0 else 0.0
                first[i] = 0.9 * first[i] + 0.1 * gradient
                second[i] = 0.999 * second[i] + 0.001 * gradient * gradient
                if second[i] > 0.0:
                    tried[i] += pace * (first[i] / (1.0 - beta1)) / (math.sqrt(second[i] / (1.0 - beta2)) + 1e-12)
                    tried[i] = min(1.0, max(lowest[i], tried[i]))
            pace *= _DECAY


@kernel_on_demand(
    i8(
        readonly(2), readonly(1, i8), readonly(1, i8), readonly(1), readonly(1), readonly(1, i8), readonly(2), readonly(1, b1), f8, f8,
        readonly(3), readonly(1, b1), readonly(2), readonly(1), readonly(1), readonly(1, i8), i8, f8, f8, b1,
        readonly(1), readonly(1), f8, writable(1), writable(1), writable(1), writable(1), writable(1), writable(1),
        writable(1, b1),
    )
)  # fmt: skip
def tighten(
    weight, begins, ends, bias, loss, code, parameters, optional, gamma, underflow, alpha, chosen, half, offset, size, active,
    sweeps, gamma_cut, norm, boxed, lo, hi, tiny, lower, upper, su, cu, sl, cl, free,
):  # fmt: skip
    """Bound the ``chosen`` [N] neurons anew over ball and half-spaces, group by group, with the lines that follow.

    ``lower``, ``upper`` and all lines are improved in place. ``alpha`` [2, N or 1, N] are the slopes of each neuron's lower and
    upper bound, where ``free``; ``optional`` [N] says whose slopes are free while their sign is open.
    Returns the number of bounds that moved, or -1 where some crossed: no point has such pre-activations.
    """
    neurons = weight.shape[0]
    n = weight.shape[1] - neurons
    w, out, trial, point = np.empty(n + neurons), np.empty(n), np.empty(n), np.empty(n)
    scratch, index = np.empty(neurons), np.empty(neurons, np.int64)
    lanes = np.empty((2, LANES))
    slope = np.empty(neurons)
    b = np.empty(offset.shape[0])
    breaks = np.empty(MAX_BREAKS)
    moved = 0
    start = 0
    while start < neurons:
        stop = start
        while stop < neurons and ends[stop] == ends[start]:
            stop += 1
        end = ends[start]
        for i in range(start, stop):
            if not chosen[i]:
                continue
            for side in range(2):
                sign = 1.0 if side == 0 else -1.0
                for j in range(end):
                    w[j] = sign * weight[i, j]
                for k in range(start):
                    slope[k] = alpha[side, i if alpha.shape[1] > 1 else 0, k] if free[k] else sl[k]
                total, _magnitude, lost = pull_row(
                    weight, begins, ends, bias, loss, su, cu, slope, cl, gamma, underflow, start, w, scratch, index
                )
                total += sign * bias[i]
                lost += loss[i] + gamma * (abs(total) + abs(bias[i]))
                b[:] = 0.0
                value, lost = cut_minimum(
                    w[:n], total, lost, half, offset, size, b, active, sweeps, gamma_cut, norm, boxed, lo, hi,
                    out, trial, point, lanes,
                )  # fmt: skip
                value = outward(value, lost, tiny)
                if side == 0 and value > lower[i]:
                    lower[i] = value
                    moved += 1
                elif side == 1 and -value < upper[i]:
                    upper[i] = -value
                    moved += 1
            if lower[i] > upper[i]:
                return -1
            su[i], cu[i], sl[i], cl[i] = neuron_lines(
                code[i], lower[i], upper[i], parameters[0, i], parameters[1, i], breaks
            )
            free[i] = optional[i] and lower[i] < 0.0 < upper[i]
        start = stop
    return moved
