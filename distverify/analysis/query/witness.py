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
from distverify.data.query.terms import Comparison, Constant, Formula, Term, Variable, comparisons, holds, variables
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
        """The witness at ``u`` [coordinates], if it certainly is one; ``sides`` are where numbers are moved to lie within."""
        format_ = self.joint.bound.format
        if format_ is not None:
            return self.accept_floats(u.astype(format_.dtype).astype(np.float64), format_)
        if not self.readable:
            return None
        short = u.astype(np.float32).astype(np.float64)
        for point in (u,) if (short == u).all() else (short, u):
            found = self.accept_real([Fraction(float(v)) for v in point])
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
        of, query = joint.space.of, joint.bound.query
        known: dict[int, Interval] = {e: (u[p], u[p]) for e, p in of.items()}
        exact = joint.exact
        if exact is not None:
            known.update({e: (v, v) for e, v in zip(joint.elements, value_at(exact, u), strict=True) if e not in of})
        else:
            from distverify.bounds.interval import output_at

            x = np.array([float(v) for v in u])
            if any(Fraction(float(a)) != b for a, b in zip(x, u, strict=True)):
                return None
            low, high = output_at(joint.plain, x)
            if not (np.isfinite(low).all() and np.isfinite(high).all()):
                return None
            for e, a, b in zip(joint.elements, low, high, strict=True):
                if e not in of:
                    known[e] = Fraction(float(a)), Fraction(float(b))
        if not all(certain(f, known) for f in self._formulas):
            return None
        values: list[Any] = [None] * query.size
        for e, (a, b) in known.items():
            values[e] = a if a == b else (a + b) / 2
        if any(v is None for v in values):
            told = self.joint.run(np.array([float(v) for v in u]))
            values = [float(t) if v is None else v for v, t in zip(values, told, strict=True)]
        return Witness(values)


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
    parts = (certain(part, known) for part in formula.parts)
    return all(parts) if formula.operator == "and" else any(parts)


def _range(term: Term, known: Mapping[int, Interval]) -> Interval:
    if isinstance(term, Constant):
        return term.value, term.value
    if isinstance(term, Variable):
        return known[term.index]
    parts = [_range(part, known) for part in term.parts]
    if term.operator == "-" and len(parts) == 1:
        return -parts[0][1], -parts[0][0]
    low, high = parts[0]
    for a, b in parts[1:]:
        if term.operator == "+":
            low, high = low + a, high + b
        elif term.operator == "-":
            low, high = low - b, high - a
        else:
            corners = (low * a, low * b, high * a, high * b)
            low, high = min(corners), max(corners)
    return low, high
