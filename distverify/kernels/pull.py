"""Rows of a packed network pulled back to its input, one set of lines per row, and pushed forward again.

A packed network (see :class:`distverify.bounds.packed.Packed`) is ``z = bias + weight [t, a]`` with ``a = s(z)`` and a strictly
block-triangular ``weight`` [N, n + N]: neuron i reads columns ``begins[i]:ends[i]``, of the n inputs and of the neurons before its group.
All rows bound from below: a positive coefficient takes the line below the activation, a negative one the line above. An upper
bound is the lower bound of the negative row.
"""

from __future__ import annotations

import numpy as np

from distverify.kernels.jit import b1, f8, helper, i8, kernel_on_demand, readonly, void, writable
from distverify.kernels.lanes import dot


@helper
def pull_row(weight, begins, ends, bias, loss, su, cu, sl, cl, gamma, underflow, top, w, scratch, scratch_index):
    """Pull the row ``w`` [n + N], whose coefficients of neurons from ``top`` on are 0, back to the inputs, in place.

    Coefficients of neurons stay in ``w`` as they were when their turn came. Returns what the lines and biases add to the
    constant, the sum of these terms' magnitudes, and the rounding error. ``loss`` is what a unit coefficient of a
    pre-activation may lose in its step; see :class:`distverify.bounds.packed.Packed`.
    """
    n = weight.shape[1] - weight.shape[0]
    total, magnitude, error = 0.0, 0.0, underflow
    last = top
    while last > 0:
        end = ends[last - 1]
        count = 0
        i = last - 1
        while i >= 0 and ends[i] == end:
            a = w[n + i]
            if a != 0.0:
                if a > 0.0:
                    b, c = a * sl[i], a * cl[i]
                else:
                    b, c = a * su[i], a * cu[i]
                d = b * bias[i]
                total += c + d
                magnitude += abs(c) + abs(d)
                if b != 0.0:
                    error += loss[i] * abs(b)
                    scratch[count] = b
                    scratch_index[count] = i
                    count += 1
            i -= 1
        last = i + 1
        whole = count - count % 4
        begin = begins[last]
        out = w[begin:end]
        for k in range(0, whole, 4):
            b0, b1_, b2, b3 = scratch[k], scratch[k + 1], scratch[k + 2], scratch[k + 3]
            w0, w1 = weight[scratch_index[k], begin:end], weight[scratch_index[k + 1], begin:end]
            w2, w3 = weight[scratch_index[k + 2], begin:end], weight[scratch_index[k + 3], begin:end]
            for j in range(end - begin):
                out[j] += (b0 * w0[j] + b1_ * w1[j]) + (b2 * w2[j] + b3 * w3[j])
        for k in range(whole, count):
            b0 = scratch[k]
            w0 = weight[scratch_index[k], begin:end]
            for j in range(end - begin):
                out[j] += b0 * w0[j]
    return total, magnitude, error + gamma * magnitude


@helper
def push_row(weight, begins, ends, bias, su, cu, sl, cl, top, w, v, z, lanes):
    """Push the inputs ``v[:n]`` forward along the lines that the pulled row ``w`` chose: ``z`` gets the pre-activations.

    ``v`` [n + N] receives the values on the lines too. Neurons that nothing later reads are the last ones' business.
    """
    n = weight.shape[1] - weight.shape[0]
    for i in range(top):
        a = w[n + i]
        begin, end = begins[i], ends[i]
        z[i] = bias[i] + dot(weight[i, begin:end], v[begin:end], lanes)
        if a > 0.0:
            v[n + i] = sl[i] * z[i] + cl[i]
        else:
            v[n + i] = su[i] * z[i] + cu[i]


@kernel_on_demand(
    void(
        readonly(2), readonly(1, i8), readonly(1, i8), readonly(1), readonly(1), readonly(2), readonly(2), readonly(2), readonly(2),
        f8, f8, readonly(1, i8), writable(2), writable(1), writable(1),
    )
)  # fmt: skip
def pull_rows(weight, begins, ends, bias, loss, su, cu, sl, cl, gamma, underflow, top, rows, constant, error):
    """Pull every row of ``rows`` [R, n + N] back to the inputs; its lines are its own row of su, ... or the only one there is.

    ``constant`` and ``error`` [R] grow by what the pull adds. ``top`` [R]: neurons from there on have no coefficient.
    """
    scratch = np.empty(weight.shape[0])
    index = np.empty(weight.shape[0], np.int64)
    for r in range(rows.shape[0]):
        total, _, lost = pull_row(
            weight, begins, ends, bias, loss,
            su[r if su.shape[0] > 1 else 0], cu[r if cu.shape[0] > 1 else 0],
            sl[r if sl.shape[0] > 1 else 0], cl[r if cl.shape[0] > 1 else 0],
            gamma, underflow, top[r], rows[r], scratch, index,
        )  # fmt: skip
        error[r] += lost + gamma * (abs(constant[r]) + abs(total))
        constant[r] += total


@kernel_on_demand(void(readonly(1, b1), readonly(1), readonly(2), writable(2)))
def fill_slopes(free, slope, alpha, out):
    """The lines below of every row: its own ``alpha`` where a neuron's slope is ``free``, the one ``slope`` elsewhere."""
    for r in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[r, i] = alpha[r, i] if free[i] else slope[i]
