"""Sums by many independent lanes: strict floating point leaves a single running sum no room for vector instructions."""

from __future__ import annotations

from distverify.kernels.jit import helper

LANES = 32


@helper
def fold(sums):
    """The sum of ``sums`` [LANES], which it uses up."""
    half = LANES // 2
    while half >= 1:
        for k in range(half):
            sums[k] += sums[half + k]
        half //= 2
    return sums[0]


@helper
def abs_sum(v, lanes):
    """sum |v|; ``lanes`` [., LANES] is room to work in."""
    n = v.shape[0]
    sums = lanes[0]
    sums[:] = 0.0
    whole = n - n % LANES
    for j in range(0, whole, LANES):
        part = v[j : j + LANES]
        for k in range(LANES):
            sums[k] += abs(part[k])
    for j in range(whole, n):
        sums[j - whole] += abs(v[j])
    return fold(sums)


@helper
def dot(a, b, lanes):
    """a . b; ``lanes`` [., LANES] is room to work in."""
    n = a.shape[0]
    sums = lanes[0]
    sums[:] = 0.0
    whole = n - n % LANES
    for j in range(0, whole, LANES):
        part_a, part_b = a[j : j + LANES], b[j : j + LANES]
        for k in range(LANES):
            sums[k] += part_a[k] * part_b[k]
    for j in range(whole, n):
        sums[j - whole] += a[j] * b[j]
    return fold(sums)
