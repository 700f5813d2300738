"""The comparisons of a case as rows over coordinates and outputs: closed where that leaves more, apart where numbers are to differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from distverify.analysis.query.cases import Atom, Case
from distverify.analysis.query.exact import Row
from distverify.analysis.query.formats import FloatFormat
from distverify.data.query.terms import Constant, Variable

# A case with more comparisons by != is looked at without them.
_MOST_APART = 5


@dataclass(frozen=True, eq=False)
class Alternative:
    """Rows that all hold in one alternative of a case.

    Attributes
    ----------
    rows : tuple of Row
    loose : tuple of bool
        Which rows may be met with room to spare: inequalities.
    partial : bool
        Some comparisons of the case are not among them.
    """

    rows: tuple[Row, ...]
    loose: tuple[bool, ...]
    partial: bool


def alternatives(case: Case, place: Mapping[int, int], sizes: Sizes | None) -> list[Alternative]:
    """The alternatives of ``case``; none where it contradicts itself.

    Parameters
    ----------
    place : dict
        The variable of each element, in rows.
    sizes : Sizes or None
        For floating-point numbers, whose rows get room for rounding.
    """
    rows: list[Row] = []
    loose: list[bool] = []
    apart: list[tuple[Row, Row]] = []
    partial = False
    for atom in case.atoms:
        if not atom.linear:
            partial = True
            continue
        if sizes is not None and _is_plain(atom):
            high, low = _plain_rows(atom, place, sizes.format)
            if atom.operator == "!=":
                partial |= high is None
                apart += [(high, low)] if high is not None and low is not None else []
                continue
            for row in (high, low):
                rows += [] if row is None else [row]
                loose += [] if row is None else [atom.operator != "=="]
            continue
        weights = _weights(atom, place)
        slack = Fraction(0) if sizes is None else slack_of(atom, sizes)
        high = Row(weights, slack - atom.constant, atom.operator in ("<", "!=") and not slack)
        low = Row({v: -w for v, w in weights.items()}, slack + atom.constant, atom.operator == "!=" and not slack)
        if atom.operator in ("<=", "<"):
            rows.append(high)
            loose.append(True)
        elif atom.operator == "==":
            rows += [high, low]
            loose += [False, False]
        elif sizes is not None:
            partial = True  # with rounding, apart is no constraint
        else:
            apart.append((high, low))
    if len(apart) > _MOST_APART:
        partial, apart = True, []
    made = []
    for choice in product(*apart):
        together, free = [*rows, *choice], [*loose, *(True for _ in choice)]
        kept = [(r, f) for r, f in zip(together, free, strict=True) if r.weights]
        if all(_true(r) for r in together if not r.weights):
            made.append(Alternative(tuple(r for r, _ in kept), tuple(f for _, f in kept), partial))
    return made


def _is_plain(atom: Atom) -> bool:
    """Whether one element is compared with a number, as they are written."""
    sides = atom.comparison.left, atom.comparison.right
    return any(isinstance(s, Variable) for s in sides) and any(isinstance(s, Constant) for s in sides)


def _plain_rows(atom: Atom, place: Mapping[int, int], format_: FloatFormat) -> tuple[Row | None, Row | None]:
    """At most and at least which number of the format an element is; of !=, which it is below or above.

    The number it is compared with counts as it is written and as the format rounds it, whichever leaves more.
    """
    left, right = atom.comparison.left, atom.comparison.right
    element, number = (left, right) if isinstance(left, Variable) else (right, left)
    assert isinstance(element, Variable)
    assert isinstance(number, Constant)
    variable, operator = place[element.index], atom.operator
    written = {number.value, format_.rounded(number.value)}
    if operator == "!=" and len(written) > 1:
        return None, None  # what is written is no number of the format
    strict = operator in ("<", "!=")
    high = max(format_.inside((v, strict), up=False)[0] for v in written)
    low = min(format_.inside((v, strict), up=True)[0] for v in written)
    below = operator in ("==", "!=") or element is left
    above = operator in ("==", "!=") or element is right
    return (
        Row({variable: Fraction(1)}, high) if below else None,
        Row({variable: Fraction(-1)}, -low) if above else None,
    )


def _true(row: Row) -> bool:
    return row.bound > 0 if row.strict else row.bound >= 0


def _weights(atom: Atom, place: Mapping[int, int]) -> dict[int, Fraction]:
    weights: dict[int, Fraction] = {}
    for monomial, weight in atom.polynomial.items():
        if monomial:
            own = place[monomial[0]]
            weights[own] = weights.get(own, Fraction(0)) + weight
    return {v: w for v, w in weights.items() if w}


@dataclass(frozen=True)
class Sizes:
    """Bounds of elements' magnitudes.

    Attributes
    ----------
    of : dict element -> Fraction
    format : FloatFormat
        Of which all of them are numbers.
    """

    of: Mapping[int, Fraction]
    format: FloatFormat


def slack_of(atom: Atom, sizes: Sizes) -> Fraction:
    """By how much rounding of the comparison itself may move it."""
    total = Fraction(0)
    for monomial, weight in atom.sizes.items():
        part = weight
        for variable in monomial:
            part *= sizes.of[variable]
        total += part
    count = atom.roundings + 1
    return (
        count * (2 * sizes.format.unit * total + sizes.format.smallest * (1 + total)) if atom.roundings else Fraction(0)
    )


def moved(alternative: Alternative, margin: Fraction) -> tuple[Row, ...]:
    """The rows with room to spare, where they are inequalities."""
    return tuple(
        Row(r.weights, r.bound - margin * max(Fraction(1), abs(r.bound)), r.strict) if free else r
        for r, free in zip(alternative.rows, alternative.loose, strict=True)
    )
