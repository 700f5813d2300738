"""Support functions of balls and boxes, against exact solutions: never below, and almost never above."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from distverify.kernels.support import fill_support
from distverify.region import Ball
from tests.exact import MP, to_mp
from tests.networks import MORE, NORMS, Floats

# Outward rounding and the search for the best multiplier may cost this much, relative to |a|.|x0| + the offset.
TIGHT = 1e-9


def bounds_of(rows: Floats, region: Ball) -> tuple[Floats, Floats]:
    """(lower, upper) of rows . x over the region, by the kernel."""
    both = np.ascontiguousarray(np.concatenate([rows, rows]))
    constant, error = np.zeros(2 * len(rows)), np.zeros(2 * len(rows))
    lo, hi = region.box
    eps = region.eps if isinstance(region.eps, float) else 0.0
    n = rows.shape[1] + 4
    gamma = n * 2.0**-53 / (1 - n * 2.0**-53)
    fill_support(both, len(rows), region.x0, eps, region.norm, lo, hi, region.clip is not None, gamma, constant, error)
    error = error * 1.001 + 1e-300
    k = len(rows)
    return np.nextafter(constant[k:] - error[k:], -np.inf), np.nextafter(constant[:k] + error[:k], np.inf)


def exact_maximum(a: Floats, region: Ball) -> object:
    """max a.x over the region, in 240 bits."""
    lo, hi = region.clip_box
    eps = [Fraction(float(e)) for e in np.broadcast_to(region.eps, a.shape)]
    room = []
    for i, v in enumerate(a):
        edge = float(hi[i] if v > 0 else lo[i])
        free = abs(Fraction(edge) - Fraction(float(region.x0[i]))) if math.isfinite(edge) else eps[i]
        room.append(min(free, eps[i]))
    size = [Fraction(abs(float(v))) for v in a]
    centre = sum(Fraction(float(v)) * Fraction(float(c)) for v, c in zip(a, region.x0, strict=True))
    if region.norm == math.inf:
        return to_mp(centre + sum(s * r for s, r in zip(size, room, strict=True)))
    if region.norm == 1.0:
        left, total = eps[0], Fraction(0)
        for i in sorted(range(len(size)), key=lambda i: -size[i]):
            step = min(left, room[i])
            total, left = total + step * size[i], left - step
        return to_mp(centre + total)
    # p = 2: the full box, or a point on the sphere; those with the largest |a_i| / room_i hit the box first.
    if sum(r * r for r in room) <= eps[0] ** 2:
        return to_mp(centre + sum(s * r for s, r in zip(size, room, strict=True)))
    order = sorted((i for i in range(len(size)) if size[i] > 0 and room[i] > 0), key=lambda i: -size[i] / room[i])
    at_edge, left = Fraction(0), eps[0] ** 2
    free = sum(size[i] ** 2 for i in order)
    for i in order:
        # All coordinates from i on move freely: d_j = size_j sqrt(left / free); does i stay inside its room?
        if left * size[i] ** 2 <= room[i] ** 2 * free:
            return to_mp(centre + at_edge) + MP.sqrt(to_mp(left) * to_mp(free))
        at_edge, left, free = at_edge + size[i] * room[i], left - room[i] ** 2, free - size[i] ** 2
    return to_mp(centre + at_edge)


def check(a: Floats, region: Ball, *, tight: bool = True) -> None:
    lower, upper = bounds_of(a[None], region)
    top, bottom = exact_maximum(a, region), -exact_maximum(-a, region)
    assert upper[0] >= top
    assert lower[0] <= bottom
    if tight:
        scale = sum(abs(to_mp(v) * to_mp(c)) for v, c in zip(a, region.x0, strict=True)) + (top - bottom)
        slack = TIGHT * scale + MP.mpf(10) ** -299
        assert upper[0] - top <= slack
        assert bottom - lower[0] <= slack


@st.composite
def cases(draw: st.DrawFn) -> tuple[Floats, Ball]:
    n = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    a = rng.standard_normal(n) * draw(st.sampled_from([1e-90, 1e-9, 1.0, 1e9, 1e90]))
    if draw(st.booleans()):
        a *= 10.0 ** rng.uniform(-12, 0, n)
    if draw(st.booleans()):
        a[rng.random(n) < 0.4] = 0.0
    eps = draw(st.sampled_from([0.0, 1e-40, 1e-12, 1e-3, 0.3, 5.0, 1e40]))
    norm = draw(st.sampled_from(NORMS))
    x0 = rng.uniform(0.0, 1.0, n)
    clip = None
    if draw(st.booleans()):
        clip = (np.where(rng.random(n) < 0.2, x0, 0.0), np.minimum(x0 + eps * rng.uniform(0, 1, n), 1.0))
    return a, Ball(x0, eps, norm, clip)


@MORE
@given(case=cases())
def test_against_the_exact_maximum(case: tuple[Floats, Ball]) -> None:
    check(*case)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("magnitude", [1e-200, 1e-150, 1e150, 1e200])
@pytest.mark.parametrize("clip", [None, (0.0, 1.0)])
def test_extreme_coefficients(norm: float, magnitude: float, clip: tuple[float, float] | None) -> None:
    a = magnitude * np.array([1.0, -3.0, 1e-3, 0.0, 2.0])
    check(a, Ball(np.array([0.1, 0.0, 1.0, 0.5, 0.9]), 0.3, norm, clip))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("eps", [1e-200, 1e-150, 1e150, 1e200, math.inf])
def test_extreme_radii_in_a_box(norm: float, eps: float) -> None:
    a = np.array([1.0, -3.0, 1e-3, 0.0, 2.0])
    region = Ball(np.array([0.1, 0.0, 1.0, 0.5, 0.9]), eps, norm, (0.0, 1.0))
    if math.isinf(eps):
        lower, upper = bounds_of(a[None], region)
        assert lower[0] <= -3.0
        assert lower[0] >= -3.0 - TIGHT
        assert 3.001 <= upper[0] <= 3.001 + TIGHT
    else:
        check(a, region)


@pytest.mark.parametrize("norm", [math.inf, 1.0])
def test_against_linear_programming(norm: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(10):
        n = 6
        a, x0, eps = rng.standard_normal(n), rng.uniform(0, 1, n), rng.uniform(0.1, 1.0)
        region = Ball(x0, eps, norm, (0.0, 1.0))
        # Variables x and t >= |x - x0|; sum t <= eps or each t <= eps.
        eye = np.eye(n)
        sums = np.ones((1, n)) if norm == 1.0 else eye
        constraints = np.block([[eye, -eye], [-eye, -eye], [np.zeros((len(sums), n)), sums]])
        limits = np.concatenate([x0, -x0, np.full(len(sums), eps)])
        solved = linprog(np.concatenate([-a, np.zeros(n)]), constraints, limits, bounds=[(0, 1)] * n + [(0, None)] * n)
        upper = bounds_of(a[None], region)[1][0]
        assert upper >= -solved.fun - 1e-7  # the solver's own accuracy
        assert upper <= -solved.fun + 1e-7


def test_zero_rows_and_many_rows() -> None:
    rng = np.random.default_rng(4)
    rows = np.concatenate([np.zeros((1, 5)), rng.standard_normal((3, 5))])
    for norm in NORMS:
        region = Ball(rng.uniform(0, 1, 5), 0.25, norm, (0.0, 1.0))
        lower, upper = bounds_of(rows, region)
        assert abs(lower[0]) <= 1e-299
        assert abs(upper[0]) <= 1e-299
        for k, row in enumerate(rows):
            assert upper[k] >= exact_maximum(row, region)
            assert lower[k] <= -exact_maximum(-row, region)


def test_radius_per_feature() -> None:
    eps = np.array([0.0, 0.1, 2.0, 1e-12])
    check(np.array([1.0, -2.0, 3.0, 1e8]), Ball(np.array([0.3, 0.1, 0.7, 1.0]), eps))
    check(np.array([1.0, -2.0, 3.0, 1e8]), Ball(np.array([0.3, 0.1, 0.7, 1.0]), eps, clip=(0.0, 1.0)))
