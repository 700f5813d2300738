"""The cases of a query's assertions: conjunctions of comparisons, one of which must be met; what contradicts itself is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

import numpy as np

from distverify.data.query.terms import (
    Arithmetic,
    Comparison,
    Connective,
    Constant,
    Formula,
    Polynomial,
    Term,
    TooComplex,
    Variable,
    difference,
    operations,
    polynomial,
)  # fmt: skip

MOST_CASES = 20_000
_UNIT = Fraction(1, 2**24)
_SMALLEST = Fraction(1, 2**149)
_ZERO = Fraction(0)
LARGEST_SINGLE = Fraction(float(np.finfo(np.float32).max))


@dataclass(frozen=True, eq=False)
class Atom:
    """A comparison as a polynomial: ``polynomial operator 0``, operators <=, <, == or !=.

    Attributes
    ----------
    comparison : Comparison
    polynomial : dict
    sizes : dict
        The polynomial of all magnitudes, whose value bounds everything that is summed.
    roundings : int
        Operations and constants that may round.
    """

    comparison: Comparison
    polynomial: Polynomial
    sizes: Polynomial
    roundings: int

    @property
    def operator(self) -> str:
        return self.comparison.operator

    @property
    def linear(self) -> bool:
        return all(len(m) <= 1 for m in self.polynomial)

    @property
    def variables(self) -> set[int]:
        return {v for monomial in self.polynomial for v in monomial}

    @property
    def constant(self) -> Fraction:
        return self.polynomial.get((), _ZERO)


def make_atom(comparison: Comparison) -> Atom:
    """The comparison as an atom.

    Raises
    ------
    TooComplex
    """
    own = difference(comparison)
    return Atom(comparison, own, _sizes(comparison), operations(comparison.left) + operations(comparison.right))


def _sizes(comparison: Comparison) -> Polynomial:
    """The polynomial of magnitudes."""

    def positive(term: Term) -> Term:
        if isinstance(term, Constant):
            return Constant(abs(term.value))
        if isinstance(term, Variable):
            return term
        return Arithmetic("*" if term.operator == "*" else "+", tuple(map(positive, term.parts)))

    return polynomial(Arithmetic("+", (positive(comparison.left), positive(comparison.right))))


# A bound of an input, and whether it is strict.
Side = tuple[Fraction, bool] | None


@dataclass(eq=False)
class Bounds:
    """Bounds of single inputs, by their place among all elements.

    Attributes
    ----------
    single : bool
        Of float32 numbers: a constant counts as it is written and as float32 rounds it, whichever leaves more.
    """

    single: bool
    lower: dict[int, tuple[Fraction, bool]] = field(default_factory=dict)
    upper: dict[int, tuple[Fraction, bool]] = field(default_factory=dict)

    def copy(self) -> Bounds:
        return Bounds(self.single, dict(self.lower), dict(self.upper))

    def take(self, atom: Atom) -> bool:
        """Bound the atom's one variable; False where nothing is left of it."""
        ((variable,), weight) = next((m, w) for m, w in atom.polynomial.items() if m)
        operator = atom.operator
        if operator == "!=":
            return True
        for sign in (1, -1) if operator == "==" else (1,):
            w, c = sign * weight, sign * atom.constant
            if self.single and not _plain(atom):
                # Rounding moves what is compared by at most gamma times its size.
                gamma = 2 * (atom.roundings + 1) * _UNIT
                size = atom.sizes.get((), _ZERO)
                c -= gamma * size + (atom.roundings + 1) * _SMALLEST
                spread = gamma * atom.sizes.get((variable,), _ZERO)
                if spread >= abs(w):
                    continue
                steep = abs(w) - spread if c <= 0 else abs(w) + spread
                limits = [-c / steep if w > 0 else c / steep]
            else:
                limits = [-c / w]
                if self.single:
                    limits.append(rounded(limits[0]))
            if not self._bound(variable, limits, w > 0, operator == "<"):
                return False
        return True

    def _bound(self, variable: int, limits: Sequence[Fraction], above: bool, strict: bool) -> bool:
        limit = max(limits) if above else min(limits)
        side = self.upper if above else self.lower
        own = side.get(variable)
        if own is None or (limit < own[0] if above else limit > own[0]) or (limit == own[0] and strict):
            side[variable] = (limit, strict)
        low, high = self.lower.get(variable), self.upper.get(variable)
        if low is None or high is None:
            return True
        return low[0] < high[0] or (low[0] == high[0] and not low[1] and not high[1])


def _plain(atom: Atom) -> bool:
    """Whether a variable is compared with a constant, without arithmetic."""
    return atom.roundings <= 1 and any(isinstance(s, Variable) for s in (atom.comparison.left, atom.comparison.right))


@lru_cache(maxsize=2**16)
def rounded(value: Fraction) -> Fraction:
    """``value`` as float32 rounds it; itself beyond the range."""
    if abs(value) >= LARGEST_SINGLE:
        return value
    double = float(value)
    nearest = np.float32(double)
    off = double - float(nearest)
    towards = np.nextafter(nearest, np.float32(np.inf if off > 0 else -np.inf))
    # What lies half-way between two numbers in float64 is nearer to one of them before it is rounded.
    if off and 2.0 * off == float(towards) - float(nearest) and Fraction(double) != value:
        nearer = (Fraction(double) < value) == (off > 0)
        nearest = towards if nearer else nearest
    return Fraction(float(nearest))


@dataclass(frozen=True, eq=False)
class Case:
    """All of ``atoms`` at once.

    Attributes
    ----------
    bounds : Bounds
        Of single inputs; their atoms are not among ``atoms``, except those with !=.
    atoms : tuple of Atom
    """

    bounds: Bounds
    atoms: tuple[Atom, ...]


def find_cases(formulas: Sequence[Formula], inputs: frozenset[int], single: bool) -> Iterator[Case]:
    """The cases, one after the other.

    Parameters
    ----------
    inputs : set of int
        Which elements are inputs.
    single : bool
        Whether it is about float32 numbers.

    Raises
    ------
    TooComplex
        There are too many, or a comparison is too complex.
    """
    return _Expansion(inputs, single).run(list(formulas))


class _Expansion:
    def __init__(self, inputs: frozenset[int], single: bool) -> None:
        self._inputs, self._single = inputs, single
        self._atoms: dict[int, Atom] = {}
        self._steps = 0

    def run(self, formulas: list[Formula]) -> Iterator[Case]:
        yield from self._expand(formulas, Bounds(self._single), [], [])

    def _expand(
        self, pending: list[Formula], bounds: Bounds, atoms: list[Atom], choices: list[Connective]
    ) -> Iterator[Case]:
        self._steps += 1
        if self._steps > MOST_CASES:
            raise TooComplex(f"there are more than {MOST_CASES} cases")
        pending = list(pending)[::-1]
        while pending:
            formula = pending.pop()
            if isinstance(formula, Connective):
                if formula.operator == "and":
                    pending.extend(reversed(formula.parts))
                else:
                    choices.append(formula)
                continue
            atom = self._atom(formula)
            variables = atom.variables
            if not variables:
                if not self._single and not _true(atom):
                    return
                if self._single and not (_true(atom) or _nearly(atom)):
                    return
                continue
            if atom.linear and len(variables) == 1 and variables <= self._inputs:
                if not bounds.take(atom):
                    return
                if atom.operator != "!=":
                    continue
            atoms.append(atom)
        if not choices:
            yield Case(bounds, tuple(atoms))
            return
        # The choice with the fewest parts comes first.
        first = min(range(len(choices)), key=lambda i: len(choices[i].parts))
        others = choices[:first] + choices[first + 1 :]
        for part in choices[first].parts:
            yield from self._expand([part], bounds.copy(), list(atoms), list(others))

    def _atom(self, comparison: Comparison) -> Atom:
        key = id(comparison)
        if key not in self._atoms:
            self._atoms[key] = make_atom(comparison)
        return self._atoms[key]


def _true(atom: Atom) -> bool:
    value = atom.constant
    return {"<=": value <= 0, "<": value < 0, "==": value == 0, "!=": value != 0}[atom.operator]


def _nearly(atom: Atom) -> bool:
    """Whether rounding may make it true."""
    size = atom.sizes.get((), _ZERO)
    return abs(atom.constant) <= 2 * (atom.roundings + 1) * _UNIT * size + _SMALLEST * (atom.roundings + 1)
