"""Balls: checks, boxes, and outward rounding."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distverify.errors import SettingsError
from distverify.region import Ball
from tests.networks import MORE, NORMS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x0": [0.0, math.nan], "eps": 0.1}, "x0: 1 values are NaN or infinite"),
        ({"x0": [math.inf, -math.inf], "eps": 0.1}, "x0: 2 values are NaN or infinite"),
        ({"x0": [0.0], "eps": 0.1, "norm": 3}, "norm: got 3; choose inf, 2 or 1"),
        ({"x0": [0.0, 1.0], "eps": [0.1, 0.2, 0.3]}, "eps: got 3 values for 2 features and norm inf"),
        ({"x0": [0.0, 1.0], "eps": [0.1, 0.2], "norm": 2}, "one per feature with norm inf"),
        ({"x0": [0.0], "eps": -0.1}, "eps: got -0.1; a radius is a number >= 0"),
        ({"x0": [0.0], "eps": math.nan}, "eps: got nan; a radius is a number >= 0"),
        ({"x0": [0.0, 1.0], "eps": [0.1, -0.2]}, "eps: got -0.2"),
        (
            {"x0": [0.5, 1.5], "eps": 0.1, "clip": (0.0, 1.0)},
            r"clip: 1 values of x0 lie outside the box .* spans 0.5 to 1.5",
        ),
        ({"x0": [0.5], "eps": 0.1, "clip": (1.0, 0.0)}, "clip: "),
        (
            {"x0": [0.5, 0.5], "eps": 0.1, "clip": ([0.0, 0.0, 0.0], 1.0)},
            "clip: got 3 and 1 values for 2 features",
        ),
        ({"x0": [0.5], "eps": 0.1, "clip": (math.nan, 1.0)}, "clip: "),
        ({"x0": [0.5], "eps": 0.1, "clip": (0.0, math.nan)}, "clip: "),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Ball(**arguments)  # type: ignore[arg-type]


def test_centre_is_flattened_and_converted_exactly() -> None:
    ball = Ball(np.float32([[0.1, 0.2], [0.3, 0.4]]), 0.5)
    assert ball.size == 4
    assert ball.x0.dtype == np.float64
    assert ball.x0[0] == float(np.float32(0.1))
    assert ball.norm == math.inf


numbers = st.one_of(st.floats(-2, 2), st.floats(-1e300, 1e300), st.sampled_from([0.0, -0.0, 5e-324, 1.0]))


@MORE
@given(x0=st.lists(numbers, min_size=1, max_size=4), eps=st.floats(0, 1e3), norm=st.sampled_from(NORMS))
def test_box_holds_the_ball_in_exact_arithmetic(x0: list[float], eps: float, norm: float) -> None:
    lo, hi = Ball(x0, eps, norm).box
    for centre, low, high in zip(x0, lo, hi, strict=True):
        exact_low, exact_high = Fraction(centre) - Fraction(eps), Fraction(centre) + Fraction(eps)
        assert Fraction(float(low)) <= exact_low
        assert Fraction(float(high)) >= exact_high
        # No wider than one unit in the last place (of the largest number involved).
        slack = 2 * Fraction(float(np.spacing(abs(centre) + eps)))
        assert exact_low - Fraction(float(low)) <= slack
        assert Fraction(float(high)) - exact_high <= slack


def test_box_is_cut_by_the_clip_exactly() -> None:
    lo, hi = Ball([0.0, 1.0, 0.5], 0.25, clip=(0.0, 1.0)).box
    assert lo[0] == 0.0
    assert hi[1] == 1.0
    assert 0.25 >= lo[2] >= 0.25 - 1e-15
    lo, hi = Ball([0.0, 1.0], 9.0, clip=([-1.0, 0.5], [2.0, 3.0])).box
    assert lo.tolist() == [-1.0, 0.5]
    assert hi.tolist() == [2.0, 3.0]


def test_radius_per_feature() -> None:
    ball = Ball([0.0, 0.0, 0.0], [0.0, 0.5, math.inf])
    lo, hi = ball.box
    assert lo.tolist() == [0.0, -0.5, -math.inf]
    assert hi.tolist() == [0.0, 0.5, math.inf]
    assert ball.unbounded
    assert not Ball([0.0, 0.0], [0.1, 0.2]).unbounded


@pytest.mark.parametrize("norm", NORMS)
def test_unbounded_regions(norm: float) -> None:
    assert Ball([0.0], math.inf, norm).unbounded
    assert not Ball([0.0], math.inf, norm, (-1.0, 1.0)).unbounded
    assert not Ball([0.0], 1.0, norm).unbounded
