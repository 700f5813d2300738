"""Least values of polynomials over boxes, against values at many points."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from distverify.analysis.query.exact import PiecewiseLinear, Ramp
from distverify.analysis.query.minima import least, over_inputs
from distverify.analysis.query.products import inner_ranges
from distverify.data.query.terms import Polynomial

ONE = Fraction(1)


def at(p: Polynomial, point: dict[int, Fraction]) -> Fraction:
    total = Fraction(0)
    for monomial, weight in p.items():
        for v in monomial:
            weight *= point[v]
        total += weight
    return total


def some(rng: np.random.Generator, degree: int) -> Polynomial:
    monomials = {tuple(sorted(rng.integers(0, 3, rng.integers(0, degree + 1)).tolist())) for _ in range(6)}
    return {m: Fraction(int(rng.integers(1, 9)) * int(rng.choice([-1, 1])), 4) for m in monomials}


@pytest.mark.parametrize("degree", [1, 2, 4])
def test_bounds_hold_and_are_attained(degree: int) -> None:
    rng = np.random.default_rng(degree)
    steps = [Fraction(k, 6) for k in range(7)]
    attained = 0
    for _ in range(40):
        p = some(rng, degree)
        ends = [sorted(Fraction(int(v), 4) for v in rng.integers(-8, 9, 2)) for _ in range(3)]
        box = {v: (a, b) for v, (a, b) in enumerate(ends)}
        found = least(p, box)
        assert found is not None
        value, point = found
        grid = product(*([a + t * (b - a) for t in steps] for a, b in box.values()))
        assert all(at(p, dict(enumerate(x))) >= value for x in grid)
        whole = {v: point.get(v, a) for v, (a, _) in box.items()}
        assert all(a <= whole[v] <= b for v, (a, b) in box.items())
        attained += at(p, whole) == value
    assert attained == 40 if degree <= 2 else attained >= 20, attained


def test_quadratics_without_bounds() -> None:
    convex: Polynomial = {(0, 0): ONE, (1, 1): ONE, (0, 1): ONE, (0,): -ONE}
    assert least(convex, {}) == (Fraction(-1, 3), {0: Fraction(2, 3), 1: Fraction(-1, 3)})
    assert least({(0, 0): ONE, (1, 1): -ONE}, {0: (ONE, ONE)}) is None
    assert least({(0, 1): ONE}, {}) is None


def test_ramps_of_one_sign_are_affine_and_others_variables() -> None:
    # y = relu(x0 + 1) * relu(x1) over x0 in [0, 1], x1 in [-1, 1]
    network = PiecewiseLinear(
        2, [Ramp(2, {0: ONE, -1: ONE}, Fraction(0)), Ramp(3, {1: ONE}, Fraction(0))], [{2: ONE}, {3: ONE}]
    )
    inside = inner_ranges(network, [(Fraction(0), False), (-ONE, False)], [(ONE, False), (ONE, False)])
    assert over_inputs({(7, 8): ONE}, {7: 2, 8: 3}, network, inside) == {(0, 3): ONE, (3,): ONE}
