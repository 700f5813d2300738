"""Audits replay counterexamples, and search anew for those of properties that are said to hold."""

from __future__ import annotations

import numpy as np
import pytest

import distverify as dv
from distverify.attacks.replays import PropertyReplay, replay
from distverify.data.vnnlib.property import Property, parse_property
from distverify.settings import Settings
from distverify.work import Sample

BOX = "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)" + "".join(
    f"(assert (>= X_{i} 0.1))(assert (<= X_{i} 0.7))" for i in (0, 1)
)
DIFFERENCE = dv.Network.from_layers([(np.array([[1.0, -1.0]]), np.zeros(1))])
CLASSES = dv.Network.from_layers([(np.eye(2), np.zeros(2))])


@pytest.mark.parametrize(
    ("code", "point", "expected"),
    [
        (-2, (0.2, 0.6), (0.0, np.nan)),
        (-2, (0.6, 0.2), (1.0, np.nan)),  # in the box, no counterexample
        (-2, (0.0, 0.6), (1.0, np.nan)),  # outside of the box
        (-2, (np.nan, np.nan), (1.0, np.nan)),  # none is stored
        (0, (0.2, 0.6), (1.0, np.nan)),  # one is stored, and not said to be one
        (0, (np.nan, np.nan), (np.nan, np.nan)),
        (1, (np.nan, np.nan), (np.nan, 1.0)),  # said to hold, and broken
    ],
)
def test_verdicts_on_properties(code, point, expected):
    prop = Property("p", parse_property(f"{BOX}(assert (<= Y_0 -0.3))", 2, 1))
    check = PropertyReplay({0: prop}, {0: code}, {0: np.array(point)}, 8, 0)
    found = check(DIFFERENCE, Sample(np.zeros(2), -1, 0), Settings(compute=("property",)))
    assert np.array_equal([found["counterexample"], found["verified"]], expected, equal_nan=True)


def test_a_property_that_holds_is_not_broken():
    prop = Property("p", parse_property(f"{BOX}(assert (<= Y_0 -0.7))", 2, 1))
    check = PropertyReplay({0: prop}, {0: 3}, {0: np.full(2, np.nan)}, 8, 0)
    assert check(DIFFERENCE, Sample(np.zeros(2), -1, 0), Settings(compute=("property",)))["verified"] == 0.0


@pytest.mark.parametrize(
    ("constraint", "least"),
    [
        ("(assert (<= Y_0 -0.7))", 0.1),
        ("(assert (<= Y_0 0.2))", -0.8),  # at the corner (0.1, 0.7)
        ("(assert (>= Y_0 0.9))", 0.3),
        ("(assert (or (and (<= Y_0 -0.7)) (and (>= Y_0 0.5) (<= Y_0 0.1))))", 0.1),
    ],
)
def test_margins_that_are_too_large_are_found(constraint, least):
    prop = Property("p", parse_property(BOX + constraint, 2, 1))
    for margin, expected in ((least - 1e-9, 0.0), (least + 1e-6, 1.0), (np.nan, np.nan), (-np.inf, np.nan)):
        check = PropertyReplay({0: prop}, {0: 0}, {0: np.full(2, np.nan)}, 8, 0, {0: margin})
        found = check(DIFFERENCE, Sample(np.zeros(2), -1, 0), Settings(compute=("property",)))["property_margin"]
        assert np.array_equal(found, expected, equal_nan=True), (margin, found)


def test_counterexamples_of_balls():
    settings = Settings(eps=(0.1, 0.3, 0.4, 0.5), compute=("attack",))
    points = np.array([[0.6, 0.5], [0.4, 0.6], [0.4, 0.6], [np.nan, np.nan]])
    margins = replay(CLASSES, Sample(np.array([0.6, 0.4]), 0, 0), settings, np.array([0, -2, -2, -2]), points)
    # Not one; one; one (of a larger ball); none where one is said to be.
    assert margins[0] > 0.0
    assert (margins[1:3] < 0.0).all()
    assert margins[3] == np.inf
    far = replay(CLASSES, Sample(np.array([0.6, 0.4]), 0, 0), settings, np.full(4, -2), np.tile([0.0, 0.9], (4, 1)))
    assert np.isinf(far[:3]).all()  # outside of the ball
