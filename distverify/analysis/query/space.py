"""The inputs of a case: those that must be equal are one, each within bounds; bounds follow from sums of inputs, too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from distverify.analysis.query.cases import LARGEST_SINGLE, Atom, Case, Side
from distverify.data.query.terms import Variable

_ROUNDS = 6
_UNIT = Fraction(1, 2**24)
_SMALLEST = Fraction(1, 2**149)


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

    def box(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """The smallest box of float64 numbers around it; None where it is unbounded."""
        if any(s is None for s in (*self.lower, *self.upper)):
            return None
        low = tuple(_outwards(s[0], -math.inf) for s in self.lower if s is not None)
        high = tuple(_outwards(s[0], math.inf) for s in self.upper if s is not None)
        return (low, high) if all(map(math.isfinite, (*low, *high))) else None


def sides_of(case: Case, space: Space) -> Sides | None:
    """The bounds of a case's coordinates; None where nothing is left."""
    of, single = space.of, case.bounds.single
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
    if single:
        for place in range(space.size):
            lower[place] = _on_grid(lower[place] or (-LARGEST_SINGLE, False), up=True)
            upper[place] = _on_grid(upper[place] or (LARGEST_SINGLE, False), up=False)
    atoms = [a for a in case.atoms if a.linear and a.operator != "!=" and a.variables <= of.keys()]
    for _ in range(_ROUNDS if atoms else 0):
        moved = False
        for atom in atoms:
            moved |= _propagate(atom, of, sides, single)
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


def _propagate(atom: Atom, of: Mapping[int, int], sides: Sides, single: bool) -> bool:
    """Bound each input of a sum by what the others leave; whether something moved noticeably."""
    weights: dict[int, Fraction] = {}
    for monomial, weight in atom.polynomial.items():
        if monomial:
            weights[of[monomial[0]]] = weights.get(of[monomial[0]], Fraction(0)) + weight
    constant, moved = atom.constant, False
    slack = Fraction(0)
    if single:
        slack = 2 * (atom.roundings + 1) * _UNIT * _size(atom, of, sides) + (atom.roundings + 1) * _SMALLEST
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
                sides.upper[place] = _on_grid((limit, False), up=False) if single else (limit, False)
                moved |= width is None or high is None or high[0] - limit > width / 16
            elif sign * weight < 0 and (low is None or limit > low[0]):
                sides.lower[place] = _on_grid((limit, False), up=True) if single else (limit, False)
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


@lru_cache(maxsize=2**16)
def _on_grid(side: tuple[Fraction, bool], up: bool) -> tuple[Fraction, bool]:
    """The next float32 number upwards or downwards; not the number itself where the side is strict."""
    value, strict = side
    if abs(value) > LARGEST_SINGLE:
        inside = (value < 0) == up
        return (LARGEST_SINGLE if value > 0 else -LARGEST_SINGLE, False) if inside else (value, strict)
    near = np.float32(float(value))
    step = np.float32(np.inf if up else -np.inf)
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


def _outwards(exact: Fraction, towards: float) -> float:
    try:
        value = float(exact)
    except OverflowError:
        return towards
    wrong = Fraction(value) < exact if towards > 0 else Fraction(value) > exact
    return math.nextafter(value, towards) if wrong else value
