"""Products g Y of a slope g in [glo, ghi] and a derivative Y in [yl, yu], bounded by lines in Y; and pushing columns through.

For a fixed Y the extremes over g are at its ends, so max_g g Y is convex and min_g g Y concave in Y, whatever the signs: the
chord of the one and of the other bound the product on [yl, yu] (Shi et al., NeurIPS 2022), their extreme values bound it
without recursion (RecurJac, Zhang et al., AAAI 2019).
"""

from __future__ import annotations

import math

import numpy as np

from distverify.kernels.jit import b1, f8, for_both, i8, kernel, readonly, void, writable

_NUDGE = 8.0 * 2.0**-53
_OPEN_BY_ROUNDING = 1e-9
_TINY = 1e-307


@kernel(
    i8(
        b1, readonly(1), readonly(1), readonly(2), readonly(2), f8, writable(2), writable(2), writable(2), writable(2),
        writable(2), writable(2), writable(1), writable(1, i8),
    )
)  # fmt: skip
def fill_product_lines(chord, glo, ghi, yl, yu, unit, su, cu, sl, cl, weight, psi_z, sizes, active):
    """Lines ``su Y + cu >= g Y >= sl Y + cl`` for every row k and neuron i, float64 [K, n].

    ``weight`` grows by ``unit`` times the largest |Y|, what scaling by a slope may lose; ``psi_z`` gets the largest |g Y|
    and ``sizes`` [K] the sum of both over the neurons.
    ``active`` gets the neurons that have any slope or constant, in order; returned is their number.

    Exact and without a constant where the sign of Y or the value of g is known; else the chord (``chord``) or the worst case.
    """
    for k in range(yl.shape[0]):
        for i in range(yl.shape[1]):
            a, b, p, q = yl[k, i], yu[k, i], glo[i], ghi[i]
            cu[k, i] = cl[k, i] = 0.0
            size = max(abs(a), abs(b))
            weight[k, i] += unit * size
            psi_z[k, i] = size * max(abs(p), abs(q))
            sizes[k] += size + psi_z[k, i]
            if p == q:
                su[k, i] = sl[k, i] = p
            elif a >= 0.0:
                su[k, i], sl[k, i] = q, p
            elif b <= 0.0:
                su[k, i], sl[k, i] = p, q
            else:
                s, t = 0.0, 0.0
                # A sign that only rounding leaves open takes the chord, which is then all but exact, in either method.
                if chord or -a <= _OPEN_BY_ROUNDING * b or b <= -_OPEN_BY_ROUNDING * a:
                    s, t = (q * b - p * a) / (b - a), (p * b - q * a) / (b - a)
                    if not (math.isfinite(s) and math.isfinite(t)):
                        s, t = 0.0, 0.0
                # Whatever the rounded slope, a line that is right at both ends is right between them.
                nudge = _NUDGE * (max(abs(p), abs(q)) + max(abs(s), abs(t))) * max(-a, b) + _TINY
                cu[k, i] = max((q - s) * b, (p - s) * a) + nudge
                cl[k, i] = min((p - t) * b, (q - t) * a) - nudge
                su[k, i], sl[k, i] = s, t
    count = 0
    for i in range(yl.shape[1]):
        for k in range(yl.shape[0]):
            if su[k, i] != 0.0 or sl[k, i] != 0.0 or cu[k, i] != 0.0 or cl[k, i] != 0.0:
                active[count] = i
                count += 1
                break
    return count


@kernel(
    *for_both(lambda f: void(
        readonly(2, f), readonly(4, f), readonly(1, i8), readonly(2), readonly(2), readonly(2), readonly(2), readonly(2),
        f8, writable(4, f), writable(3), writable(3),
    ))
)  # fmt: skip
def scale_columns(shared, columns, active, su, cu, sl, cl, weight, gamma, out, constant, error):
    """Pass columns through an activation: ``out`` = slope * columns, per output row k and side (0 upper, 1 lower).

    The columns that arrive are ``shared`` [n, r], the same for all rows and sides, plus ``columns`` [n, K, 2 or 1, r]; either
    may be empty. ``su`` ... ``weight`` [K, n]. ``active`` lists the neurons that have any slope or constant; ``out``
    [active, K, 2, r] holds only those. ``constant`` and ``error`` [K, 2, r] are added to: the lines' constants, and what rounding
    may cost (``weight`` per unit of |out|, ``gamma`` per unit of the sum of constants).
    """
    rows, r = out.shape[1], out.shape[3]
    has_shared, has_columns, sides = shared.shape[0] > 0, columns.shape[0] > 0, columns.shape[2] > 1
    zeros = np.zeros(r, shared.dtype)
    for position in range(active.shape[0]):
        i = active[position]
        common = shared[i] if has_shared else zeros
        for k in range(rows):
            w = weight[k, i]
            for side in range(2):
                source = columns[i, k, side if sides else 0] if has_columns else zeros
                target, total, loss = out[position, k, side], constant[k, side], error[k, side]
                if side == 0:
                    above, below, ca, cb = su[k, i], sl[k, i], cu[k, i], cl[k, i]
                else:
                    above, below, ca, cb = sl[k, i], su[k, i], cl[k, i], cu[k, i]
                if ca == 0.0 and cb == 0.0:
                    for j in range(r):
                        a = common[j] + source[j]
                        b = max(a, 0.0) * above + min(a, 0.0) * below
                        target[j] = b
                        loss[j] += w * abs(b)
                else:
                    for j in range(r):
                        a = common[j] + source[j]
                        positive, negative = max(a, 0.0), min(a, 0.0)
                        b = positive * above + negative * below
                        c = positive * ca + negative * cb
                        target[j] = b
                        total[j] += c
                        loss[j] += w * abs(b) + gamma * abs(c)


@kernel(*for_both(lambda f: void(readonly(2), readonly(2), readonly(4, f), writable(3), writable(3))))
def contract_columns(rows, weight, columns, constant, error):
    """constant[k, s] += rows[k] . columns[:, k, s]; error[k, s] += weight[k] . |columns[:, k, s]|.

    ``rows`` and ``weight`` [K, n]; ``columns`` [n, K or 1, 2 or 1, r].
    """
    r = columns.shape[3]
    many_rows, sides = columns.shape[1] > 1, columns.shape[2] > 1
    for i in range(columns.shape[0]):
        for k in range(rows.shape[0]):
            a, w = rows[k, i], weight[k, i]
            for side in range(2):
                source = columns[i, k if many_rows else 0, side if sides else 0]
                total, loss = constant[k, side], error[k, side]
                for j in range(r):
                    total[j] += a * source[j]
                    loss[j] += w * abs(source[j])


@kernel(*for_both(lambda f: void(readonly(2), readonly(4, f), writable(3))))
def add_loss(weight, columns, error):
    """error[k, s] += weight[k] . |columns[:, k, s]|, for columns that pass a node which has no activation."""
    r = columns.shape[3]
    many_rows, sides = columns.shape[1] > 1, columns.shape[2] > 1
    for i in range(columns.shape[0]):
        for k in range(weight.shape[0]):
            w = weight[k, i]
            for side in range(2):
                source = columns[i, k if many_rows else 0, side if sides else 0]
                loss = error[k, side]
                for j in range(r):
                    loss[j] += w * abs(source[j])
