"""Comparisons in floating-point arithmetic over boxes: rounding to the nearest is monotone, so ends of intervals are rounded as values are.

What an operation gives for any operands within intervals lies between the rounded ends of the exact result; nothing is added for
rounding, and a bound that is attained stays one.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import product

from distverify.analysis.query.formats import FloatFormat
from distverify.data.query.terms import Arithmetic, Comparison, Constant, Term, Variable, fold

Range = tuple[Fraction, Fraction]


class _NoRange(Exception):
    """Something is unbounded, or may overflow."""


def never(comparison: Comparison, known: Mapping[int, Range], format_: FloatFormat) -> bool:
    """Whether ``comparison`` is false for all values of elements in ``known`` ranges, however it is evaluated.

    The standard does not say whether constants and operations of a query are rounded: it must be false either way.

    Parameters
    ----------
    known : dict element -> (lower, upper)
        Of numbers of the format.
    """
    return all(
        _false(comparison, known, format_, constants, operations)
        for constants, operations in product((True, False), repeat=2)
    )


def _false(
    comparison: Comparison, known: Mapping[int, Range], format_: FloatFormat, constants: bool, operations: bool
) -> bool:
    try:
        sides = [_range(t, known, format_, constants, operations) for t in (comparison.left, comparison.right)]
    except _NoRange:
        return False
    (a, b), (c, d) = sides
    if comparison.operator == "<=":
        return a > d
    if comparison.operator == "<":
        return a >= d
    return b < c or d < a if comparison.operator == "==" else a == b == c == d


def _range(term: Term, known: Mapping[int, Range], format_: FloatFormat, constants: bool, operations: bool) -> Range:
    def rounded(value: Fraction, really: bool = operations) -> Fraction:
        if abs(value) > format_.largest:
            raise _NoRange
        return format_.rounded(value) if really else value

    def leaf(own: Constant | Variable) -> tuple[Range, Term]:
        if isinstance(own, Constant):
            number = rounded(own.value, constants)
            return (number, number), own
        if own.index not in known:
            raise _NoRange
        return known[own.index], own

    def join(operator: str, parts: list[tuple[Range, Term]]) -> tuple[Range, Term]:
        made = Arithmetic(operator, tuple(own for _, own in parts))
        (low, high), _ = parts[0]
        if operator == "-" and len(parts) == 1:
            return (-high, -low), made
        for (a, b), _ in parts[1:]:
            if operator == "+":
                ends = low + a, high + b
            elif operator == "-":
                ends = low - b, high - a
            else:
                corners = (low * a, low * b, high * a, high * b)
                ends = min(corners), max(corners)
            low, high = rounded(ends[0]), rounded(ends[1])
        if operator == "*" and len(parts) == 2 and _alike(*made.parts):
            low = max(low, Fraction(0)) if parts[0][0][0] < 0 < parts[0][0][1] else low
        return (low, high), made

    found: Range = fold(term, leaf, join)[0]
    return found


def _alike(a: Term, b: Term) -> bool:
    """Whether two small terms are the same, and so are their values."""
    small = all(
        isinstance(t, (Constant, Variable)) or not any(isinstance(p, Arithmetic) for p in t.parts) for t in (a, b)
    )
    return small and a == b
