"""Affine forms over many boxes against exact arithmetic, sampled points, and networks on which plain float64 is wrong."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from distverify.bounds.affine_forms import bound_boxes
from distverify.bounds.gradient import jacobian_at
from distverify.network.graph import Network
from tests.bounds.test_rounding import TRAPS, Case
from tests.exact import ExactNetwork
from tests.networks import build_chain, build_residual, points_in, violations


def networks() -> dict[str, Network]:
    rng = np.random.default_rng(5)
    return {
        "tanh": build_chain([3, 8, 7, 2], ["tanh", "sigmoid"], rng),
        "curved": build_chain([3, 8, 7, 2], ["gelu", "sin"], rng),
        "relu": build_chain([3, 8, 7, 2], ["relu", "leaky_relu"], rng),
        "residual": build_residual(3, ["silu", "tanh", "relu"], rng, final_activation=True),
    }


NETWORKS = networks()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [0.0, 1e-9, 0.01, 0.3, 2.0])
def test_points_of_the_boxes_are_inside(name: str, size: float) -> None:
    network = NETWORKS[name]
    rng = np.random.default_rng(1)
    rows = (
        np.array([[1.0, 0.0], [0.3, -1.7]])
        if network.output_size == 2
        else rng.standard_normal((2, network.output_size))
    )
    middle = rng.uniform(-1, 1, (4, network.input_size))
    radius = size * rng.random(middle.shape) * [[1.0], [1.0], [0.5], [0.1]]
    radius[2, 0] = 0.0
    lower, upper = middle - radius, middle + radius
    bounds = bound_boxes(network, lower, upper, rows)
    exact = ExactNetwork(network)
    for b in range(4):
        points = np.clip(lower[b] + rng.random((200, network.input_size)) * (upper[b] - lower[b]), lower[b], upper[b])
        values, jacobians = network(points) @ rows.T, jacobian_at(network, points, rows)
        room = 1e-12 * (1.0 + np.abs(jacobians).max())
        assert (bounds.lower[b] - room <= values).all()
        assert (values <= bounds.upper[b] + room).all()
        assert (bounds.jacobian_lower[b] - room <= jacobians).all()
        assert (jacobians <= bounds.jacobian_upper[b] + room).all()
        # To the last bit, at one of them.
        x = [Fraction(float(v)) for v in points[0]]
        assert not violations(bounds.jacobian_lower[b], exact.jacobian(x, rows), bounds.jacobian_upper[b])


@pytest.mark.parametrize("trap", TRAPS)
def test_rounding_is_paid_for(trap: Callable[[], Case]) -> None:
    network, region = trap()
    if network.input_size > 100:
        pytest.skip("all derivatives of all neurons would be carried along")
    rows = np.concatenate([np.eye(network.output_size), np.linspace(-1.3, 0.7, network.output_size)[None]])
    lower, upper = region.box
    bounds = bound_boxes(network, lower[None], upper[None], rows)
    exact = ExactNetwork(network)
    for x in points_in(region, 2, np.random.default_rng(0)):
        assert not violations(bounds.jacobian_lower[0], exact.jacobian(x, rows), bounds.jacobian_upper[0])


def test_what_is_off_falls_with_the_square_of_the_box() -> None:
    network = NETWORKS["tanh"]
    x = np.array([[0.2, -0.3, 0.5]])
    offs = [float(bound_boxes(network, x - r, x + r, np.eye(2)).off.max()) for r in (0.02, 0.01, 0.005)]
    assert offs[0] / offs[1] == pytest.approx(4.0, rel=0.2)
    assert offs[1] / offs[2] == pytest.approx(4.0, rel=0.2)
