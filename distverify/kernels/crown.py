"""One backward step of CROWN through an activation, for many rows at once."""

from __future__ import annotations

from distverify.kernels.jit import f8, for_both, i8, kernel, readonly, void, writable


@kernel(
    *for_both(lambda f: void(
        readonly(2, f), i8, i8, readonly(2), readonly(2), readonly(2), readonly(2), readonly(1), readonly(1), f8, f8,
        writable(2, f), writable(1), writable(1),
    ))
)  # fmt: skip
def relax_rows(rows, offset, half, su, cu, sl, cl, bias, weight, underflow, gamma, out, constant, error):
    """Replace a = s(z) by lines ``su`` z + ``cu`` above and ``sl`` z + ``cl`` below it.

    ``out`` gets the coefficients of z, ``constant`` what they make of z's bias too.

    Row r of ``out`` is made from row r of ``rows`` (or r - half, where ``rows`` has only ``half`` rows that upper and
    lower bounds still share: ``offset`` = half then, else 0). Lines are those of all rows (one row of ``su``, ...) or a row's own (as many
    as ``out`` has). Rows before ``half`` bound from above: a coefficient that is
    positive takes the line above, a negative one the line below; the others the reverse. ``weight`` is what a unit
    coefficient of z may lose to rounding in this step and the following product, ``underflow`` what a row may lose whatever
    its coefficients; ``gamma`` covers the sums of constants.
    """
    n = rows.shape[1]
    for r in range(out.shape[0]):
        upper = r < half
        source = rows[r] if upper else rows[r - offset]
        target = out[r]
        chosen = r if su.shape[0] > 1 else 0
        above_slope, above_constant, below_slope, below_constant = su[chosen], cu[chosen], sl[chosen], cl[chosen]
        total, magnitude, loss = 0.0, 0.0, 0.0
        for i in range(n):
            a = source[i]
            if a == 0.0:
                target[i] = 0.0
                continue
            above = (a > 0.0) == upper
            target[i] = a * (above_slope[i] if above else below_slope[i])
            b = target[i]
            c = a * (above_constant[i] if above else below_constant[i])
            d = b * bias[i]
            total += c + d
            magnitude += abs(c) + abs(d)
            loss += weight[i] * abs(b)
        constant[r] += total
        error[r] += loss + underflow + gamma * (magnitude + abs(constant[r]))


@kernel(void(readonly(1), readonly(1), i8, f8, writable(1), writable(1)))
def add_extremes(centre, spread, half, gamma, constant, error):
    """Add centre + spread to the first ``half`` of ``constant`` and centre - spread to the others.

    ``centre`` and ``spread`` have ``half`` entries that both share, or an entry each.
    """
    shared = centre.shape[0] == half
    for r in range(constant.shape[0]):
        i = r - half if shared and r >= half else r
        constant[r] += centre[i] + spread[i] if r < half else centre[i] - spread[i]
        error[r] += gamma * (abs(constant[r]) + abs(centre[i]) + spread[i])
