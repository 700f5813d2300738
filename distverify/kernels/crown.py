"""One backward step of CROWN through an activation, for many rows at once."""

from __future__ import annotations

from numba import types

from distverify.kernels.jit import f8, i8, kernel, readonly, writable


@kernel(
    types.void(
        readonly(2), i8, i8, readonly(1), readonly(1), readonly(1), readonly(1), readonly(1), f8,
        writable(2), writable(1), writable(1),
    )
)  # fmt: skip
def relax_rows(rows, offset, half, su, cu, sl, cl, weight, gamma, out, constant, error):
    """Replace a = s(z) by its lines: ``out`` gets the coefficients of z, ``constant`` the intercepts.

    Row r of ``out`` is made from row r of ``rows`` (or r - half, where ``rows`` has only ``half`` rows that upper and lower
    bounds still share: ``offset`` = half then, else 0). Rows before ``half`` bound from above: a coefficient that is positive
    takes the line above, a negative one the line below; the others the reverse. ``weight`` is what a unit coefficient of z
    may lose to rounding in this step and the following product; ``gamma`` covers the sum of intercepts.
    """
    n = rows.shape[1]
    for r in range(out.shape[0]):
        source = rows[r - offset] if r >= half else rows[r]
        target = out[r]
        total, magnitude, loss = 0.0, 0.0, 0.0
        if r < half:
            for i in range(n):
                a = source[i]
                b = a * (su[i] if a > 0.0 else sl[i])
                target[i] = b
                loss += weight[i] * abs(b)
                if a != 0.0:
                    c = a * (cu[i] if a > 0.0 else cl[i])
                    total += c
                    magnitude += abs(c)
        else:
            for i in range(n):
                a = source[i]
                b = a * (sl[i] if a > 0.0 else su[i])
                target[i] = b
                loss += weight[i] * abs(b)
                if a != 0.0:
                    c = a * (cl[i] if a > 0.0 else cu[i])
                    total += c
                    magnitude += abs(c)
        constant[r] += total
        error[r] += loss + gamma * magnitude


@kernel(types.void(readonly(2), readonly(1), f8, writable(1), writable(1)))
def add_bias(rows, bias, gamma, constant, error):
    """constant += rows @ bias; error += gamma |rows| @ |bias|."""
    for r in range(rows.shape[0]):
        total, magnitude = 0.0, 0.0
        for i in range(rows.shape[1]):
            c = rows[r, i] * bias[i]
            total += c
            magnitude += abs(c)
        constant[r] += total
        error[r] += gamma * (magnitude + abs(constant[r]))
