"""l2 constants of chains by matrix inequalities: above the truth, at most the product of norms and the published closed form."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

import distverify as dv
from distverify.bounds.chain_inequality import _best, chain_constants
from distverify.bounds.enclosure import enclose
from distverify.bounds.gradient import jacobian_at
from distverify.bounds.lipschitz import product_of_norms
from distverify.network.graph import Network, NetworkBuilder
from distverify.network.linear.dense import Dense
from distverify.network.linear.spectral_norm import spectral_norm_bound
from distverify.region import Ball
from tests.networks import Floats, build_chain, build_residual


def weights_of(seed: int, widths: tuple[int, ...]) -> list[Floats]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((m, n)) / math.sqrt(n) for n, m in itertools.pairwise(widths)]


def chain(weights: list[Floats], slope: float, kind: str = "leaky_relu") -> Network:
    options = {"slope": slope} if kind == "leaky_relu" else {}
    return Network.from_layers([(w, np.zeros(w.shape[0])) for w in weights], activation=kind, **options)


def constants(network: Network, factors: Floats | None = None) -> tuple[Floats, float]:
    return chain_constants(enclose(network, Ball(np.zeros(network.input_size), math.inf, 2.0)), factors)


def closed_form(weights: list[Floats]) -> float:
    """ECLipsE-Fast for slopes in [0, 1], in plain floating point (arXiv 2404.04375, algorithm 2)."""
    x = np.eye(weights[0].shape[1])
    for w in weights[:-1]:
        gram = w @ np.linalg.solve(x, w.T)
        largest = np.linalg.eigvalsh(gram)[-1]
        x = 2.0 / largest * np.eye(w.shape[0]) - gram / largest**2
    return float(np.sqrt(np.linalg.eigvalsh(weights[-1] @ np.linalg.solve(x, weights[-1].T))[-1]))


@pytest.mark.parametrize("slope", [0.0, 0.1, -0.3, 1.7])
@pytest.mark.parametrize("seed", range(4))
def test_above_every_slope_that_neurons_can_have(seed: int, slope: float) -> None:
    weights = weights_of(seed, (3, 5, 4, 2))
    rows, vector = constants(chain(weights, slope))
    largest, own = 0.0, np.zeros(2)
    for pattern in itertools.product((slope, 1.0), repeat=9):
        jacobian = weights[2] * pattern[5:] @ (weights[1] * pattern[:5]) @ weights[0]
        largest = max(largest, float(np.linalg.norm(jacobian, 2)))
        own = np.maximum(own, np.linalg.norm(jacobian, axis=1))
    assert vector >= largest
    assert (rows >= own).all()
    assert (rows <= vector).all()


@pytest.mark.parametrize("widths", [(10, *[60] * 4, 5), (10, *[100] * 9, 5), (10, *[40] * 49, 5), (80, 80, 80)])
@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_at_most_the_closed_form_and_the_product(widths: tuple[int, ...], slope: float) -> None:
    weights = weights_of(1, widths)
    network = chain(weights, slope)
    vector = constants(network)[1]
    assert vector <= closed_form(weights) * (1 + 1e-6)
    assert vector <= product_of_norms(enclose(network, Ball(np.zeros(widths[0]), math.inf, 2.0)), 2.0)
    found = dv.lipschitz_constant(network, norm=2.0)
    assert found.vector <= vector
    assert (found.rows <= found.vector).all()


def test_what_is_linear_is_close() -> None:
    weights = weights_of(2, (4, 6, 5, 3))
    network = chain(weights, 1.0)
    truth = float(np.linalg.norm(weights[2] @ weights[1] @ weights[0], 2))
    assert truth <= constants(network)[1] <= truth * (1 + 1e-2)


@pytest.mark.parametrize("scale", [1e-40, 1e-8, 1e8, 1e40])
def test_any_scale(scale: float) -> None:
    weights = weights_of(3, (3, 6, 6, 2))
    at_one = constants(chain(weights, 0.2))[1]
    assert constants(chain([w * scale for w in weights], 0.2))[1] == pytest.approx(at_one * scale**3, rel=1e-6)


@pytest.mark.parametrize("kind", ["tanh", "gelu", "sin", "silu"])
def test_curved_activations(kind: str) -> None:
    weights = weights_of(4, (4, 8, 8, 3))
    network = chain(weights, 0.0, kind)
    rows, vector = constants(network)
    rng = np.random.default_rng(0)
    points = 3.0 * rng.standard_normal((2000, 4))
    near = points + 1e-3 * rng.standard_normal(points.shape)
    change = network(points) - network(near)
    distance = np.linalg.norm(points - near, axis=1)
    assert (np.linalg.norm(change, axis=1) <= vector * distance * (1 + 1e-9)).all()
    assert (np.abs(change).max(axis=0) <= rows * distance.max()).all()


def test_fixed_features_do_not_count() -> None:
    weights = weights_of(5, (4, 6, 3))
    factors = np.array([1.0, 0.0, 1.0, 0.0])
    smaller = [weights[0][:, [0, 2]], weights[1]]
    assert constants(chain(weights, 0.1), factors)[1] == pytest.approx(constants(chain(smaller, 0.1))[1], rel=1e-9)


def test_what_is_no_chain_has_none() -> None:
    rng = np.random.default_rng(6)
    assert constants(build_residual(4, ("relu",), rng, final_activation=False))[1] == math.inf
    assert math.isfinite(constants(build_chain((3, 5, 2), ("relu",), rng))[1])


def test_the_best_multiplier() -> None:
    for low, high in ((0.0, 1.0), (0.1, 1.0), (-0.13, 1.13), (-1.0, 1.0), (-0.5, 0.2)):
        both, product = 0.5 * (low + high), low * high
        t = np.linspace(1e-3, 40.0, 200_000)
        with np.errstate(divide="ignore"):
            value = np.where(1.0 + product * t > 0, np.minimum(t, t - (both * t) ** 2 / (1.0 + product * t)), -np.inf)
        best = _best(both, product)
        if low != -high:
            assert best == pytest.approx(t[np.argmax(value)], abs=1e-3)


@pytest.mark.parametrize("shape", [(40, 60), (600, 530)])
def test_spectral_norms_are_sharp(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(7).standard_normal(shape)
    truth = float(np.linalg.norm(matrix, 2))
    assert truth <= spectral_norm_bound(matrix) <= truth * (1 + 1.1e-6)


def test_stable_neurons_give_the_exact_local_constant(tmp_path: Path) -> None:
    weights = weights_of(8, (6, 20, 20, 4))
    network = chain(weights, 0.1)
    x = np.random.default_rng(0).standard_normal(6)
    truth = float(np.linalg.norm(jacobian_at(network, x[None])[0], 2))
    found = dv.lipschitz_constant(network, Ball(x, 1e-9, 2.0))
    assert truth * (1 - 1e-12) <= found.vector <= truth * (1 + 3e-6)
    run = dv.certify(
        network, x[None], eps=[1e-9], norm=2.0, compute={"lipschitz"}, executor="serial", output=tmp_path / "o.h5"
    )
    assert run["lipschitz_vector"][0, 0] == pytest.approx(found.vector, rel=1e-12)


def test_weights_that_are_rounded_themselves_are_paid_for() -> None:
    weights = weights_of(9, (3, 5, 2))
    exact = constants(chain(weights, 0.1))[1]
    builder = NetworkBuilder((3,))
    roundings = 10**9  # each entry off by a ten-millionth
    hidden = builder.linear("in", [(0, Dense(weights[0], roundings=roundings))])
    active = builder.activation("act", hidden, "leaky_relu", {"slope": 0.1})
    network = builder.build(builder.linear("out", [(active, Dense(weights[1]))]))
    off = roundings * 2.0**-53
    found = constants(network)[1]
    assert found >= constants(chain([weights[0] * (1 + off), weights[1]], 0.1))[1] * (1 - 1e-12)
    assert exact * (1 + off) <= found <= exact * (1 + 1e-4)
