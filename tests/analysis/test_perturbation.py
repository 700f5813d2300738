"""Families of perturbations: bounds with respect to what changes the input are those of points of the family."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import distverify as dv
from distverify.errors import SettingsError
from distverify.network.graph import Network
from tests.exact import ExactNetwork
from tests.networks import Floats, build_chain, violations

X = np.array([0.1, 0.7, 0.3, 0.9])
DIRECTIONS = {"brightness": np.ones(4), "contrast": X - 0.5, "haze": 1.0 - X}


def network() -> Network:
    return build_chain([4, 9, 7, 3], ["relu", "sigmoid"], np.random.default_rng(2))


@pytest.mark.parametrize("family", DIRECTIONS)
def test_outputs_constants_and_signs_are_in_t(family: str) -> None:
    one, box = dv.perturbed(network(), X, family), dv.Box([0.0], [0.3])
    assert one.input_size == 1
    t = np.linspace(0.0, 0.3, 400)
    values = network()(X + t[:, None] * DIRECTIONS[family])
    assert one(t[:, None]) == pytest.approx(values, abs=1e-12)
    outputs = dv.output_bounds(one, box)
    assert (outputs.lower <= values.min(axis=0) + 1e-12).all()
    assert (values.max(axis=0) <= outputs.upper + 1e-12).all()
    slopes = np.abs(np.diff(values, axis=0)).max(axis=0) / (t[1] - t[0])
    found = dv.lipschitz_constant(one, box, nodes=60)
    assert (slopes <= found.rows * (1 + 1e-9)).all()
    assert (found.attained <= found.rows).all()
    signs = dv.monotonicity(one, box, nodes=200).signs[:, 0]
    rising, falling = (np.diff(values, axis=0) > 0).all(axis=0), (np.diff(values, axis=0) < 0).all(axis=0)
    assert rising[signs == 1].all()
    assert falling[signs == -1].all()


def test_a_matrix_has_a_parameter_for_each_column() -> None:
    matrix = np.random.default_rng(0).standard_normal((4, 2))
    two = dv.perturbed(network(), X, matrix)
    t = np.random.default_rng(1).uniform(-0.2, 0.2, (50, 2))
    assert two(t) == pytest.approx(network()(X + t @ matrix.T), abs=1e-12)
    radius = dv.certified_radius(two, np.zeros(2), int(np.argmax(network()(X)[0])))
    assert radius.radius > 0.0
    inside = network()(X + radius.radius * np.sign(t) @ matrix.T)
    assert (np.argmax(inside, axis=1) == np.argmax(network()(X)[0])).all()


def test_entries_that_are_rounded_are_allowed_for() -> None:
    # 1 - x is rounded for this x: the family is the exact one.
    x = np.array([1e-17, 0.1, 2.0**-60, 0.3])
    one = dv.perturbed(build_chain([4, 6, 2], ["leaky_relu"], np.random.default_rng(3)), x, "haze")
    bounds = dv.jacobian_bounds(one, dv.Box([0.0], [1e-9]))
    exact = ExactNetwork(build_chain([4, 6, 2], ["leaky_relu"], np.random.default_rng(3)))
    point = [Fraction(float(v)) for v in x]
    jacobian = exact.jacobian(point, np.eye(2))
    truth = [[sum(d * (1 - v) for d, v in zip(row, point, strict=True))] for row in jacobian]
    assert not violations(bounds.lower, truth, bounds.upper)


def test_one_value_moves_the_whole_sample() -> None:
    shifted: Floats = dv.perturbed(network(), X, "brightness")(np.array([[0.25]]))
    assert shifted == pytest.approx(network()(X[None] + 0.25), abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, "blur"), "family: got 'blur'; choose brightness, contrast, haze, or give a matrix"),
        ((X[:2], "haze"), "x: got 2 values; the network takes 4"),
        ((X, np.ones((3, 1))), r"family: got shape \(3, 1\); give finite numbers \[4, k\]"),
        ((X, np.full((4, 1), np.nan)), r"family: got shape \(4, 1\); give finite numbers"),
    ],
)
def test_misuse(arguments: tuple, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        dv.perturbed(network(), *arguments)
