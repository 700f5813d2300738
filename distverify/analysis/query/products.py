"""Products of variables in exact search: each one is a variable between McCormick's planes, over boxes that are bisected.

Source: McCormick, Computability of global solutions to factorable nonconvex programs, Mathematical Programming 10, 1976.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from distverify.analysis.query.cases import Atom
from distverify.analysis.query.exact import Affine, Bound, PiecewiseLinear, Row
from distverify.analysis.query.rows import Sizes, slack_of

Range = tuple[Fraction, Fraction]
_ONE = Fraction(1)


@dataclass(eq=False)
class Products:
    """Rows for the products of some comparisons.

    Attributes
    ----------
    first : int
        The number of the first variable that stands for a product.
    ranges : dict
        Of the variables that products are of.
    rows : list of Row
    """

    first: int
    ranges: dict[int, Range]
    rows: list[Row] = field(default_factory=list)
    _made: dict[tuple[int, int], int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many variables stand for products."""
        return len(self._made)

    def take(self, atom: Atom, place: Mapping[int, int], sizes: Sizes | None) -> None:
        """Add a comparison, if ranges are known for all of its variables."""
        if atom.operator == "!=" or any(place[v] not in self.ranges for v in atom.variables):
            return
        weights: dict[int, Fraction] = {}
        for monomial, weight in atom.polynomial.items():
            if not monomial:
                continue
            variable = place[monomial[0]]
            for other in monomial[1:]:
                variable = self._product(variable, place[other])
            weights[variable] = weights.get(variable, Fraction(0)) + weight
        slack = Fraction(0) if sizes is None else slack_of(atom, sizes)
        strict = atom.operator == "<" and not slack
        self.rows.append(Row(weights, slack - atom.constant, strict))
        if atom.operator == "==":
            self.rows.append(Row({v: -w for v, w in weights.items()}, slack + atom.constant))

    def _product(self, p: int, q: int) -> int:
        key = min(p, q), max(p, q)
        if key in self._made:
            return self._made[key]
        w = self._made[key] = self.first + len(self._made)
        (a, b), (c, d) = self.ranges[p], self.ranges[q]
        corners = (a * c, a * d, b * c, b * d)
        low, high = min(corners), max(corners)
        if p == q and a < 0 < b:
            low = Fraction(0)
        self.ranges[w] = low, high
        # w >= x q + y p - x y at equal ends, w <= at opposite ones.
        for x, y, sign in ((a, c, 1), (b, d, 1), (b, c, -1), (a, d, -1)):
            weights = {w: -_ONE * sign}
            for variable, weight in ((q, x), (p, y)):
                weights[variable] = weights.get(variable, Fraction(0)) + sign * weight
            self.rows.append(Row(weights, sign * x * y))
        self.rows += [Row({w: _ONE}, high), Row({w: -_ONE}, -low)]
        if p == q:
            # The square is above its tangents.
            middle = (a + b) / 2
            self.rows.append(Row({w: -_ONE, p: 2 * middle}, middle * middle))
        return w


def inner_ranges(network: PiecewiseLinear, lower: Sequence[Bound], upper: Sequence[Bound]) -> dict[int, Range]:
    """Ranges of inputs and of ramps, by their variables in the network, where they are bounded."""
    inside: dict[int, Range] = {
        i: (low[0], high[0])
        for i, (low, high) in enumerate(zip(lower, upper, strict=True))
        if low is not None and high is not None
    }
    for ramp in network.ramps:
        z = _over(ramp.z, inside)
        if z is not None:
            ends = [e if e >= 0 else ramp.slope * e for e in z] + ([Fraction(0)] if z[0] < 0 < z[1] else [])
            inside[ramp.variable] = min(ends), max(ends)
    return inside


def _over(form: Affine, inside: Mapping[int, Range]) -> Range | None:
    low = high = form.get(-1, Fraction(0))
    for v, w in form.items():
        if v == -1 or not w:
            continue
        if v not in inside:
            return None
        ends = sorted((w * inside[v][0], w * inside[v][1]))
        low, high = low + ends[0], high + ends[1]
    return low, high


def ranges_of(
    network: PiecewiseLinear, inside: Mapping[int, Range], slack: Sequence[Fraction] | None
) -> dict[int, Range]:
    """Ranges of inputs and of outputs (numbered after them), where they are bounded; from those of :func:`inner_ranges`."""
    known = {v: ends for v, ends in inside.items() if v < network.inputs}
    for k, form in enumerate(network.outputs):
        found = _over(form, inside)
        if found is not None:
            off = Fraction(0) if slack is None else slack[k]
            known[network.inputs + k] = found[0] - off, found[1] + off
    return known


def halves(
    lower: Sequence[Bound], upper: Sequence[Bound], coordinates: int
) -> list[tuple[list[Bound], list[Bound]]] | None:
    """Two boxes instead of one, cut through its widest side; None where none can be cut."""
    widths = [
        high[0] - low[0] if low is not None and high is not None else Fraction(-1)
        for low, high in zip(lower[:coordinates], upper[:coordinates], strict=True)
    ]
    widest = max(range(len(widths)), key=widths.__getitem__)
    if widths[widest] <= 0:
        return None
    low, high = lower[widest], upper[widest]
    assert low is not None
    assert high is not None
    # A short number near the middle.
    middle = Fraction(float((low[0] + high[0]) / 2))
    if not low[0] < middle < high[0]:
        return None
    left, right = list(upper), list(lower)
    left[widest], right[widest] = (middle, False), (middle, False)
    return [(list(lower), left), (right, list(upper))]
