"""Arithmetic over the elements of declared tensors, and formulas of comparisons: as they are written, and as polynomials."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

# Polynomials by monomial: the sorted variables of each product, () for the constant.
Polynomial: TypeAlias = dict[tuple[int, ...], Fraction]

_MOST_TERMS = 100_000
_HIGHEST_DEGREE = 8


class TooComplex(Exception):
    """A formula that is well-formed, but larger than what is looked at."""


@dataclass(frozen=True)
class Constant:
    """A number, exactly."""

    value: Fraction


@dataclass(frozen=True)
class Variable:
    """An element of a tensor, by its place among all elements of the query."""

    index: int


@dataclass(frozen=True)
class Arithmetic:
    """``operator`` "+", "*" or "-" over one or more terms; "-" of one term is its negative."""

    operator: str
    parts: tuple[Term, ...]


Term: TypeAlias = Constant | Variable | Arithmetic


@dataclass(frozen=True)
class Comparison:
    """``left operator right``; operators are <=, <, ==, != (> and >= are turned round)."""

    operator: str
    left: Term
    right: Term


@dataclass(frozen=True)
class Connective:
    """``operator`` "and" or "or" over formulas."""

    operator: str
    parts: tuple[Formula, ...]


Formula: TypeAlias = Comparison | Connective


def polynomial(term: Term) -> Polynomial:
    """``term`` multiplied out.

    Raises
    ------
    TooComplex
    """
    if isinstance(term, Constant):
        return {(): term.value} if term.value else {}
    if isinstance(term, Variable):
        return {(term.index,): Fraction(1)}
    parts = [polynomial(part) for part in term.parts]
    if term.operator == "*":
        total = parts[0]
        for part in parts[1:]:
            total = _product(total, part)
        return total
    if term.operator == "-" and len(parts) == 1:
        return {m: -c for m, c in parts[0].items()}
    sign = -1 if term.operator == "-" else 1
    total = dict(parts[0])
    for part in parts[1:]:
        for monomial, value in part.items():
            total[monomial] = total.get(monomial, Fraction(0)) + sign * value
    return {m: c for m, c in total.items() if c}


def _product(a: Polynomial, b: Polynomial) -> Polynomial:
    if len(a) * len(b) > _MOST_TERMS:
        raise TooComplex("a product of sums has too many terms")
    total: Polynomial = {}
    for left, x in a.items():
        for right, y in b.items():
            monomial = tuple(sorted(left + right))
            if len(monomial) > _HIGHEST_DEGREE:
                raise TooComplex("a product has too many factors")
            total[monomial] = total.get(monomial, Fraction(0)) + x * y
    return {m: c for m, c in total.items() if c}


def difference(comparison: Comparison) -> Polynomial:
    """left - right, as a polynomial."""
    return polynomial(Arithmetic("-", (comparison.left, comparison.right)))


def evaluate(
    term: Term, values: Sequence[Any], number: Callable[[Fraction], Any], round_: Callable[[Any], Any] = lambda x: x
) -> Any:
    """``term`` in the arithmetic of ``values``: constants through ``number``, each operation's result through ``round_``."""
    if isinstance(term, Constant):
        return number(term.value)
    if isinstance(term, Variable):
        return values[term.index]
    parts = [evaluate(part, values, number, round_) for part in term.parts]
    if term.operator == "-" and len(parts) == 1:
        return -parts[0]
    total = parts[0]
    for part in parts[1:]:
        if term.operator == "+":
            total = round_(total + part)
        elif term.operator == "-":
            total = round_(total - part)
        else:
            total = round_(total * part)
    return total


def holds(
    formula: Formula,
    values: Sequence[Any],
    number: Callable[[Fraction], Any],
    round_: Callable[[Any], Any] = lambda x: x,
) -> bool:
    """Whether ``formula`` is true of ``values``; see :func:`evaluate`."""
    if isinstance(formula, Connective):
        parts = (holds(part, values, number, round_) for part in formula.parts)
        return all(parts) if formula.operator == "and" else any(parts)
    left = evaluate(formula.left, values, number, round_)
    right = evaluate(formula.right, values, number, round_)
    if formula.operator == "<=":
        return bool(left <= right)
    if formula.operator == "<":
        return bool(left < right)
    return bool(left == right) if formula.operator == "==" else bool(left != right)


def comparisons(formula: Formula) -> Iterator[Comparison]:
    """All comparisons of ``formula``, in order."""
    if isinstance(formula, Comparison):
        yield formula
    else:
        for part in formula.parts:
            yield from comparisons(part)


def variables(term: Term) -> Iterator[int]:
    """The variables of ``term``, as often as they occur."""
    if isinstance(term, Variable):
        yield term.index
    elif isinstance(term, Arithmetic):
        for part in term.parts:
            yield from variables(part)


def operations(term: Term) -> int:
    """How many operations and constants ``term`` has: what may round."""
    if isinstance(term, Arithmetic):
        return len(term.parts) + sum(map(operations, term.parts))
    return int(isinstance(term, Constant))
