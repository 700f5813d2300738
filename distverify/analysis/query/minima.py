"""Least values of polynomials over boxes, in exact fractions: what bounds that are attained exactly are decided by.

A variable in which a polynomial is monotone is at one of its ends where the value is least; so is one in which it is concave; and a
quadratic that is left is least at a corner or where its gradient along a face is zero. What none of these apply to is bounded by interval
arithmetic. Every value that is returned is a lower bound, whether it is attained or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import product

from distverify.analysis.query.exact import Affine, PiecewiseLinear
from distverify.data.query.terms import Polynomial

Range = tuple[Fraction, Fraction]
Point = dict[int, Fraction]
_ZERO = Fraction(0)
# Quadratics of more variables have too many faces; larger polynomials take too long.
_MOST_FREE, _MOST_TERMS, _MOST_ENDS = 4, 80, 64


def least(p: Polynomial, box: Mapping[int, Range]) -> tuple[Fraction, Point] | None:
    """A lower bound of ``p`` over ``box``, and the point where it is attained, if it is.

    Parameters
    ----------
    p : dict
        A polynomial by monomials.
    box : dict variable -> (lower, upper)
        Of its variables. Where some are missing, only a strictly convex quadratic has a bound, which is that of its least value anywhere.

    Returns
    -------
    value : Fraction
        At most every value of ``p``.
    point : dict variable -> Fraction
        Of some variables; where ``p`` is least, unless the bound is not attained.

    None: no bound is known.
    """
    if any(v not in box for v in _variables(p)):
        return _least_anywhere(p)
    return _Descent(box).run(p)


class _Descent:
    def __init__(self, box: Mapping[int, Range]) -> None:
        self._box = box
        self._ends = _MOST_ENDS

    def run(self, p: Polynomial) -> tuple[Fraction, Point]:
        box, point = self._box, {}
        moved = True
        while moved:
            moved = False
            for v in _variables(p):
                low, high = range_of(_derivative(p, v), box)
                if low >= 0 or high <= 0:
                    point[v] = box[v][0] if low >= 0 else box[v][1]
                    p, moved = _fixed(p, v, point[v]), True
        free = _variables(p)
        if not free:
            return p.get((), _ZERO), point
        if len(free) <= _MOST_FREE and all(len(m) <= 2 for m in p):
            value, own = _least_quadratic(p, free, box)
            return value, {**point, **own}
        for v in free:
            if self._ends > 0 and range_of(_derivative(_derivative(p, v), v), box)[1] <= 0:
                self._ends -= 1
                found = [(*self.run(_fixed(p, v, end)), end) for end in box[v]]
                value, own, end = min(found, key=lambda f: f[0])
                return value, {**point, **own, v: end}
        return range_of(p, box)[0], point


def range_of(p: Polynomial, box: Mapping[int, Range]) -> Range:
    """Bounds of ``p``, monomial by monomial."""
    low = high = _ZERO
    for monomial, weight in p.items():
        a = b = weight
        for v in dict.fromkeys(monomial):
            c, d = _power(box[v], monomial.count(v))
            ends = (a * c, a * d, b * c, b * d)
            a, b = min(ends), max(ends)
        low, high = low + a, high + b
    return low, high


def _power(ends: Range, count: int) -> Range:
    low, high = ends[0] ** count, ends[1] ** count
    if count % 2:
        return low, high
    return (_ZERO if ends[0] < 0 < ends[1] else min(low, high)), max(low, high)


def _variables(p: Polynomial) -> list[int]:
    return sorted({v for monomial in p for v in monomial})


def _derivative(p: Polynomial, v: int) -> Polynomial:
    made: Polynomial = {}
    for monomial, weight in p.items():
        count = monomial.count(v)
        if count:
            place = monomial.index(v)
            made[monomial[:place] + monomial[place + 1 :]] = count * weight
    return made


def _fixed(p: Polynomial, v: int, value: Fraction) -> Polynomial:
    made: Polynomial = {}
    for monomial, weight in p.items():
        left = tuple(w for w in monomial if w != v)
        made[left] = made.get(left, _ZERO) + weight * value ** (len(monomial) - len(left))
    return {m: c for m, c in made.items() if c}


def _least_quadratic(p: Polynomial, free: Sequence[int], box: Mapping[int, Range]) -> tuple[Fraction, Point]:
    """The least value, exactly: at one of the points where the gradient along some face is zero.

    Where such points form a line, the value along it is the same up to the face's own boundary, which is a smaller face.
    """
    best: tuple[Fraction, Point] | None = None
    for sides in product((0, 1, None), repeat=len(free)):
        point = {v: box[v][side] for v, side in zip(free, sides, strict=True) if side is not None}
        rest = p
        for v, value in point.items():
            rest = _fixed(rest, v, value)
        inner = [v for v, side in zip(free, sides, strict=True) if side is None]
        own = _stationary(rest, inner)
        if own is None or any(not box[v][0] <= x <= box[v][1] for v, x in own.items()):
            continue
        for v, value in own.items():
            rest = _fixed(rest, v, value)
        value = rest.get((), _ZERO)
        if best is None or value < best[0]:
            best = value, {**point, **own}
    assert best is not None  # corners are always looked at
    return best


def _least_anywhere(p: Polynomial) -> tuple[Fraction, Point] | None:
    free = _variables(p)
    if len(free) > _MOST_FREE or any(len(m) > 2 for m in p):
        return None
    point = _stationary(p, free, convex=True)
    if point is None:
        return None
    for v, value in point.items():
        p = _fixed(p, v, value)
    return p.get((), _ZERO), point


def _stationary(p: Polynomial, free: Sequence[int], convex: bool = False) -> Point | None:
    """Where the gradient of a quadratic is zero; None where that is no single point, or its matrix not positive definite if it must be."""
    rows = []
    for v in free:
        slope = _derivative(p, v)
        rows.append([*(slope.get((w,), _ZERO) for w in free), -slope.get((), _ZERO)])
    count = len(free)
    for k in range(count):
        pivot = next((i for i in range(k, count) if rows[i][k]), None)
        if pivot is None or (convex and rows[k][k] <= 0):
            return None
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [x / rows[k][k] for x in rows[k]]
        for i in range(count):
            if i != k and rows[i][k]:
                rows[i] = [x - rows[i][k] * y for x, y in zip(rows[i], rows[k], strict=True)]
    return {v: row[count] for v, row in zip(free, rows, strict=True)}


def over_inputs(
    p: Polynomial, place: Mapping[int, int], network: PiecewiseLinear, ranges: Mapping[int, Range]
) -> Polynomial | None:
    """``p`` with outputs as affine functions of inputs and of ramps whose sign is open; None where it is too large.

    Parameters
    ----------
    p : dict
        Over elements of a query.
    place : dict element -> variable
        Of rows: inputs, then outputs.
    network : PiecewiseLinear
    ranges : dict
        Of inputs and ramps, over the box that is looked at, where they are bounded.
    """
    forms: dict[int, Affine] = {}

    def known(form: Affine) -> Affine:
        total: Affine = {}
        for v, w in form.items():
            for u, x in forms.get(v, {v: Fraction(1)}).items():
                total[u] = total.get(u, _ZERO) + w * x
        return {v: w for v, w in total.items() if w}

    for ramp in network.ramps:
        z = known(ramp.z)
        if any(v != -1 and v not in ranges for v in z):
            continue
        low, high = _ends(z, ranges)
        if low >= 0:
            forms[ramp.variable] = z
        elif high <= 0:
            forms[ramp.variable] = {v: w * ramp.slope for v, w in z.items() if ramp.slope}
    total: Polynomial = {}
    for monomial, weight in p.items():
        made: Polynomial = {(): weight}
        for element in monomial:
            own = place[element]
            form = {own: Fraction(1)} if own < network.inputs else known(network.outputs[own - network.inputs])
            if len(made) * len(form) > _MOST_TERMS:
                return None
            factors = made
            made = {}
            for left, x in factors.items():
                for v, w in form.items():
                    m = left if v == -1 else tuple(sorted((*left, v)))
                    made[m] = made.get(m, _ZERO) + x * w
        for m, w in made.items():
            total[m] = total.get(m, _ZERO) + w
        if len(total) > _MOST_TERMS:
            return None
    return {m: w for m, w in total.items() if w}


def _ends(form: Affine, ranges: Mapping[int, Range]) -> Range:
    return range_of({() if v == -1 else (v,): w for v, w in form.items()}, ranges)
