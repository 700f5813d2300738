"""Rounding-error constants (Higham, Accuracy and Stability of Numerical Algorithms, chapter 3); see docs/ROUNDING.md.

An inner product of n terms, in any order of summation and with or without fused multiply-add, is off by at most
gamma_n = n u / (1 - n u) times the sum of its terms' magnitudes, barring underflow; each product that underflows adds at
most ``eta``, the smallest subnormal number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Values past it are treated as unbounded; below it sums of a few of them stay finite.
HUGE = 1e300
LARGEST = 1.7976931348623157e308
# An absolute allowance for underflow.
TINY = 1e-300
# The math library's functions are trusted to 4 units in the last place; with the few operations around them every value and
# slope of an activation is good to NUDGE relative to the magnitudes that enter it.
NUDGE = 16.0 * 2.0**-53


@dataclass(frozen=True)
class Rounding:
    """What rounding may do.

    Attributes
    ----------
    unit : float
        The unit roundoff u.
    eta : float
        What a product that underflows may lose.
    tiny : float
        An absolute allowance for underflow in the last steps of a bound, where nothing amplifies it any more.
    dtype : type
        Of the matrices that are multiplied; bounds, vectors and sums of errors are always double.
    """

    unit: float
    eta: float
    tiny: float
    dtype: type[np.floating[Any]] = np.float64

    def gamma(self, terms: int) -> float:
        """gamma_n for ``terms`` terms, with two more for the error terms' own rounding; infinite where they are too many."""
        n = (terms + 2) * self.unit
        return n / (1.0 - n) if n < 1.0 else math.inf

    def outward(
        self, lower: NDArray[np.float64], upper: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The bounds, moved outwards by one unit in the last place and the allowance for underflow.

        NaN is no bound, nor is what overflowed inwards: sums that are finite in exact arithmetic may pass the range on their way.
        """
        lower, upper = np.where(lower < np.inf, lower, -np.inf), np.where(upper > -np.inf, upper, np.inf)
        if self.unit == 0.0:
            return lower, upper
        return np.nextafter(lower - self.tiny, -np.inf), np.nextafter(upper + self.tiny, np.inf)


SOUND = Rounding(unit=2.0**-53, eta=2.0**-1074, tiny=1e-300)
# Products in single precision: twice the speed and half the memory, wider bounds, just as sound.
SINGLE = Rounding(unit=2.0**-24, eta=2.0**-149, tiny=1e-300, dtype=np.float32)
BY_PRECISION = {"float64": SOUND, "float32": SINGLE}
# Rounding ignored: only to measure what the terms cost and to show in tests what they are for.
IGNORED = Rounding(unit=0.0, eta=0.0, tiny=0.0)
