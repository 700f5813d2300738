"""Signs of derivatives: proved where they hold everywhere, refuted by points, in Python and in runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import distverify as dv
from distverify.analysis.sample import analyse_sample
from distverify.bounds.gradient import jacobian_at
from distverify.errors import SettingsError
from distverify.network.graph import Network
from distverify.region import Ball, Box
from distverify.settings import Settings
from distverify.work import Sample
from tests.analysis.test_in_pieces import in_pieces
from tests.analysis.test_lipschitz_brackets import jacobians_of_pieces, tiny
from tests.networks import build_chain


@pytest.mark.parametrize("seed", range(6))
def test_signs_of_tiny_relu_networks_are_those_of_their_pieces(seed: int) -> None:
    layers = tiny(seed)
    network = Network.from_layers(layers, activation="relu")
    lower, upper = np.array([-1.0, -0.5]), np.array([0.7, 1.0])
    pieces = np.array(jacobians_of_pieces(layers, lower, upper))
    rises, falls = (pieces > 0.0).all(axis=0), (pieces < 0.0).all(axis=0)
    both = (pieces > 0.0).any(axis=0) & (pieces < 0.0).any(axis=0)
    for nodes in (0, 30, 400):
        found = dv.monotonicity(network, Box(lower, upper), nodes=nodes)
        assert rises[found.signs == 1].all()
        assert falls[found.signs == -1].all()
        assert both[found.signs == 2].all()
    assert (found.signs[rises] == 1).all()
    assert (found.signs[falls] == -1).all()


def smooth() -> Network:
    return build_chain([3, 10, 10, 2], ["tanh", "tanh"], np.random.default_rng(3))


def test_every_sign_of_a_smooth_network_is_settled() -> None:
    network, box = smooth(), Box(np.full(3, -0.5), np.full(3, 0.5))
    once = dv.monotonicity(network, box)
    found = dv.monotonicity(network, box, nodes=4000)
    grid = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 21)] * 3), axis=-1).reshape(-1, 3)
    jacobians = jacobian_at(network, grid)
    assert (found.signs != 0).all()
    assert (once.signs == 0).any()
    truth = np.where((jacobians > 0).all(axis=0), 1, np.where((jacobians < 0).all(axis=0), -1, 2))
    np.testing.assert_array_equal(found.signs, truth)
    assert (found.lower <= jacobians.min(axis=0)).all()
    assert (jacobians.max(axis=0) <= found.upper).all()
    again = dv.monotonicity(network, box, nodes=4000)
    np.testing.assert_array_equal(again.lower, found.lower)
    assert again.nodes == found.nodes


def test_points_show_the_other_sign() -> None:
    network, box = smooth(), Box(np.full(3, -2.0), np.full(3, 2.0))
    found = dv.monotonicity(network, box, nodes=1)
    assert (found.signs == 2).any()
    for k, j in np.argwhere(found.signs == 2):
        up, down = found.points[found.rising_at[k, j]], found.points[found.falling_at[k, j]]
        assert (np.abs(np.stack([up, down])) <= 2.0).all()
        assert jacobian_at(network, up[None])[0, k, j] > 0.0 > jacobian_at(network, down[None])[0, k, j]


def test_many_features_take_the_tree_over_neurons() -> None:
    network = build_chain([14, 8, 6, 2], ["relu", "relu"], np.random.default_rng(2))
    region = Ball(np.random.default_rng(0).standard_normal(14), 0.06)
    once, found = (dv.monotonicity(network, region, nodes=n) for n in (0, 60))
    assert found.nodes > 0
    assert ((found.signs == once.signs) | (once.signs == 0)).all()
    assert (np.isin(found.signs, (1, -1)).sum()) > (np.isin(once.signs, (1, -1)).sum())
    jacobians = jacobian_at(network, region.x0 + 0.06 * np.random.default_rng(1).uniform(-1, 1, (3000, 14)))
    assert (jacobians >= 0.0).all(axis=0)[found.signs == 1].all()
    assert (jacobians <= 0.0).all(axis=0)[found.signs == -1].all()


def test_runs_store_signs_over_balls_and_the_domain(tmp_path: Path) -> None:
    network, x = smooth(), np.array([[0.1, 0.2, -0.1]])
    options = {"eps": [0.3], "domain": (-0.5, 0.5), "compute": {"monotone"}, "executor": "serial"}
    result = dv.certify(network, x, nodes=3000, output=tmp_path / "o.h5", **options)
    expected = dv.monotonicity(network, Box(np.full(3, -0.5), np.full(3, 0.5)), nodes=4000).signs
    np.testing.assert_array_equal(result["domain_monotone"], expected)
    assert (result["monotone"][0, 0] != 0).all()
    assert dv.audit(tmp_path / "o.h5", network, x, executor="serial", points=16).violations == 0


def test_pieces_give_the_same_bits() -> None:
    network, x = smooth(), np.array([0.1, 0.2, -0.1])
    settings = Settings(eps=(0.4,), compute=("monotone",), nodes=200)
    found, crew = in_pieces(network, x, settings, 2)
    np.testing.assert_array_equal(found["monotone"], analyse_sample(network, Sample(x), settings)["monotone"])
    assert ("signs", 2) in crew.requests


def test_misuse() -> None:
    with pytest.raises(SettingsError, match="region: is unbounded; monotonicity takes a bounded one"):
        dv.monotonicity(smooth(), Ball(np.zeros(3), np.inf))
    with pytest.raises(SettingsError, match="nodes: got -2; give a whole number"):
        dv.monotonicity(smooth(), Ball(np.zeros(3), 0.1), nodes=-2)
    with pytest.raises(SettingsError, match="nodes: got 2 with method interval"):
        dv.monotonicity(smooth(), Ball(np.zeros(3), 0.1), nodes=2, method="interval")
