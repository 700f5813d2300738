"""Bounds of neurons by small searches of their own: a neuron's row is bounded over both sides of some neurons before it.

What such a search proves holds over the whole region, so that every subproblem of the main search begins with it. Splits of
neurons near the input are worth most: their half-spaces are exact in the first group. Source: bounds of neurons refined by exact
programs before branch and bound (Singh et al., ICLR 2019, "Boosting robustness certification"); here by branch and bound itself.
"""

from __future__ import annotations

import math

import numpy as np

from distverify.kernels.activations import MAX_BREAKS
from distverify.kernels.clip import cut_minimum, outward
from distverify.kernels.jit import b1, f8, helper, i8, kernel_on_demand, readonly, void, writable
from distverify.kernels.lanes import LANES
from distverify.kernels.pull import pull_row
from distverify.kernels.relaxations import neuron_lines

# Neurons that both sides are tried of before one is split.
_CANDIDATES = 2
# A search ends where a quarter of its nodes gained less than this share of what is missing.
_LITTLE = 0.01


@helper
def _most_costly(w, n, top, decided, free, slope, cu, upper, lower, lowest, chosen):
    """The free, undecided neurons whose relaxation costs the pulled row ``w`` most, into ``chosen``; how many."""
    count = 0
    for c in range(chosen.shape[0]):
        best, where = 0.0, -1
        for i in range(top):
            if not free[i] or decided[i] != 0:
                continue
            taken = False
            for d in range(c):
                taken |= chosen[d] == i
            if taken:
                continue
            a = w[n + i]
            if a < 0.0:
                score = -a * cu[i]
            else:
                score = 0.5 * a * max((1.0 - slope[i]) * upper[i], -(slope[i] - lowest[i]) * lower[i])
            if score > best:
                best, where = score, i
        if where < 0:
            break
        chosen[c] = where
        count += 1
    return count


@kernel_on_demand(
    void(
        readonly(2), readonly(1, i8), readonly(1, i8), readonly(1), readonly(1), readonly(1, i8), readonly(2), readonly(1),
        f8, f8, readonly(1), readonly(1), readonly(1), readonly(1), readonly(1), readonly(1), readonly(1, b1),
        readonly(2), readonly(1), readonly(1), readonly(1, i8), f8, f8, b1, readonly(1), readonly(1), f8, i8, readonly(1, i8),
        readonly(1, i8), readonly(2), writable(1),
    )
)  # fmt: skip
def refine(
    weight, begins, ends, bias, loss, code, parameters, lowest, gamma, underflow, lower, upper, su, cu, sl, cl, free, half,
    offset, size, always, gamma_cut, norm, boxed, lo, hi, tiny, nodes, which, sides, slopes, out,
):  # fmt: skip
    """``out`` [R]: lower bounds of the pre-activations of ``which`` [R] where ``sides`` is 0, and of their negatives where it is 1.

    As large as a search of ``nodes`` subproblems makes them; one that is above 0 grows no further. ``half`` [S, n] with ``offset`` and
    ``size`` are the half-spaces of ``z_k <= 0`` at 2 k, of ``z_k >= 0`` at 2 k + 1, of the free neurons before; those at ``always`` hold
    everywhere. ``slopes`` [R, N] are of each row's lines below, where free. Only free neurons are split.
    """
    neurons = weight.shape[0]
    n = weight.shape[1] - neurons
    w, cut, trial, point = np.empty(n + neurons), np.empty(n), np.empty(n), np.empty(n)
    scratch, index = np.empty(neurons), np.empty(neurons, np.int64)
    lanes = np.empty((2, LANES))
    breaks = np.empty(MAX_BREAKS)
    own_su, own_cu, own_sl, own_cl = su.copy(), cu.copy(), sl.copy(), cl.copy()
    chosen = np.empty(_CANDIDATES, np.int64)
    gains = np.empty((_CANDIDATES, 2))
    shares = np.empty((_CANDIDATES, 2, half.shape[0]))
    most = nodes + 2
    bounds, decided = np.empty(most), np.zeros((most, neurons), np.int8)
    multipliers = np.zeros((most, half.shape[0]))
    b, active = np.empty(half.shape[0]), np.empty(half.shape[0], np.int64)
    held = always.shape[0]
    for k in range(held):
        active[k + 1] = always[k]
    for r in range(which.shape[0]):
        i, side = which[r], sides[r]
        sign = 1.0 if side == 0 else -1.0
        start, end = ends[i] - n, ends[i]
        count, spent = 1, 0
        bounds[0] = -math.inf
        decided[0] = 0
        multipliers[0] = 0.0
        shown, mark = -math.inf, max(4, nodes // 4)
        while True:
            worst = 0
            for k in range(1, count):
                if bounds[k] < bounds[worst]:
                    worst = k
            value = bounds[worst]
            if value > 0.0 or spent >= nodes:
                break
            if spent == mark:
                if value < shown + _LITTLE * abs(shown):
                    break
                shown, mark = value, mark + max(4, nodes // 4)
            # The subproblem's own row, once more: it tells what its lines cost.
            used = held
            for k in range(start):
                own_su[k], own_cu[k], own_cl[k] = su[k], cu[k], cl[k]
                own_sl[k] = slopes[r, k] if free[k] else sl[k]
                if decided[worst, k] != 0:
                    below = decided[worst, k] == 1
                    own_su[k], own_cu[k], own_sl[k], own_cl[k] = neuron_lines(
                        code[k], lower[k] if below else 0.0, 0.0 if below else upper[k], parameters[0, k], parameters[1, k],
                        breaks,
                    )  # fmt: skip
                    active[used + 1] = 2 * k + (0 if below else 1)
                    used += 1
            w[:] = 0.0
            for j in range(end):
                w[j] = sign * weight[i, j]
            total, _, lost = pull_row(
                weight, begins, ends, bias, loss, own_su, own_cu, own_sl, own_cl, gamma, underflow, start, w, scratch, index,
            )  # fmt: skip
            if spent == 0:
                total += sign * bias[i]
                lost += loss[i] + gamma * (abs(total) + abs(bias[i]))
                b[:] = 0.0
                value, lost = cut_minimum(
                    w[:n], total, lost, half, offset, size, b, active[1 : held + 1], 2, gamma_cut, norm, boxed, lo, hi, cut, trial,
                    point, lanes,
                )  # fmt: skip
                multipliers[0] = b
                bounds[0] = outward(value, lost, tiny)
                shown = bounds[0]
                if shown > 0.0:
                    break
            spent += 1
            found = _most_costly(w, n, start, decided[worst], free, own_sl, cu, upper, lower, lowest, chosen)
            if found == 0:
                break
            best, score = 0, -math.inf
            for c in range(found):
                k = chosen[c]
                keep_su, keep_cu, keep_sl, keep_cl = own_su[k], own_cu[k], own_sl[k], own_cl[k]
                for s in range(2):
                    own_su[k], own_cu[k], own_sl[k], own_cl[k] = neuron_lines(
                        code[k], lower[k] if s == 0 else 0.0, 0.0 if s == 0 else upper[k], parameters[0, k],
                        parameters[1, k], breaks,
                    )  # fmt: skip
                    w[:] = 0.0
                    for j in range(end):
                        w[j] = sign * weight[i, j]
                    total, _, lost = pull_row(
                        weight, begins, ends, bias, loss, own_su, own_cu, own_sl, own_cl, gamma, underflow, start, w, scratch,
                        index,
                    )  # fmt: skip
                    total += sign * bias[i]
                    lost += loss[i] + gamma * (abs(total) + abs(bias[i]))
                    b[:] = multipliers[worst]
                    active[0] = 2 * k + s
                    value, lost = cut_minimum(
                        w[:n], total, lost, half, offset, size, b, active[: used + 1], 2, gamma_cut, norm, boxed, lo, hi, cut,
                        trial, point, lanes,
                    )  # fmt: skip
                    gains[c, s] = max(outward(value, lost, tiny), bounds[worst])
                    shares[c, s] = b
                own_su[k], own_cu[k], own_sl[k], own_cl[k] = keep_su, keep_cu, keep_sl, keep_cl
                low, high = min(gains[c, 0], gains[c, 1]), max(gains[c, 0], gains[c, 1])
                rated = min(low, 0.0) + 0.1 * min(high, 0.0)
                if rated > score:
                    best, score = c, rated
            k = chosen[best]
            decided[count] = decided[worst]
            decided[count, k], decided[worst, k] = 2, 1
            bounds[count], bounds[worst] = gains[best, 1], gains[best, 0]
            multipliers[count], multipliers[worst] = shares[best, 1], shares[best, 0]
            count += 1
        out[r] = bounds[0]
        for k in range(1, count):
            out[r] = min(out[r], bounds[k])
