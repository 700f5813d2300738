"""Stationary points excluded by search: wider radii than one pass has, kept signs at every point, and what limits them."""

from __future__ import annotations

import numpy as np
import pytest

import distverify as dv
from distverify.analysis.landscape import find_stationary_free
from distverify.analysis.stationary import widen_stationary_free
from distverify.bounds.gradient import jacobian_at
from distverify.errors import SettingsError
from distverify.questions.askers import ThroughCrew
from distverify.questions.bounder import Bounder
from distverify.region import Balls
from distverify.settings import Settings
from distverify.work import Sample
from tests.analysis.crews import CrewHere
from tests.networks import build_chain

X = np.array([0.2, -0.4, 0.1])


def network(kind: str) -> dv.Network:
    return build_chain([3, 7, 5, 2], [kind, kind], np.random.default_rng(4))


@pytest.mark.parametrize("kind", ["relu", "tanh"])
def test_radii_grow_and_some_sign_is_kept(kind: str) -> None:
    """By trees over neurons, or by halving boxes where activations are curved: at sampled points the same derivative keeps its sign."""
    net = network(kind)
    once = dv.stationary_free_radius(net, X)
    found = dv.stationary_free_radius(net, X, nodes=40)
    assert (found >= once).all()
    assert (found > once * 1.1).any()
    rng = np.random.default_rng(0)
    for k, radius in enumerate(found):
        points = X + radius * np.concatenate([rng.uniform(-1, 1, (1500, 3)), rng.choice([-1.0, 1.0], (200, 3))])
        gradients = jacobian_at(net, points)[:, k]
        assert ((gradients > 0).all(axis=0) | (gradients < 0).all(axis=0)).any()


def test_where_every_derivative_takes_both_signs_is_told() -> None:
    """x^2-like: |x - .1| by two neurons has no kept sign beyond the kink."""
    layers = [(np.array([[1.0], [-1.0]]), np.array([-0.1, 0.1])), (np.array([[1.0, 1.0]]), np.zeros(1))]
    net = dv.Network.from_layers(layers, "relu")
    bounder, balls = Bounder(net), Balls(np.array([0.0]), np.inf)
    rows = np.eye(1)
    radii = find_stationary_free(bounder, balls, rows)
    found, lost = widen_stationary_free(bounder, balls, rows, radii, 30, (0,))
    assert found[0] <= 0.1 < lost[0] < 0.2
    assert found[0] == pytest.approx(0.1, rel=0.06)


def test_the_same_bits_in_pieces() -> None:
    net, balls, rows = network("relu"), Balls(X, np.inf), np.eye(2)
    radii = find_stationary_free(Bounder(net), balls, rows)
    alone = widen_stationary_free(Bounder(net), balls, rows, radii, 20, (1,))
    shared = widen_stationary_free(
        Bounder(net, searches=ThroughCrew(CrewHere(net, 2), 3)), balls, rows, radii, 20, (1,)
    )
    np.testing.assert_array_equal(alone, shared)


def test_a_run_stores_both_ends() -> None:
    from distverify.analysis.sample import analyse_sample

    settings = Settings(compute=("landscape",), nodes=10)
    values = analyse_sample(network("relu"), Sample(X), settings)
    assert (values["stationary_sign_lost"] > values["stationary_free_radius"]).all()
    assert values["subproblems"] > 0


def test_misuse() -> None:
    with pytest.raises(SettingsError, match="nodes: got -1; give a whole number"):
        dv.stationary_free_radius(network("relu"), X, nodes=-1)
    with pytest.raises(SettingsError, match="nodes: got 4 with method interval; a search needs linear"):
        dv.stationary_free_radius(network("relu"), X, nodes=4, method="interval")
    with pytest.raises(SettingsError, match="nodes: got 4 with method='interval' and landscape"):
        Settings(compute=("landscape",), nodes=4, method="interval")
