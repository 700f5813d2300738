"""Radii of real images: no smaller than published ones, no larger than the distance of an adversarial example."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distverify.analysis.radius import certified_radius
from distverify.bounds.enclosure import enclose
from distverify.bounds.gradient import jacobian_at
from distverify.bounds.jacobian import margin_rows
from distverify.inputs import load_network
from distverify.network.graph import Network
from distverify.region import Ball
from tests.networks import Floats

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data")

# Image 0, 1, 2: what another implementation's integral reaches with the same steps to the CROWN radius.
INTEGRAL_RADII = {"mnist-net_256x2": (0.00813, 0.01471, 0.00836), "mnist-net_256x4": (0.01647, 0.02073, 0.00952)}


def images(count: int) -> tuple[Floats, list[int]]:
    rows = np.loadtxt(SHARED / "mnist_test.csv", delimiter=",", max_rows=count)
    return rows[:, 1:] / 255.0, rows[:, 0].astype(int).tolist()


@pytest.mark.parametrize("name", ["mnist-net_256x2", pytest.param("mnist-net_256x4", marks=pytest.mark.slow)])
def test_integrals_reach_farther_with_at_most_16_evaluations(name: str) -> None:
    network = load_network(SHARED / f"{name}.onnx")
    for x, label, published in zip(*images(3), INTEGRAL_RADII[name], strict=True):
        found = certified_radius(network, x, label)
        assert found.jacobian >= published
        assert found.jacobian_evaluations <= 16


def closest_adversarial(
    network: Network, x: Floats, label: int, eps: float, restarts: int, steps: int, rng: np.random.Generator
) -> float:
    """Distance of the closest misclassified point that projected gradient descent finds within ``eps``; inf without one.

    Each of the three likeliest other classes is aimed at, from ``restarts`` random points.
    """
    logits = network(x)[0]
    likeliest = [j for j in np.argsort(-logits) if j != label][:3]
    closest = np.inf
    for target in likeliest:
        row = margin_rows(network.output_size, label, [target])
        points = np.clip(x + eps * rng.uniform(-1, 1, (restarts, x.size)), x - eps, x + eps)
        for step in range(steps):
            wrong = (network(points) @ row.T)[:, 0] < 0
            if wrong.any():
                closest = min(closest, float(np.abs(points[wrong] - x).max(axis=1).min()))
            gradients = jacobian_at(network, points, row)[:, 0]
            rate = 0.2 * eps * (1.0 - step / steps) + 0.002 * eps
            points = np.clip(points - rate * np.sign(gradients), x - eps, x + eps)
    return closest


def check_against_attacks(count: int, restarts: int, steps: int) -> int:
    """Attack at shrinking distances; the number of images for which an adversarial example was found."""
    network = load_network(SHARED / "mnist-net_256x2.onnx")
    rng = np.random.default_rng(0)
    broken = 0
    for x, label in zip(*images(count), strict=True):
        found = certified_radius(network, x, label)
        # A CROWN radius by bisection to 1e-4 ends below this.
        beyond = Ball(x, found.crown * (1 + 3e-4))
        lower, _ = enclose(network, beyond).row_bounds(margin_rows(10, label))
        assert not (lower > 0).all()
        assert found.radius >= found.crown
        closest, eps = np.inf, 6.0 * found.radius
        while (distance := closest_adversarial(network, x, label, eps, restarts, steps, rng)) < closest:
            closest, eps = distance, 0.85 * distance
            assert distance > found.radius
        broken += closest < np.inf
    return broken


@pytest.mark.slow
def test_no_attack_reaches_inside_the_radius() -> None:
    assert check_against_attacks(count=4, restarts=20, steps=200) >= 3


@pytest.mark.slow
def test_no_short_attack_reaches_inside_the_radius() -> None:
    assert check_against_attacks(count=2, restarts=5, steps=30) >= 1
