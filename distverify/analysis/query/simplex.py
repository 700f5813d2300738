"""Linear constraints in exact fractions, strict ones too: is there a point?

The general simplex of SMT solvers: every constraint is a bound of a variable, where sums are variables of their own; bounds are asserted
and taken back, the tableau stays. A strict bound is one that is off by an infinitesimal: numbers are pairs (a, b), a + b epsilon.
Source: Dutertre and de Moura, A fast linear-arithmetic solver for DPLL(T), CAV 2006.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

# a + b epsilon; pairs compare as they should.
Pair = tuple[Fraction, Fraction]
_ZERO = Fraction(0)


class GaveUp(Exception):
    """More work than was allowed."""


class Simplex:
    """Variables with bounds, and rows that are sums of them.

    Parameters
    ----------
    variables : int
        Without bounds; more are added as rows.
    steps : int
        Pivots to make at most.
    """

    def __init__(self, variables: int, steps: int) -> None:
        self.steps = steps
        self._values: list[Pair] = [(_ZERO, _ZERO)] * variables
        self._lower: list[Pair | None] = [None] * variables
        self._upper: list[Pair | None] = [None] * variables
        self._rows: dict[int, dict[int, Fraction]] = {}
        self._trail: list[tuple[int, bool, Pair | None]] = []

    def row(self, weights: Mapping[int, Fraction]) -> int:
        """A new variable that is the sum of ``weights`` times others."""
        own: dict[int, Fraction] = {}
        for variable, weight in weights.items():
            for inner, factor in self._rows.get(variable, {variable: Fraction(1)}).items():
                own[inner] = own.get(inner, _ZERO) + weight * factor
        own = {v: w for v, w in own.items() if w}
        index = len(self._values)
        self._values.append(self._sum(own))
        self._lower.append(None)
        self._upper.append(None)
        self._rows[index] = own
        return index

    def _sum(self, weights: Mapping[int, Fraction]) -> Pair:
        a = b = _ZERO
        for variable, weight in weights.items():
            value = self._values[variable]
            a += weight * value[0]
            b += weight * value[1]
        return a, b

    @property
    def mark(self) -> int:
        """Where bounds stand now, for :meth:`back`."""
        return len(self._trail)

    def back(self, mark: int) -> None:
        """Take back all bounds since ``mark``."""
        while len(self._trail) > mark:
            variable, upper, old = self._trail.pop()
            (self._upper if upper else self._lower)[variable] = old

    def at_most(self, variable: int, bound: Fraction, strict: bool = False) -> bool:
        """Bound ``variable`` from above; False where that contradicts its lower bound."""
        pair = (bound, Fraction(-1) if strict else _ZERO)
        old, other = self._upper[variable], self._lower[variable]
        if old is not None and old <= pair:
            return True
        if other is not None and other > pair:
            return False
        self._trail.append((variable, True, old))
        self._upper[variable] = pair
        if variable not in self._rows and self._values[variable] > pair:
            self._move(variable, pair)
        return True

    def at_least(self, variable: int, bound: Fraction, strict: bool = False) -> bool:
        """Bound ``variable`` from below; False where that contradicts its upper bound."""
        pair = (bound, Fraction(1) if strict else _ZERO)
        old, other = self._lower[variable], self._upper[variable]
        if old is not None and old >= pair:
            return True
        if other is not None and other < pair:
            return False
        self._trail.append((variable, False, old))
        self._lower[variable] = pair
        if variable not in self._rows and self._values[variable] < pair:
            self._move(variable, pair)
        return True

    def _move(self, variable: int, value: Pair) -> None:
        """Give a variable that is no sum another value."""
        old = self._values[variable]
        a, b = value[0] - old[0], value[1] - old[1]
        self._values[variable] = value
        for index, row in self._rows.items():
            weight = row.get(variable)
            if weight:
                current = self._values[index]
                self._values[index] = current[0] + weight * a, current[1] + weight * b

    def check(self) -> bool:
        """Find values within all bounds; False where there are none.

        Raises
        ------
        GaveUp
        """
        while True:
            broken = self._broken()
            if broken is None:
                return True
            self.steps -= 1
            if self.steps < 0:
                raise GaveUp
            index, low = broken
            row = self._rows[index]
            entering = self._entering(row, low)
            if entering is None:
                return False
            target = self._lower[index] if low else self._upper[index]
            assert target is not None
            self._exchange(index, entering, target)

    def _broken(self) -> tuple[int, bool] | None:
        """The first sum that is out of its bounds, and whether it is too low."""
        for index in sorted(self._rows):
            value, low, high = self._values[index], self._lower[index], self._upper[index]
            if low is not None and value < low:
                return index, True
            if high is not None and value > high:
                return index, False
        return None

    def _entering(self, row: Mapping[int, Fraction], low: bool) -> int | None:
        """The first variable by whose move a sum gets nearer to its bounds (Bland's rule: no cycles)."""
        for variable in sorted(row):
            up = (row[variable] > 0) == low
            bound = self._upper[variable] if up else self._lower[variable]
            value = self._values[variable]
            if bound is None or (value < bound if up else value > bound):
                return variable
        return None

    def _exchange(self, leaving: int, entering: int, target: Pair) -> None:
        """Let ``entering`` take the place of ``leaving`` among the sums, which goes to ``target``."""
        row = self._rows.pop(leaving)
        weight = row.pop(entering)
        value = self._values[leaving]
        step = (target[0] - value[0]) / weight, (target[1] - value[1]) / weight
        self._values[leaving] = target
        current = self._values[entering]
        self._values[entering] = current[0] + step[0], current[1] + step[1]
        own = {v: -w / weight for v, w in row.items()}
        own[leaving] = 1 / weight
        for index, other in self._rows.items():
            factor = other.pop(entering, None)
            if not factor:
                continue
            moved = self._values[index]
            self._values[index] = moved[0] + factor * step[0], moved[1] + factor * step[1]
            for v, w in own.items():
                total = other.get(v, _ZERO) + factor * w
                if total:
                    other[v] = total
                else:
                    other.pop(v, None)
        self._rows[entering] = own

    def point(self, count: int) -> list[Fraction]:
        """The first ``count`` variables' values, with a number small enough in epsilon's place."""
        epsilon = Fraction(1)
        for value, low, high in zip(self._values, self._lower, self._upper, strict=True):
            for small, large in ((low, value), (value, high)):
                if small is not None and large is not None and small[1] > large[1]:
                    epsilon = min(epsilon, (large[0] - small[0]) / (small[1] - large[1]) / 2)
        return [a + b * epsilon for a, b in self._values[:count]]
