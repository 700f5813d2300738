"""Whether a point satisfies a query: in exact arithmetic for reals, as the models run for float32; and what it is told as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.query.exact import value_at
from distverify.analysis.query.formats import FloatFormat
from distverify.analysis.query.joint import Joint
from distverify.analysis.query.space import Sides
from distverify.data.query.terms import (
    Comparison,
    Constant,
    Formula,
    Term,
    Variable,
    comparisons,
    fold,
    holds,
    variables,
)
from distverify.errors import ModelError

Floats = NDArray[np.float64]
Interval = tuple[Fraction, Fraction]


@dataclass(frozen=True, eq=False)
class Witness:
    """An assignment that satisfies a query.

    Attributes
    ----------
    values : list of Fraction or float
        Of all elements; those of outputs may be rounded, where the query is about reals.
    """

    values: list[Any]


@dataclass(eq=False)
class Judge:
    """Decides about points of one joint network's coordinates.

    Attributes
    ----------
    joint : Joint
    readable : bool
        Whether the models can be read as a network; else they can only be run.
    """

    joint: Joint
    readable: bool = True

    @cached_property
    def _formulas(self) -> list[Formula]:
        """The assertions; those that speak of more than inputs, which fail more often, come first."""
        of = self.joint.space.of

        def inputs_only(formula: Formula) -> bool:
            return all(v in of for c in comparisons(formula) for side in (c.left, c.right) for v in variables(side))

        return sorted(self.joint.bound.query.assertions, key=inputs_only)

    def accept(self, u: Floats, sides: Sides | None = None) -> Witness | None:
        """The witness at ``u`` [coordinates], if it certainly is one; over the reals it is moved to lie within ``sides``.

        Boxes of float64 numbers are around those of a query's decimals, and searches end at their sides.
        """
        format_ = self.joint.bound.format
        if format_ is not None:
            return self.accept_floats(u.astype(format_.dtype).astype(np.float64), format_)
        if not self.readable:
            return None
        short = u.astype(np.float32).astype(np.float64)
        if sides is not None:
            short, u = (np.clip(point, *sides.within) for point in (short, u))
        for point in (u,) if (short == u).all() else (short, u):
            found = self._accept_exactly(point)
            if found is not None:
                return found
        return None

    def accept_floats(self, u: Floats, format_: FloatFormat) -> Witness | None:
        """The same for a query about floating-point numbers: as its models run; comparisons in arithmetic of the format."""
        try:
            values = self.joint.run(u)
        except ModelError:
            return None
        if not np.isfinite(values).all():
            return None
        with np.errstate(all="ignore"):
            own = list(values.astype(format_.dtype))
            if not all(holds(f, own, format_.number, format_.dtype) for f in self._formulas):
                return None
        return Witness([float(v) for v in values])

    def accept_real(self, u: Sequence[Fraction]) -> Witness | None:
        """The same for a query about reals, in exact arithmetic."""
        joint = self.joint
        exact = joint.exact
        if exact is None:
            x = np.array([float(v) for v in u])
            return None if any(Fraction(float(a)) != b for a, b in zip(x, u, strict=True)) else self._accept_exactly(x)
        of = joint.space.of
        known = _Known(of, u)
        known.update({e: (v, v) for e, v in zip(joint.elements, value_at(exact, u), strict=True) if e not in of})
        return self._certainly(known)

    def _accept_exactly(self, x: Floats) -> Witness | None:
        joint = self.joint
        if joint.exact is not None:
            return self.accept_real([Fraction(float(v)) for v in x])
        from distverify.bounds.interval import output_at

        low, high = output_at(joint.plain, x)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            return None
        known = _Known(joint.space.of, x)
        for e, a, b in zip(joint.elements, low.tolist(), high.tolist(), strict=True):
            if e not in known.of:
                known[e] = Fraction(a), Fraction(b)
        return self._certainly(known)

    def _certainly(self, known: _Known) -> Witness | None:
        """The witness of what is known, if all assertions certainly hold."""
        if not all(certain(f, known) for f in self._formulas):
            return None
        query, u = self.joint.bound.query, known.point
        values: list[Any] = [None] * query.size
        for e in known.of:
            known[e]
        for e, (a, b) in known.items():
            values[e] = a if a == b else (a + b) / 2
        if any(v is None for v in values):
            told = self.joint.run(np.array([float(v) for v in u]))
            values = [float(t) if v is None else v for v, t in zip(values, told, strict=True)]
        return Witness(values)


class _Known(dict[int, Interval]):
    """Intervals of elements; those of inputs, numbers of ``point``, are made when they are asked for."""

    def __init__(self, of: Mapping[int, int], point: Sequence[Fraction] | Floats) -> None:
        super().__init__()
        self.of, self.point = of, point

    def __missing__(self, element: int) -> Interval:
        value = self.point[self.of[element]]
        exact = value if isinstance(value, Fraction) else Fraction(float(value))
        self[element] = exact, exact
        return self[element]


def certain(formula: Formula, known: Mapping[int, Interval]) -> bool:
    """Whether ``formula`` is true of all values in the intervals."""
    if isinstance(formula, Comparison):
        a, b = _range(formula.left, known)
        c, d = _range(formula.right, known)
        if formula.operator == "<=":
            return b <= c
        if formula.operator == "<":
            return b < c
        if formula.operator == "==":
            return a == b == c == d
        return b < c or d < a
    wanted = formula.operator == "and"
    for part in formula.parts:
        if certain(part, known) != wanted:
            return not wanted
    return wanted


def _range(term: Term, known: Mapping[int, Interval]) -> Interval:
    if isinstance(term, Variable):
        return known[term.index]
    if isinstance(term, Constant):
        return term.value, term.value

    def leaf(own: Constant | Variable) -> Interval:
        return (own.value, own.value) if isinstance(own, Constant) else known[own.index]

    found: Interval = fold(term, leaf, _joined)
    return found


def _joined(operator: str, parts: list[Interval]) -> Interval:
    if operator == "-" and len(parts) == 1:
        return -parts[0][1], -parts[0][0]
    low, high = parts[0]
    for a, b in parts[1:]:
        if operator == "+":
            low, high = low + a, high + b
        elif operator == "-":
            low, high = low - b, high - a
        else:
            corners = (low * a, low * b, high * a, high * b)
            low, high = min(corners), max(corners)
    return low, high
