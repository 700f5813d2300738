"""By how many roundings products and sums of stored numbers are off in float64; none where they are exact.

A number that is off by k roundings, true = stored (1 + d) with |d| <= gamma_k, makes a product of n terms one of n + k.
Every number is a multiple of a power of two. A sum of multiples of 2^q is exact, in any order, if the magnitudes of its
terms add up to less than 2^(q + 53) and q >= -1074: then no partial sum needs more than 53 bits.
Source: Higham, Accuracy and Stability of Numerical Algorithms, chapters 3 and 4.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distverify.network.linear.operator import Array

_BITS = 53
_LEAST_EXPONENT = -1074
_LEAST_NORMAL = float(np.finfo(np.float64).tiny)
# Stands for the exponent of zero, a multiple of every power of two.
_ANY = 2**20


def lowest_exponents(values: Array) -> NDArray[np.int64]:
    """For each value the largest q such that it is a multiple of 2^q."""
    fraction, exponent = np.frexp(values)
    whole = (fraction * 2.0**_BITS).astype(np.int64)
    lowest = np.frexp((whole & -whole).astype(np.float64))[1] - 1
    return np.where(values == 0.0, _ANY, lowest + exponent.astype(np.int64) - _BITS)


def roundings_of_products(a: Array, b: Array) -> int | None:
    """Of the elementwise products fl(a * b): 0 or 1; None where one underflows or overflows."""
    sizes = np.abs(a * b)
    zero = (a == 0.0) | (b == 0.0)
    if not np.isfinite(sizes).all():
        return None
    exponents = lowest_exponents(a) + lowest_exponents(b)
    exact = (exponents >= _LEAST_EXPONENT) & (np.frexp(sizes)[1] <= exponents + _BITS)
    if (zero | exact).all():
        return 0
    return 1 if (zero | (sizes >= _LEAST_NORMAL)).all() else None


def roundings_of_matrix_product(a: Array, b: Array, terms: int, largest: float) -> int | None:
    """Of sums of at most ``terms`` products of a number of ``a`` and one of ``b``; None where they may be off by more.

    Parameters
    ----------
    a, b : float64
        The matrices' numbers, in any shape.
    largest : float
        The largest sum of magnitudes, up to rounding.
    """
    a, b = a[a != 0.0], b[b != 0.0]
    if not a.size or not b.size:
        return 0
    if not np.isfinite(largest):
        return None
    exponent = int(lowest_exponents(a).min() + lowest_exponents(b).min())
    # Magnitudes are summed with rounding: less than a doubling, which one bit allows for.
    if exponent >= _LEAST_EXPONENT and np.frexp(largest)[1] < exponent + _BITS:
        return 0
    smallest = float(np.abs(a).min()) * float(np.abs(b).min())
    if terms == 1 and (_are_signs(a) or _are_signs(b)):
        return 0
    if smallest < _LEAST_NORMAL:
        return None
    if terms == 1:
        return 0 if are_powers_of_two(a) or are_powers_of_two(b) else 1
    # Nothing cancels, or it may.
    return terms if _have_one_sign(a) and _have_one_sign(b) else None


def roundings_of_sums(a: Array, b: Array, inexact: int) -> int | None:
    """Of the elementwise sums fl(a + b) of numbers that are off by ``inexact`` roundings; None where such cancel."""
    total, error = sum_with_error(a, b)
    if not np.isfinite(total).all() or (inexact and (a * b < 0.0).any()):
        return None
    return inexact + (1 if error.any() else 0)


def sum_with_error(a: Array, b: Array) -> tuple[Array, Array]:
    """fl(a + b), and its error |a + b - fl(a + b)|, exactly (Knuth's TwoSum); NaN where it overflows."""
    with np.errstate(invalid="ignore", over="ignore"):
        total = a + b
        shared = total - a
        return total, np.abs((a - (total - shared)) + (b - shared))


def _are_signs(values: Array) -> bool:
    return bool((np.abs(values) == 1.0).all())


def are_powers_of_two(values: Array) -> bool:
    return bool((np.abs(np.frexp(values)[0]) == 0.5).all())


def _have_one_sign(values: Array) -> bool:
    return bool((values > 0.0).all() or (values < 0.0).all())
