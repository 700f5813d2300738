"""Floating-point formats that queries are about: what rounding does in them, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from distverify.data.query.declarations import Query
from distverify.errors import DataError

REAL = "real"
Side = tuple[Fraction, bool]


@dataclass(frozen=True)
class FloatFormat:
    """A format of numbers.

    Attributes
    ----------
    name : str
        Of the element type.
    dtype : type
    unit, smallest, largest : Fraction
        The unit roundoff; the smallest and the largest positive number.
    """

    name: str
    dtype: Any
    unit: Fraction
    smallest: Fraction
    largest: Fraction

    def __hash__(self) -> int:
        return hash(self.name)

    def rounded(self, value: Fraction) -> Fraction:
        """``value`` as the format rounds it; itself beyond the range."""
        return _rounded(self, value)

    def inside(self, side: Side, up: bool) -> Side:
        """The next number of the format upwards or downwards; not the number itself where the side is strict."""
        return _inside(self, side, up)

    def number(self, value: Fraction) -> Any:
        """The nearest number, of the format's own type."""
        return self.dtype(float(self.rounded(value)))


FLOAT32 = FloatFormat(
    "float32", np.float32, Fraction(1, 2**24), Fraction(1, 2**149), Fraction(float(np.finfo(np.float32).max))
)
FLOAT64 = FloatFormat(
    "float64", np.float64, Fraction(1, 2**53), Fraction(1, 2**1074), Fraction(float(np.finfo(np.float64).max))
)
FORMATS = {f.name: f for f in (FLOAT32, FLOAT64)}
# Element types of sound analysis.
ELEMENT_TYPES = (REAL, *FORMATS)


def format_of(query: Query) -> FloatFormat | None:
    """The format that the query is about; None for real numbers.

    Raises
    ------
    DataError
        Another type, or several.
    """
    kinds = {t.element for t in query.tensors}
    for tensor in query.tensors:
        if tensor.element not in ELEMENT_TYPES:
            raise DataError(
                f"query: {tensor.name} is of type {tensor.element}, for which there is no sound analysis; supported are "
                f"{', '.join(ELEMENT_TYPES)}. Declare it as real to have it analysed over the real numbers"
            )
    if len(kinds) > 1:
        raise DataError(
            f"query: it has variables of types {' and '.join(sorted(kinds))}; a query is about one kind of numbers, "
            "and one over the reals has no other type"
        )
    return FORMATS.get(kinds.pop())


@lru_cache(maxsize=2**16)
def _rounded(format_: FloatFormat, value: Fraction) -> Fraction:
    if abs(value) >= format_.largest:
        return value
    double = float(value)
    if format_.dtype is np.float64:
        return Fraction(double)
    nearest = np.float32(double)
    off = double - float(nearest)
    towards = np.nextafter(nearest, np.float32(np.inf if off > 0 else -np.inf))
    # What lies half-way between two numbers in float64 is nearer to one of them before it is rounded.
    if off and 2.0 * off == float(towards) - float(nearest) and Fraction(double) != value:
        nearer = (Fraction(double) < value) == (off > 0)
        nearest = towards if nearer else nearest
    return Fraction(float(nearest))


@lru_cache(maxsize=2**16)
def _inside(format_: FloatFormat, side: Side, up: bool) -> Side:
    value, strict = side
    largest = format_.largest
    if abs(value) > largest:
        within = (value < 0) == up
        return (largest if value > 0 else -largest, False) if within else (value, strict)
    near = format_.dtype(float(value))
    step = format_.dtype(np.inf if up else -np.inf)
    for _ in range(3):
        exact = Fraction(float(near)) if np.isfinite(near) else None
        if exact is None:
            break
        if exact == value if not strict else False:
            return exact, False
        if exact > value if up else exact < value:
            return exact, False
        near = np.nextafter(near, step)
    return value, True
