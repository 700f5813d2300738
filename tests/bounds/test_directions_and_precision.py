"""Both orders of the recursion, their intersection, and products in single precision: all sound, on exact arithmetic."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest

import distverify as dv
from distverify.bounds import methods
from distverify.bounds.enclosure import enclose
from distverify.errors import ModelError, SettingsError
from distverify.kernels.rounding import IGNORED, SINGLE, SOUND
from distverify.network.graph import Network
from distverify.settings import Settings
from tests.exact import ExactNetwork
from tests.networks import points_in

DIRECTIONS = ("backward", "forward", "both")


def network(widths: list[int], kind: str = "relu", seed: int = 0) -> Network:
    rng = np.random.default_rng(seed)
    layers = [(rng.standard_normal((o, i)) / np.sqrt(i), 0.3 * rng.standard_normal(o)) for i, o in pairwise(widths)]
    return Network.from_layers(layers, kind)


def contains(net: Network, region: dv.Ball, bounds: dv.JacobianBounds) -> bool:
    rng = np.random.default_rng(3)
    for x in points_in(region, 6, rng):
        jacobian = ExactNetwork(net).jacobian(x)
        for low, truth, up in zip(
            bounds.lower.flat, np.array(jacobian, dtype=object).flat, bounds.upper.flat, strict=True
        ):
            if not low <= truth <= up:
                return False
    return True


@pytest.mark.parametrize("kind", ["relu", "leaky_relu", "tanh", "gelu"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("eps", [1e-12, 0.05, 0.5])
def test_exact_jacobians_lie_inside(kind: str, direction: str, precision: str, eps: float) -> None:
    net = network([4, 6, 5, 3], kind)
    region = dv.Ball(np.array([0.3, -0.2, 0.8, 0.1]), eps)
    assert contains(net, region, dv.jacobian_bounds(net, region, direction=direction, precision=precision))


def test_single_precision_without_its_rounding_terms_fails() -> None:
    net = network([4, 6, 5, 3])
    region = dv.Ball(np.array([0.3, -0.2, 0.8, 0.1]), 1e-12)
    careless = type(SINGLE)(unit=0.0, eta=0.0, tiny=0.0, dtype=np.float32)
    bounds = methods.bound_rows(enclose(net, region, rounding=careless), np.eye(3), "linear")
    assert not contains(net, region, dv.JacobianBounds(bounds.lower, bounds.upper))


def test_single_precision_is_a_little_wider() -> None:
    net = network([20, 40, 40, 4])
    region = dv.Ball(np.linspace(-1, 1, 20), 0.02)
    double, single = (dv.jacobian_bounds(net, region, precision=p) for p in ("float64", "float32"))
    assert single.lower.dtype == np.float64
    assert (single.lower <= double.lower).all()
    assert (single.upper >= double.upper).all()
    assert (single.upper - single.lower).mean() <= 1.001 * (double.upper - double.lower).mean() + 1e-4


@pytest.mark.parametrize("method", ["linear", "recurjac"])
def test_both_is_the_intersection(method: str) -> None:
    net = network([6, 9, 9, 5])
    region = dv.Ball(np.zeros(6), 0.3)
    backward, forward, both = (dv.jacobian_bounds(net, region, method=method, direction=d) for d in DIRECTIONS)
    np.testing.assert_array_equal(both.lower, np.maximum(backward.lower, forward.lower))
    np.testing.assert_array_equal(both.upper, np.minimum(backward.upper, forward.upper))
    if method == "linear":
        assert (both.lower > backward.lower).any()
        assert (both.lower > forward.lower).any()


@pytest.mark.parametrize(("widths", "expected"), [([3, 30, 30, 40], "forward"), ([40, 30, 30, 3], "backward")])
def test_auto_takes_the_cheaper_order(widths: list[int], expected: str) -> None:
    net = network(widths)
    region = dv.Ball(np.zeros(widths[0]), 0.5)
    auto, chosen = (dv.jacobian_bounds(net, region, direction=d) for d in ("auto", expected))
    np.testing.assert_array_equal(auto.lower, chosen.lower)
    np.testing.assert_array_equal(auto.upper, chosen.upper)


@pytest.mark.parametrize("eps", [0.005, 0.05, 0.2])
@pytest.mark.parametrize("direction", ["backward", "forward"])
def test_folding_changes_nothing_but_rounding(eps: float, direction: str) -> None:
    net = network([30, 60, 60, 60, 5])
    region = dv.Ball(np.linspace(-1, 1, 30), eps)
    sizes = [len(enclose(net, region, fold=fold).reduced.groups[1].magnitude) for fold in (True, False)]
    assert sizes[0] < sizes[1] or eps == 0.2
    folded, plain = (
        methods.bound_rows(enclose(net, region, rounding=IGNORED, fold=fold), np.eye(5), "linear", direction)
        for fold in (True, False)
    )
    scale = np.abs(plain.lower).max()
    np.testing.assert_allclose(folded.lower, plain.lower, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(folded.upper, plain.upper, rtol=0, atol=1e-12 * scale)
    sound = methods.bound_rows(enclose(net, region, rounding=SOUND, fold=True), np.eye(5), "linear", direction)
    assert (sound.lower <= plain.lower).all()
    assert (sound.upper >= plain.upper).all()


def test_precision_travels_with_the_network() -> None:
    net = network([4, 5, 3])
    single = net.in_precision("float32")
    assert pickle.loads(pickle.dumps(single)).precision == "float32"  # noqa: S301  our own bytes
    assert single.digest == net.digest
    assert single.nodes is net.nodes
    with pytest.raises(ModelError, match="precision: got 'half'; choose float64, float32"):
        net.in_precision("half")


def test_what_would_be_ignored_is_refused() -> None:
    with pytest.raises(SettingsError, match="direction: got 'both', which only methods linear, recurjac have"):
        Settings(eps=(0.1,), compute=("jacobian",), method="fastlip", direction="both")
    with pytest.raises(SettingsError, match="direction: got 'forward', which is only for global, jacobian"):
        Settings(compute=("radius",), direction="forward")
    with pytest.raises(SettingsError, match="direction: got 'up'; choose auto, backward, forward, both"):
        dv.jacobian_bounds(network([4, 5, 3]), dv.Ball(np.zeros(4), 0.1), direction="up")
