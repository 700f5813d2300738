"""Arithmetic over the elements of declared tensors, and formulas of comparisons: as they are written, and as polynomials."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

# Polynomials by monomial: the sorted variables of each product, () for the constant.
Polynomial: TypeAlias = dict[tuple[int, ...], Fraction]

_ZERO = Fraction(0)
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


def fold(term: Term, leaf: Callable[[Constant | Variable], Any], join: Callable[[str, list[Any]], Any]) -> Any:
    """What ``join`` makes of each operation's operator and parts, from ``leaf`` of constants and variables upwards.

    Terms may be nested deeper than Python calls functions: sums that tools write come as one operation of two terms per summand.
    """
    if not isinstance(term, Arithmetic):
        return leaf(term)
    made: list[Any] = []
    ahead: list[tuple[Term, bool]] = [(term, False)]
    while ahead:
        own, entered = ahead.pop()
        if not isinstance(own, Arithmetic):
            made.append(leaf(own))
        elif entered:
            first = len(made) - len(own.parts)
            made[first:] = [join(own.operator, made[first:])]
        else:
            ahead.append((own, True))
            ahead.extend((part, False) for part in reversed(own.parts))
    return made[0]


def polynomial(term: Term) -> Polynomial:
    """``term`` multiplied out.

    Raises
    ------
    TooComplex
    """
    total: Polynomial = fold(term, _monomial, _joined)
    return {m: c for m, c in total.items() if c}


def _monomial(leaf: Constant | Variable) -> Polynomial:
    return {(): leaf.value} if isinstance(leaf, Constant) else {(leaf.index,): Fraction(1)}


def _joined(operator: str, parts: list[Polynomial]) -> Polynomial:
    """A sum, difference or product; the parts are not needed any more."""
    if operator == "*":
        total = parts[0]
        for part in parts[1:]:
            total = _product(total, part)
        return total
    if operator == "-" and len(parts) == 1:
        return {m: -c for m, c in parts[0].items()}
    # A long sum takes what is short, wherever it stands.
    longest = max(range(len(parts)), key=lambda k: len(parts[k])) if operator == "+" else 0
    total, sign = parts[longest], -1 if operator == "-" else 1
    for k, part in enumerate(parts):
        for monomial, value in part.items() if k != longest else ():
            total[monomial] = total.get(monomial, _ZERO) + sign * value
    return total


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
    if isinstance(term, Variable):
        return values[term.index]
    if isinstance(term, Constant):
        return number(term.value)
    if isinstance(term, Constant):
        return number(term.value)
    if isinstance(term, Variable):
        return values[term.index]

    def join(operator: str, parts: list[Any]) -> Any:
        if operator == "-" and len(parts) == 1:
            return -parts[0]
        total = parts[0]
        for part in parts[1:]:
            if operator == "+":
                total = round_(total + part)
            elif operator == "-":
                total = round_(total - part)
            else:
                total = round_(total * part)
        return total

    return fold(term, lambda own: number(own.value) if isinstance(own, Constant) else values[own.index], join)


def holds(
    formula: Formula,
    values: Sequence[Any],
    number: Callable[[Fraction], Any],
    round_: Callable[[Any], Any] = lambda x: x,
) -> bool:
    """Whether ``formula`` is true of ``values``; see :func:`evaluate`."""
    if isinstance(formula, Connective):
        wanted = formula.operator == "and"
        for part in formula.parts:
            if holds(part, values, number, round_) != wanted:
                return not wanted
        return wanted
    left = evaluate(formula.left, values, number, round_)
    right = evaluate(formula.right, values, number, round_)
    if formula.operator == "<=":
        return bool(left <= right)
    if formula.operator == "<":
        return bool(left < right)
    return bool(left == right) if formula.operator == "==" else bool(left != right)


def comparisons(formula: Formula) -> Iterator[Comparison]:
    """All comparisons of ``formula``, in order."""
    ahead = [formula]
    while ahead:
        own = ahead.pop()
        if isinstance(own, Comparison):
            yield own
        else:
            ahead.extend(reversed(own.parts))


def variables(term: Term) -> Iterator[int]:
    """The variables of ``term``, as often as they occur."""
    ahead = [term]
    while ahead:
        own = ahead.pop()
        if isinstance(own, Variable):
            yield own.index
        elif isinstance(own, Arithmetic):
            ahead.extend(reversed(own.parts))


def operations(term: Term) -> int:
    """How many operations and constants ``term`` has: what may round."""
    total: int = fold(term, lambda own: int(isinstance(own, Constant)), lambda _, parts: len(parts) + sum(parts))
    return total
