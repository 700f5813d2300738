"""Bounds of outputs against the truth: exact values of affine networks, sampled points of others."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import distverify as dv
from distverify.analysis.sample import analyse_sample
from distverify.settings import Settings
from distverify.work import Sample
from tests.networks import NORMS, build_chain


def exact_range(
    weights: np.ndarray, bias: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> list[tuple[Fraction, Fraction]]:
    """Of every row of an affine map over a box, in rational arithmetic."""
    ranges = []
    for row, offset in zip(weights.tolist(), bias.tolist(), strict=True):
        terms = zip(map(Fraction, row), map(Fraction, lower.tolist()), map(Fraction, upper.tolist()), strict=True)
        ends = [sorted((w * a, w * b)) for w, a, b in terms]
        ranges.append((Fraction(offset) + sum(e[0] for e in ends), Fraction(offset) + sum(e[1] for e in ends)))
    return ranges


@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e100])
def test_an_affine_network_is_bounded_by_its_exact_range(scale: float) -> None:
    generator = np.random.default_rng(0)
    weights, bias = scale * generator.standard_normal((4, 6)), generator.standard_normal(4)
    lower = generator.standard_normal(6)
    upper = lower + generator.uniform(0, 2, 6)
    bounds = dv.output_bounds(dv.Network.from_layers([(weights, bias)]), dv.Box(lower, upper))
    for k, (low, high) in enumerate(exact_range(weights, bias, lower, upper)):
        assert Fraction(bounds.lower[k]) <= low <= high <= Fraction(bounds.upper[k])
        width = float(high - low)
        assert bounds.upper[k] - bounds.lower[k] <= width * (1 + 1e-12) + 1e-13


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layer_bounds", ["crown", "interval"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_sampled_values_lie_inside(norm: float, layer_bounds: str, activation: str) -> None:
    generator = np.random.default_rng(1)
    network = build_chain([4, 12, 10, 3], [activation, activation], generator)
    x0 = generator.uniform(size=4)
    bounds = dv.output_bounds(network, dv.Ball(x0, 0.3, norm), layer_bounds=layer_bounds)
    u = generator.uniform(-1, 1, (20_000, 4))
    u /= np.maximum(np.linalg.norm(u, ord=norm, axis=1), 1.0)[:, None]
    values = network(x0 + 0.3 * u)
    assert (values >= bounds.lower).all()
    assert (values <= bounds.upper).all()
    assert (values.max(axis=0) - values.min(axis=0)).min() > 0.02 * (bounds.upper - bounds.lower).max()


def test_nothing_is_known_of_an_unbounded_region() -> None:
    network = build_chain([3, 6, 2], ["relu"], np.random.default_rng(2))
    bounds = dv.output_bounds(network, dv.Ball(np.zeros(3), np.inf))
    assert (bounds.lower == -np.inf).all()
    assert (bounds.upper == np.inf).all()


def test_a_run_stores_what_the_function_returns() -> None:
    network = build_chain([3, 8, 6, 2], ["relu", "tanh"], np.random.default_rng(3))
    x = np.array([0.2, 0.4, 0.6])
    settings = Settings(eps=(0.2, 0.05), compute=("outputs",))
    values = analyse_sample(network, Sample(x), settings)
    for k, eps in enumerate(settings.eps):
        bounds = dv.output_bounds(network, dv.Ball(x, eps))
        np.testing.assert_array_equal(np.asarray(values["output_lower"])[k], bounds.lower)
        np.testing.assert_array_equal(np.asarray(values["output_upper"])[k], bounds.upper)
