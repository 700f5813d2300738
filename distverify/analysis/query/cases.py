"""The cases of a query's assertions: conjunctions of comparisons, one of which must be met; what contradicts itself is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod

from distverify.analysis.query.formats import FloatFormat
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
    fold,
    operations,
    polynomial,
)  # fmt: skip

MOST_CASES = 20_000
_ZERO = Fraction(0)


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
    def spoken(self) -> set[int]:
        """The variables that are computed with: those that cancel round, too."""
        return {v for monomial in self.sizes for v in monomial}

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

    def leaf(own: Constant | Variable) -> Term:
        return Constant(abs(own.value)) if isinstance(own, Constant) else own

    def join(operator: str, parts: list[Term]) -> Term:
        return Arithmetic("*" if operator == "*" else "+", tuple(parts))

    return polynomial(Arithmetic("+", (fold(comparison.left, leaf, join), fold(comparison.right, leaf, join))))


# A bound of an input, and whether it is strict.
Side = tuple[Fraction, bool] | None


@dataclass(eq=False)
class Bounds:
    """Bounds of single inputs, by their place among all elements.

    Attributes
    ----------
    format : FloatFormat or None
        Of the numbers: a constant counts as it is written and as the format rounds it, whichever leaves more. None: reals.
    """

    format: FloatFormat | None
    lower: dict[int, tuple[Fraction, bool]] = field(default_factory=dict)
    upper: dict[int, tuple[Fraction, bool]] = field(default_factory=dict)

    def copy(self) -> Bounds:
        return Bounds(self.format, dict(self.lower), dict(self.upper))

    def take(self, atom: Atom) -> bool:
        """Bound the atom's one variable; False where nothing is left of it."""
        ((variable,), weight) = next((m, w) for m, w in atom.polynomial.items() if m)
        operator = atom.operator
        if operator == "!=":
            return True
        for sign in (1, -1) if operator == "==" else (1,):
            w, c = sign * weight, sign * atom.constant
            if self.format is not None and not _plain(atom):
                # Rounding moves what is compared by at most gamma times its size.
                gamma = 2 * (atom.roundings + 1) * self.format.unit
                size = atom.sizes.get((), _ZERO)
                c -= gamma * size + (atom.roundings + 1) * self.format.smallest
                spread = gamma * atom.sizes.get((variable,), _ZERO)
                if spread >= abs(w):
                    continue
                steep = abs(w) - spread if c <= 0 else abs(w) + spread
                limits = [-c / steep if w > 0 else c / steep]
            else:
                limits = [-c / w]
                if self.format is not None:
                    limits.append(self.format.rounded(limits[0]))
            if not self._bound(variable, limits, w > 0, operator == "<"):
                return False
        return True

    def take_plain(self, comparison: Comparison) -> bool:
        """The same for a variable that is compared with a number; a file has a hundred thousand of these."""
        left, right = comparison.left, comparison.right
        variable, number = (left, right) if isinstance(left, Variable) else (right, left)
        assert isinstance(variable, Variable)
        assert isinstance(number, Constant)
        value = number.value
        limits = [value] if self.format is None else [value, self.format.rounded(value)]
        for above in (True, False) if comparison.operator == "==" else (variable is left,):
            if not self._bound(variable.index, limits, above, comparison.operator == "<"):
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


def find_cases(formulas: Sequence[Formula], inputs: frozenset[int], format_: FloatFormat | None) -> Iterator[Case]:
    """The cases, one after the other.

    Parameters
    ----------
    inputs : set of int
        Which elements are inputs.
    format_ : FloatFormat or None
        That it is about.

    Raises
    ------
    TooComplex
        There are too many, or a comparison is too complex.
    """
    return _Expansion(inputs, format_).run(list(formulas))


class _Expansion:
    def __init__(self, inputs: frozenset[int], format_: FloatFormat | None) -> None:
        self._inputs, self._format = inputs, format_
        self._atoms: dict[int, Atom] = {}
        self._steps = 0

    def run(self, formulas: list[Formula]) -> Iterator[Case]:
        yield from self._expand(formulas, Bounds(self._format), [], [])

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
            if self._is_plain(formula):
                if not bounds.take_plain(formula):
                    return
                continue
            atom = self._atom(formula)
            variables = atom.variables
            if not variables:
                if not possible(atom, self._format):
                    return
                continue
            alone = self._format is None or atom.spoken <= variables
            if atom.linear and len(variables) == 1 and variables <= self._inputs and alone:
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

    def _is_plain(self, comparison: Comparison) -> bool:
        """Whether an input is bounded by a number, as they are written."""
        left, right = comparison.left, comparison.right
        if isinstance(left, Constant):
            left, right = right, left
        bounded = isinstance(left, Variable) and isinstance(right, Constant) and left.index in self._inputs
        return bounded and comparison.operator != "!="

    def _atom(self, comparison: Comparison) -> Atom:
        key = id(comparison)
        if key not in self._atoms:
            self._atoms[key] = make_atom(comparison)
        return self._atoms[key]


def possible(atom: Atom, format_: FloatFormat | None) -> bool:
    """Whether a comparison without variables is true, or may be by rounding."""
    value = atom.constant
    if {"<=": value <= 0, "<": value < 0, "==": value == 0, "!=": value != 0}[atom.operator]:
        return True
    if format_ is None or not atom.roundings:
        return False
    if atom.spoken:
        return True  # what is lost by rounding depends on how large they are
    size = atom.sizes.get((), _ZERO)
    return abs(value) <= (atom.roundings + 1) * (2 * format_.unit * size + format_.smallest)


def relaxed(formulas: Sequence[Formula], most: int = 256) -> list[Formula]:
    """Some of ``formulas``, of which all must hold: as many as have few cases, and comparisons that are looked at."""
    kept: list[Formula] = []
    total = 1
    ahead = list(formulas)[::-1]
    while ahead:
        formula = ahead.pop()
        if isinstance(formula, Connective) and formula.operator == "and":
            ahead.extend(reversed(formula.parts))
            continue
        count = _count(formula, most)
        if total * count <= most:
            total *= count
            kept.append(formula)
    return kept


def _count(formula: Formula, most: int) -> int:
    """How many cases a formula has; more than ``most``, where there are too many or one is too complex."""
    if isinstance(formula, Comparison):
        try:
            make_atom(formula)
        except TooComplex:
            return most + 1
        return 1
    counts = [_count(part, most) for part in formula.parts]
    return min(most + 1, prod(counts) if formula.operator == "and" else sum(counts))
