"""Bounds of rows over thousands of sub-boxes of a packed network's cube, side by side: for inputs of few dimensions.

Of every box: interval arithmetic group by group, lower lines pulled back for neurons whose sign it leaves open, then the rows. A
counterexample has every row at most 0, which cuts the box once more (Clip-and-Verify's relaxed clipping, NeurIPS 2025).
"""

from __future__ import annotations

import math

import numpy as np

from distverify.kernels.activations import MAX_BREAKS
from distverify.kernels.clip import outward
from distverify.kernels.jit import b1, f8, helper, i8, kernel_on_demand, readonly, void, writable
from distverify.kernels.pull import pull_row
from distverify.kernels.relaxations import neuron_lines

_WIDER = 1.0 + 2.0**-50


@helper
def _minimum(w, middle, reach, n, gamma):
    """The minimum of w . t for t in middle +/- reach, and the error of computing it."""
    centre, spread, size = 0.0, 0.0, 0.0
    for j in range(n):
        centre += w[j] * middle[j]
        spread += abs(w[j]) * reach[j]
        size += abs(w[j] * middle[j])
    return centre - spread, gamma * (size + spread)


@helper
def _bound_neurons(
    weight, begins, ends, bias, loss, code, parameters, ramp, gamma, gamma_sum, underflow, tiny, n, middle, reach,
    lower, upper, su, cu, sl, cl, w, scratch, index, breaks,
):  # fmt: skip
    """Pre-activation bounds and lines of every neuron, given the inputs' in ``middle`` and ``reach`` [n + N]."""
    count = weight.shape[0]
    for i in range(count):
        begin, end, start = begins[i], ends[i], ends[i] - n
        centre, spread, magnitude = bias[i], 0.0, abs(bias[i])
        for j in range(begin, end):
            a = weight[i, j]
            centre += a * middle[j]
            spread += abs(a) * reach[j]
            magnitude += abs(a * middle[j])
        lost = loss[i] + gamma_sum * (magnitude + spread)
        low, up = outward(centre - spread, lost, tiny), -outward(-(centre + spread), lost, tiny)
        p0 = parameters[0, i]
        if start > 0 and (low < 0.0 < up or not ramp[i]):
            for side in range(2):
                sign = 1.0 if side == 0 else -1.0
                for j in range(begin):
                    w[j] = 0.0
                for j in range(begin, end):
                    w[j] = sign * weight[i, j]
                total, _, lost = pull_row(
                    weight, begins, ends, bias, loss, su, cu, sl, cl, gamma, underflow, start, w, scratch, index
                )
                total += sign * bias[i]
                value, more = _minimum(w, middle, reach, n, gamma_sum)
                value = outward(
                    total + value, lost + more + loss[i] + gamma * (abs(total) + abs(value) + abs(bias[i])), tiny
                )
                if side == 0:
                    low = max(low, value)
                else:
                    up = min(up, -value)
        # Crossed by rounding or not: an interval that holds both ends is sound.
        lower[i], upper[i] = min(low, up), max(low, up)
        low, up = lower[i], upper[i]
        su[i], cu[i], sl[i], cl[i] = neuron_lines(code[i], low, up, p0, parameters[1, i], breaks)
        if ramp[i]:
            a, b = (low if low >= 0.0 else p0 * low), (up if up >= 0.0 else p0 * up)
        else:
            a = min(sl[i] * low + cl[i], sl[i] * up + cl[i])
            b = max(su[i] * low + cu[i], su[i] * up + cu[i])
        k = n + i
        middle[k] = 0.5 * a + 0.5 * b
        reach[k] = max(b - middle[k], middle[k] - a) * _WIDER + 2.0**-50 * (abs(a) + abs(b)) + tiny
        reach[k] += 2.0**-50 * (abs(cl[i]) + abs(cu[i]))


@helper
def _reaches(weight, begins, ends, su, sl, ramp, parameters, zl, zu, top, row, n, low, high):
    """About how the row's derivatives may vary over a box: ``low`` and ``high`` [n + N] end up with their ends at the inputs.

    Only the choice of what to bisect rests on it: nothing is rounded.
    """
    for j in range(low.shape[0]):
        low[j] = row[j]
        high[j] = row[j]
    for i in range(top - 1, -1, -1):
        a, b = low[n + i], high[n + i]
        if a == 0.0 and b == 0.0:
            continue
        if ramp[i]:
            flat = parameters[0, i]
            least, most = (1.0 if zl[i] >= 0.0 else flat), (flat if zu[i] <= 0.0 else 1.0)
        else:
            least, most = min(su[i], sl[i]), max(su[i], sl[i])
        a = min(a * least, a * most)
        b = max(b * least, b * most)
        for j in range(begins[i], ends[i]):
            x = weight[i, j]
            if x > 0.0:
                low[j] += a * x
                high[j] += b * x
            else:
                low[j] += b * x
                high[j] += a * x


@kernel_on_demand(
    void(
        readonly(2), readonly(1, i8), readonly(1, i8), readonly(1), readonly(1), readonly(1, i8), readonly(2),
        readonly(1, b1), f8, f8, f8, f8,
        readonly(2), readonly(1), readonly(1), readonly(1, i8), writable(2), writable(2), writable(1), writable(1, i8),
    )
)  # fmt: skip
def bound_boxes(
    weight, begins, ends, bias, loss, code, parameters, ramp, gamma, gamma_sum, underflow, tiny, rows, constant, error, top,
    lower, upper, best, dimension,
):  # fmt: skip
    """Of each box [B, n], in place: ``best`` [B] the largest lower bound of a row, the box cut where all rows may be at most 0.

    ``ramp`` [N]: neurons that are linear on either side of 0 and never fall. ``dimension`` [B] gets the input to bisect. A box
    that holds no point with all rows at most 0 gets ``best`` = inf.
    """
    count = weight.shape[0]
    n = weight.shape[1] - count
    middle, reach = np.empty(n + count), np.empty(n + count)
    zl, zu = np.empty(count), np.empty(count)
    su, cu, sl, cl = np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    w, scratch, index = np.empty(n + count), np.empty(count), np.empty(count, np.int64)
    breaks = np.empty(MAX_BREAKS)
    least, most = np.empty(n + count), np.empty(n + count)
    for b in range(lower.shape[0]):
        for j in range(n):
            middle[j] = 0.5 * lower[b, j] + 0.5 * upper[b, j]
            reach[j] = max(upper[b, j] - middle[j], middle[j] - lower[b, j]) * _WIDER
        _bound_neurons(
            weight, begins, ends, bias, loss, code, parameters, ramp, gamma, gamma_sum, underflow, tiny, n, middle, reach,
            zl, zu, su, cu, sl, cl, w, scratch, index, breaks,
        )  # fmt: skip
        best[b] = -math.inf
        clearest = 0
        for k in range(rows.shape[0]):
            w[:] = rows[k]
            total, _, lost = pull_row(
                weight, begins, ends, bias, loss, su, cu, sl, cl, gamma, underflow, top[k], w, scratch, index
            )
            total += constant[k]
            value, more = _minimum(w, middle, reach, n, gamma_sum)
            value = outward(
                total + value, lost + more + error[k] + gamma * (abs(total) + abs(constant[k]) + abs(value)), tiny
            )
            if value > best[b]:
                best[b] = value
                clearest = k
            if value > 0.0:
                break
            for j in range(n):
                if w[j] == 0.0 or not value > -math.inf:
                    continue
                # From its best end, t_j goes no farther than the row's deficit allows.
                room = -value / abs(w[j])
                slack = 2.0**-50 * (room + abs(lower[b, j]) + abs(upper[b, j])) + tiny
                if w[j] > 0.0:
                    upper[b, j] = min(upper[b, j], lower[b, j] + room + slack)
                else:
                    lower[b, j] = max(lower[b, j], upper[b, j] - room - slack)
        if best[b] > 0.0 or rows.shape[0] == 0:
            dimension[b] = 0
            continue
        _reaches(weight, begins, ends, su, sl, ramp, parameters, zl, zu, top[clearest], rows[clearest], n, least, most)
        widest, largest = 0, -1.0
        for j in range(n):
            if lower[b, j] > upper[b, j]:
                best[b] = math.inf
            # Where no slope tells, the widest input.
            value = (max(abs(least[j]), abs(most[j])) + 1e-12) * (upper[b, j] - lower[b, j])
            if value > largest:
                widest, largest = j, value
        dimension[b] = widest
