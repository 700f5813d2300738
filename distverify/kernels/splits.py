"""Candidates for a split: what both children's bounds of a row would be, by one pull and one clip each."""

from __future__ import annotations

import numpy as np

from distverify.kernels.activations import MAX_BREAKS
from distverify.kernels.clip import cut_minimum, outward
from distverify.kernels.jit import b1, f8, i8, kernel_on_demand, readonly, void, writable
from distverify.kernels.lanes import LANES, abs_sum
from distverify.kernels.pull import pull_row
from distverify.kernels.relaxations import neuron_lines


@kernel_on_demand(
    void(
        readonly(2), readonly(1, i8), readonly(1, i8), readonly(1), readonly(1), readonly(1, i8), readonly(2), readonly(1),
        readonly(1), readonly(1), readonly(1), readonly(1), readonly(1), readonly(1, b1), readonly(3), f8, f8, readonly(1),
        f8, f8, i8, readonly(1), readonly(1), writable(2), writable(1), writable(1), readonly(1), readonly(1, i8), i8, f8, f8,
        b1, readonly(1), readonly(1), f8, readonly(1, i8), readonly(1), writable(2), writable(3),
    )
)  # fmt: skip
def try_splits(
    weight, begins, ends, bias, loss, code, parameters, lower, upper, su, cu, sl, cl, free, alpha, gamma, underflow, row,
    constant, error, top, slopes, coefficients, half, offset, size, multipliers, active, sweeps, gamma_cut, norm, boxed,
    lo, hi, tiny, neurons, at, out, blended,
):  # fmt: skip
    """``out`` [C, 2]: lower bounds of ``row`` with candidate c's pre-activation at most, and at least, ``at`` [C].

    ``slopes`` [N] are the row's own where ``free``, ``alpha`` [2, N or 1, N] those of every neuron's lower and upper bound, and
    ``coefficients`` [N] the pulled row's. The last half-space's place in ``half`` [S, n] is free: it gets the candidate's.

    Where a side makes the neuron's line steeper, the row begins to depend on what is before the neuron, for which its slopes
    were not chosen: ``blended`` [C, 2, N] are means of the row's and the neuron's own, by their coefficients, so that the
    bound is not below the sum of both.
    """
    count = weight.shape[0]
    n = weight.shape[1] - count
    w, cut, trial, point = np.empty(n + count), np.empty(n), np.empty(n), np.empty(n)
    own = np.empty((2, count))
    scratch, index = np.empty(count), np.empty(count, np.int64)
    lanes = np.empty((2, LANES))
    own_su, own_cu, own_sl, own_cl = su.copy(), cu.copy(), sl.copy(), cl.copy()
    slope = np.empty(count)
    breaks = np.empty(MAX_BREAKS)
    newest = offset.shape[0] - 1
    b = np.empty(offset.shape[0])
    used = np.empty(active.shape[0] + 1, np.int64)
    used[0] = newest
    used[1:] = active
    cuts, shifts = np.empty((2, n)), np.empty(2)
    for c in range(neurons.shape[0]):
        i = neurons[c]
        begin, end, start = begins[i], ends[i], ends[i] - n
        place = i if alpha.shape[1] > 1 else 0
        for side in range(2):
            # z <= at: its lower line is at most ``at``; z >= at: the lower line of -z is at most -at.
            sign = 1.0 if side == 0 else -1.0
            w[:] = 0.0
            for j in range(begin, end):
                w[j] = sign * weight[i, j]
            for k in range(start):
                slope[k] = alpha[side, place, k] if free[k] else sl[k]
            total, _, lost = pull_row(
                weight, begins, ends, bias, loss, su, cu, slope, cl, gamma, underflow, start, w, scratch, index
            )
            total += sign * bias[i]
            lost += loss[i] + gamma * (abs(total) + abs(bias[i]) + abs(at[c]))
            cuts[side] = w[:n]
            shifts[side] = outward(total - sign * at[c], lost, tiny)
            own[side] = w[n:]
        for side in range(2):
            half[newest] = cuts[side]
            offset[newest] = shifts[side]
            size[newest] = abs_sum(half[newest], lanes) * (1.0 + gamma_cut)
            # The row with the neuron's lines on this side.
            own_su[i], own_cu[i], own_sl[i], own_cl[i] = neuron_lines(
                code[i], lower[i] if side == 0 else at[c], at[c] if side == 0 else upper[i], parameters[0, i],
                parameters[1, i], breaks,
            )  # fmt: skip
            if coefficients[i] < 0.0:
                steeper, which = -coefficients[i] * (own_su[i] - su[i]), 1
            else:
                steeper, which = coefficients[i] * (own_sl[i] - (slopes[i] if free[i] else sl[i])), 0
            for k in range(count):
                blended[c, side, k] = slopes[k]
                if k < start and free[k] and steeper > 0.0 and own[which, k] > 0.0:
                    old, new = max(coefficients[k], 0.0), steeper * own[which, k]
                    blended[c, side, k] = (old * slopes[k] + new * alpha[which, place, k]) / (old + new)
                if k != i:
                    own_sl[k] = blended[c, side, k] if free[k] else sl[k]
            w[:] = row
            total, _, lost = pull_row(
                weight,
                begins,
                ends,
                bias,
                loss,
                own_su,
                own_cu,
                own_sl,
                own_cl,
                gamma,
                underflow,
                top,
                w,
                scratch,
                index,
            )
            b[:] = multipliers
            b[newest] = 0.0
            value, lost = cut_minimum(
                w[:n], constant + total, lost + error + gamma * (abs(total) + abs(constant)), half, offset, size, b, used,
                sweeps, gamma_cut, norm, boxed, lo, hi, cut, trial, point, lanes,
            )  # fmt: skip
            out[c, side] = outward(value, lost, tiny)
        own_su[i], own_cu[i], own_cl[i] = su[i], cu[i], cl[i]
