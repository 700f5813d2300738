"""Lines that rows choose for themselves, and the way to better ones: one group of neurons, many rows at once.

Every neuron has a fan of K lines below its activation and one above. What lies between two neighbours is a line below (above) as
well: a row's choice is a place in [0, 1] along the fan, for the side that its coefficient takes. Of a ReLU the fan below are the slopes
between its pieces; of a curve the lines that touch it at K points of the interval.

All rows bound from below. Arrays are of single precision: where an ascent ends needs no rounding terms, since every place is sound; the
bound that is told is evaluated anew. Source: Xu et al., ICLR 2021 (arXiv 2011.13824).
"""

from __future__ import annotations

import math

import numpy as np

from distverify.kernels.activations import MAX_BREAKS
from distverify.kernels.clip import support
from distverify.kernels.jit import b1, f4, f8, helper, i8, kernel, readonly, void, writable
from distverify.kernels.lanes import LANES
from distverify.kernels.relaxations import fan_of_lines, neuron_lines
from distverify.kernels.rounding import NUDGE, TINY


@kernel(
    void(
        i8, readonly(1), readonly(1), readonly(2), writable(2), writable(2), writable(2), writable(2), writable(1)
    )
)  # fmt: skip
def fill_fans(code, lower, upper, parameters, below, below_cut, above, above_cut, start):
    """Fans of lines ``below z + below_cut`` and ``above z + above_cut``, float64 [n, K], on [lower, upper]; each is sound.

    ``start`` [n]: the place that the activation's own lines have in them, about.
    """
    scratch = np.empty(MAX_BREAKS)
    count = below.shape[1]
    last = count - 1
    for i in range(lower.shape[0]):
        l, u, p0, p1 = lower[i], upper[i], parameters[0, i], parameters[1, i]
        su, cu, sl, cl = neuron_lines(code, l, u, p0, p1, scratch)
        for k in range(count):
            below[i, k], below_cut[i, k], above[i, k], above_cut[i, k] = sl, cl, su, cu
        if su != sl or cu != cl:
            fan_of_lines(code, l, u, p0, p1, -1.0, scratch, below[i], below_cut[i])
            fan_of_lines(code, l, u, p0, p1, 1.0, scratch, above[i], above_cut[i])
            for k in range(count):
                if not (math.isfinite(below[i, k]) and math.isfinite(below_cut[i, k])):
                    below[i], below_cut[i] = sl, cl
                if not (math.isfinite(above[i, k]) and math.isfinite(above_cut[i, k])):
                    above[i], above_cut[i] = su, cu
        at_end = su == above[i, last] and cu == above_cut[i, last] and sl == below[i, last] and cl == below_cut[i, last]
        at_begin = su == above[i, 0] and cu == above_cut[i, 0] and sl == below[i, 0] and cl == below_cut[i, 0]
        start[i] = 1.0 if at_end else (0.0 if at_begin else 0.5)


@helper
def _between(fan, cut, place):
    """The line at ``place`` in [0, 1] of a fan, and how it changes with the place."""
    last = fan.shape[0] - 1
    at = place * last
    k = min(int(at), last - 1)
    w = at - k
    ds, dc = fan[k + 1] - fan[k], cut[k + 1] - cut[k]
    return fan[k] + w * ds, cut[k] + w * dc, last * ds, last * dc


@kernel(
    void(
        readonly(2, f4), readonly(2, f4), readonly(2, f4), readonly(2, f4), readonly(2, f4), readonly(2, f4), readonly(1),
        writable(2, f4), writable(1),
    )
)  # fmt: skip
def pull_choices(rows, places, below, below_cut, above, above_cut, bias, out, constant):
    """Coefficients of z from those of a, ``rows`` [R, n]; ``constant`` [R] grows by what lines and biases add."""
    for r in range(rows.shape[0]):
        total = 0.0
        for j in range(rows.shape[1]):
            a = rows[r, j]
            if a > 0.0:
                slope, cut, _, _ = _between(below[j], below_cut[j], places[r, j])
            else:
                slope, cut, _, _ = _between(above[j], above_cut[j], places[r, j])
            b = a * slope
            out[r, j] = b
            total += a * cut + b * bias[j]
        constant[r] += total


@kernel(
    void(
        readonly(2, f4), readonly(2, f4), readonly(2, f4), readonly(2, f4), readonly(2, f4), f8, f8, f8, readonly(1, b1),
        writable(2, f4), writable(2, f4), writable(2, f4), writable(2, f4), writable(2, f4), writable(1),
    )
)  # fmt: skip
def push_choices(
    rows,
    below,
    below_cut,
    above,
    above_cut,
    pace,
    first_part,
    second_part,
    better,
    best,
    places,
    z,
    first,
    second,
    gain,
):
    """Take the minimiser from ``z`` [R, n] (becomes a) along the lines, and make a step of Adam with the supergradient.

    ``pace``: of the step; ``first_part``, ``second_part``: what the running means have seen of their weight. Of rows that are
    ``better`` than before, ``best`` gets the places first. ``gain`` [R] grows by what better places could bring at most if the bound were
    concave in them all.
    """
    for r in range(rows.shape[0]):
        total = 0.0
        for j in range(rows.shape[1]):
            a, p, v = rows[r, j], places[r, j], z[r, j]
            if a > 0.0:
                slope, cut, ds, dc = _between(below[j], below_cut[j], p)
            else:
                slope, cut, ds, dc = _between(above[j], above_cut[j], p)
            z[r, j] = slope * v + cut
            if better[r]:
                best[r, j] = p
            g = a * (ds * v + dc)
            total += g * (1.0 - p) if g > 0.0 else -g * p
            m = 0.9 * first[r, j] + 0.1 * g
            s = 0.999 * second[r, j] + 0.001 * g * g
            first[r, j], second[r, j] = m, s
            if s > 0.0:
                p += pace * (m / first_part) / (math.sqrt(s / second_part) + 1e-12)
                places[r, j] = min(1.0, max(0.0, p))
        gain[r] += total


@kernel(void(readonly(2, f4), readonly(1), readonly(1), writable(1), writable(2, f4)))
def box_minima(rows, middle, reach, total, points):
    """Add the minimum of every row over a box to ``total`` [R]; ``points`` [R, n] get the minimisers."""
    n = rows.shape[1]
    whole = n - n % 8
    for r in range(rows.shape[0]):
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
        row, point = rows[r], points[r]
        for j in range(n):
            point[j] = middle[j] - math.copysign(reach[j], row[j])
        for j in range(0, whole, 8):
            s0 += row[j] * point[j]
            s1 += row[j + 1] * point[j + 1]
            s2 += row[j + 2] * point[j + 2]
            s3 += row[j + 3] * point[j + 3]
            s4 += row[j + 4] * point[j + 4]
            s5 += row[j + 5] * point[j + 5]
            s6 += row[j + 6] * point[j + 6]
            s7 += row[j + 7] * point[j + 7]
        for j in range(whole, n):
            s0 += row[j] * point[j]
        total[r] += ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


@kernel(void(readonly(2, f4), readonly(1), f8, f8, b1, readonly(1), readonly(1), writable(1), writable(2, f4)))
def ball_minima(rows, x0, eps, norm, boxed, lo, hi, total, points):
    """As :func:`box_minima`, over a ball of ``norm`` 2 or 1 around ``x0``, ``boxed`` in x0 + eps [lo, hi]."""
    n = rows.shape[1]
    v, point, lanes = np.empty(n), np.empty(n), np.empty((2, LANES))
    for r in range(rows.shape[0]):
        at_centre = 0.0
        for j in range(n):
            v[j] = eps * rows[r, j]
            at_centre += rows[r, j] * x0[j]
        total[r] += at_centre - support(v, norm, boxed, lo, hi, point, lanes)
        for j in range(n):
            points[r, j] = x0[j] - eps * point[j]


@helper
def _missed(fan, cut, far):
    """More than rounding may do to a line between two of the fan, at |z| <= far."""
    steepest, highest = 0.0, 0.0
    for k in range(fan.shape[0]):
        steepest, highest = max(steepest, abs(fan[k])), max(highest, abs(cut[k]))
    return NUDGE * (steepest * far + highest) + TINY


@kernel(
    void(
        readonly(2, f4), readonly(1), readonly(2), readonly(2), readonly(2), readonly(2),
        writable(2), writable(2), writable(2), writable(2),
    )
)  # fmt: skip
def fill_chosen(places, far, below, below_cut, above, above_cut, su, cu, sl, cl):
    """The lines at ``places`` [R, n], sound again after rounding: float64 [R, n] each; ``far`` [n] bounds |z|.

    Between two lines: slope and intercept are rounded by a few units of their own.
    """
    for r in range(places.shape[0]):
        for j in range(places.shape[1]):
            p = float(places[r, j])
            p = min(1.0, max(0.0, p)) if p == p else 0.5
            sl[r, j], cut, ds, dc = _between(below[j], below_cut[j], p)
            if ds != 0.0 or dc != 0.0:
                cut -= _missed(below[j], below_cut[j], far[j])
            cl[r, j] = cut
            su[r, j], cut, ds, dc = _between(above[j], above_cut[j], p)
            if ds != 0.0 or dc != 0.0:
                cut += _missed(above[j], above_cut[j], far[j])
            cu[r, j] = cut
