"""Linear constraints in exact fractions, and what ``and`` and ``or`` make of them: alternatives of conjunctions."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TypeAlias

from distverify.data.vnnlib.text import NUMBER, VARIABLE, Budget, Expression, Unreadable

_MOST_ALTERNATIVES = 10_000
_MOST_CONSTRAINTS = 1_000_000  # of all alternatives together

# Coefficients by variable, and under "" the constant: an affine function, which a constraint says to be <= 0.
Affine: TypeAlias = dict[str, Fraction]
Conjunction: TypeAlias = list[Affine]


def variables_of(constraint: Affine) -> list[str]:
    """The variables that a constraint is about."""
    return [name for name, value in constraint.items() if name and value]


def alternatives(expression: Expression, budget: Budget) -> list[Conjunction]:
    """The expression in disjunctive normal form.

    Raises
    ------
    Unreadable
        Anything but linear constraints under ``and`` and ``or``, or too many alternatives.
    """
    operator = expression[0] if isinstance(expression, list) and expression else expression
    parts = expression[1:] if isinstance(expression, list) else []
    if operator == "or":
        listed: list[Conjunction] = []
        for part in parts:
            listed += alternatives(part, budget)
            _limit(len(listed), 0)
        return listed
    if operator == "and":
        return conjunction([alternatives(part, budget) for part in parts], budget)
    if operator in ("<=", "<", ">=", ">", "=") and len(parts) == 2:
        budget.check()
        left, right = _affine(parts[0], budget), _affine(parts[1], budget)
        # A strict constraint is read as its closure: at worst, a point more is taken for a counterexample.
        sides = [(left, right)] if operator in ("<=", "<") else [(right, left)]
        if operator == "=":
            sides.append((left, right))
        return [[_sum(side, (1, -1), budget) for side in sides]]
    raise Unreadable(f"asserts {str(operator)[:40]!r} of {len(parts)} operands; known are and, or, <=, >= and =")


def conjunction(parts: Sequence[list[Conjunction]], budget: Budget) -> list[Conjunction]:
    """All of ``parts`` at once, each given as its alternatives."""
    common = [constraint for options in parts if len(options) == 1 for constraint in options[0]]
    products: list[Conjunction] = [[]]
    for options in (p for p in parts if len(p) != 1):
        longest = max(map(len, products), default=0) + max(map(len, options), default=0)
        _limit(len(products) * len(options), longest)
        budget.check()
        products = [a + b for a in products for b in options]
    _limit(len(products), len(common) + max(map(len, products), default=0))
    return [common + product for product in products]


def _limit(count: int, constraints: int) -> None:
    if count > _MOST_ALTERNATIVES:
        raise Unreadable(f"has more than {_MOST_ALTERNATIVES} alternatives; split the property")
    if count > 1 and count * constraints > _MOST_CONSTRAINTS:
        raise Unreadable(f"has alternatives of more than {_MOST_CONSTRAINTS} constraints in all; split the property")


def _affine(term: Expression, budget: Budget) -> Affine:
    if isinstance(term, str):
        if VARIABLE.fullmatch(term):
            return {term: Fraction(1)}
        if not NUMBER.fullmatch(term):
            raise Unreadable(f"has {term[:40]!r} where a number or a variable X_0, Y_0, ... is expected")
        return {"": Fraction(term)}
    operator, parts = (term[0], [_affine(part, budget) for part in term[1:]]) if term else ("", [])
    if operator == "+" and parts:
        return _sum(parts, [1] * len(parts), budget)
    if operator == "-" and parts:
        return _sum(parts, [-1] if len(parts) == 1 else [1, *[-1] * (len(parts) - 1)], budget)
    if operator == "*" and len(parts) == 2:
        number, other = parts if set(parts[0]) <= {""} else parts[::-1]
        if set(number) <= {""}:
            return _sum([other], [number.get("", Fraction(0))], budget)
        raise Unreadable("multiplies two variables; only linear constraints can be verified")
    raise Unreadable(f"has a term {str(operator)[:40]!r} of {len(parts)} operands; known are +, - and * by a number")


def _sum(parts: Sequence[Affine], factors: Sequence[int | Fraction], budget: Budget) -> Affine:
    total: Affine = {}
    for k, (part, factor) in enumerate(zip(parts, factors, strict=True)):
        if k % 256 == 255:
            budget.check()
        for name, value in part.items():
            term = value if factor == 1 else factor * value
            total[name] = total[name] + term if name in total else term
    return total
