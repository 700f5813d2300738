"""The inputs of a case: those that must be equal are one, each within bounds; bounds follow from sums of inputs, too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.query.cases import Atom, Case, Side
from distverify.analysis.query.formats import FloatFormat
from distverify.data.query.terms import Variable

_ROUNDS = 6


@dataclass(frozen=True)
class Space:
    """Which coordinate each input element is; elements that must be equal share one."""

    places: tuple[tuple[int, int], ...]
    size: int

    @property
    def of(self) -> dict[int, int]:
        """Coordinates by element."""
        return dict(self.places)


def space_of(case: Case, inputs: Sequence[int]) -> Space:
    """The coordinates of a case."""
    parent = {i: i for i in inputs}

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for atom in case.atoms:
        pair = _equal_pair(atom, parent)
        if pair is not None:
            a, b = sorted((root(pair[0]), root(pair[1])))
            parent[b] = a
    numbers: dict[int, int] = {}
    places = tuple((i, numbers.setdefault(root(i), len(numbers))) for i in inputs)
    return Space(places, len(numbers))


def _equal_pair(atom: Atom, inputs: Mapping[int, int]) -> tuple[int, int] | None:
    left, right = atom.comparison.left, atom.comparison.right
    if atom.operator == "==" and isinstance(left, Variable) and isinstance(right, Variable):
        a, b = left.index, right.index
        if a in inputs and b in inputs and a != b:
            return a, b
    return None


@dataclass(frozen=True, eq=False)
class Sides:
    """The bounds of every coordinate.

    Attributes
    ----------
    lower, upper : list of (Fraction, strict) or None
    """

    lower: list[Side]
    upper: list[Side]

    @cached_property
    def within(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The largest box of float64 numbers inside, float64 [coordinates] each; infinite where there is no bound."""
        low = np.array([-math.inf if s is None else -_inwards(-s[0], s[1]) for s in self.lower])
        high = np.array([math.inf if s is None else _inwards(s[0], s[1]) for s in self.upper])
        return low, np.maximum(low, high)

    @property
    def ranges(self) -> dict[int, tuple[Fraction, Fraction]]:
        """The coordinates that are bounded, with their bounds."""
        return {
            place: (low[0], high[0])
            for place, (low, high) in enumerate(zip(self.lower, self.upper, strict=True))
            if low is not None and high is not None
        }

    def box(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """The smallest box of float64 numbers around it; None where it is unbounded."""
        if any(s is None for s in (*self.lower, *self.upper)):
            return None
        low = tuple(_outwards(s[0], -math.inf) for s in self.lower if s is not None)
        high = tuple(_outwards(s[0], math.inf) for s in self.upper if s is not None)
        return (low, high) if all(map(math.isfinite, (*low, *high))) else None


def sides_of(case: Case, space: Space) -> Sides | None:
    """The bounds of a case's coordinates; None where nothing is left."""
    of, format_ = space.of, case.bounds.format
    lower: list[Side] = [None] * space.size
    upper: list[Side] = [None] * space.size
    for variable, place in of.items():
        low, high = case.bounds.lower.get(variable), case.bounds.upper.get(variable)
        old = lower[place]
        if low is not None and (old is None or low[0] > old[0] or (low[0] == old[0] and low[1])):
            lower[place] = low
        old = upper[place]
        if high is not None and (old is None or high[0] < old[0] or (high[0] == old[0] and high[1])):
            upper[place] = high
    sides = Sides(lower, upper)
    if format_ is not None:
        largest = format_.largest
        for place in range(space.size):
            lower[place] = format_.inside(lower[place] or (-largest, False), up=True)
            upper[place] = format_.inside(upper[place] or (largest, False), up=False)
    linear = [a for a in case.atoms if a.linear and a.operator != "!="]
    atoms = [a for a in linear if (a.variables if format_ is None else a.spoken) <= of.keys()]
    for _ in range(_ROUNDS if atoms else 0):
        moved = False
        for atom in atoms:
            moved |= _propagate(atom, of, sides, format_)
        if not all(map(_some, lower, upper)):
            return None
        if not moved:
            break
    return sides if all(map(_some, lower, upper)) else None


def _some(low: Side, high: Side) -> bool:
    """Whether something lies between."""
    if low is None or high is None:
        return True
    return low[0] < high[0] or (low[0] == high[0] and not low[1] and not high[1])


def _propagate(atom: Atom, of: Mapping[int, int], sides: Sides, format_: FloatFormat | None) -> bool:
    """Bound each input of a sum by what the others leave; whether something moved noticeably."""
    weights: dict[int, Fraction] = {}
    for monomial, weight in atom.polynomial.items():
        if monomial:
            weights[of[monomial[0]]] = weights.get(of[monomial[0]], Fraction(0)) + weight
    constant, moved = atom.constant, False
    slack = Fraction(0)
    if format_ is not None:
        slack = (atom.roundings + 1) * (2 * format_.unit * _size(atom, of, sides) + format_.smallest)
    for sign in (1, -1) if atom.operator == "==" else (1,):
        least: dict[int, Fraction | None] = {}
        for place, weight in weights.items():
            side = sides.lower[place] if sign * weight > 0 else sides.upper[place]
            least[place] = None if side is None else sign * weight * side[0]
        for place, weight in weights.items():
            others = [v for p, v in least.items() if p != place]
            if not weight or None in others:
                continue
            room = slack - sign * constant - sum((v for v in others if v is not None), Fraction(0))
            limit = room / (sign * weight)
            low, high = sides.lower[place], sides.upper[place]
            width = None if low is None or high is None else high[0] - low[0]
            if sign * weight > 0 and (high is None or limit < high[0]):
                sides.upper[place] = (limit, False) if format_ is None else format_.inside((limit, False), up=False)
                moved |= width is None or high is None or high[0] - limit > width / 16
            elif sign * weight < 0 and (low is None or limit > low[0]):
                sides.lower[place] = (limit, False) if format_ is None else format_.inside((limit, False), up=True)
                moved |= width is None or low is None or limit - low[0] > width / 16
    return moved


def _size(atom: Atom, of: Mapping[int, int], sides: Sides) -> Fraction:
    """A bound of the sum of all magnitudes."""
    total = Fraction(0)
    for monomial, weight in atom.sizes.items():
        part = weight
        for variable in monomial:
            low, high = sides.lower[of[variable]], sides.upper[of[variable]]
            assert low is not None
            assert high is not None
            part *= max(abs(low[0]), abs(high[0]))
        total += part
    return total


def _inwards(exact: Fraction, strict: bool) -> float:
    """The largest float64 number that is no larger, or smaller where it is strict."""
    try:
        value = float(exact)
    except OverflowError:
        return math.copysign(math.inf, exact)
    over = Fraction(value) >= exact if strict else Fraction(value) > exact
    return math.nextafter(value, -math.inf) if over else value


def _outwards(exact: Fraction, towards: float) -> float:
    try:
        value = float(exact)
    except OverflowError:
        return towards
    wrong = Fraction(value) < exact if towards > 0 else Fraction(value) > exact
    return math.nextafter(value, towards) if wrong else value
