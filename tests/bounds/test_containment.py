"""Node values, Jacobian entries and margins, evaluated exactly, lie inside every bound: no tolerances."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distverify.bounds.enclosure import enclose
from distverify.bounds.gradient import jacobian_at
from distverify.bounds.methods import bound_rows
from distverify.network.graph import Network, NetworkBuilder
from distverify.network.linear.dense import Dense
from distverify.network.linear.diagonal import Diagonal
from distverify.region import Ball
from distverify.settings import LAYER_BOUNDS, METHODS
from tests.exact import PIECEWISE_LINEAR, ExactNetwork
from tests.networks import (
    ALL_ACTIVATIONS,
    FEW,
    WAYS,
    balls,
    build_chain,
    build_residual,
    chains,
    crown_rows,
    enclose_by,
    points_in,
    residuals,
    violations,
)

RATIONAL_KINDS = tuple(sorted(PIECEWISE_LINEAR))
# Backpropagation in float64 against exact arithmetic, relative to the largest entry; these networks are small.
GRADIENT_ERROR = 1e-10


def check(network: Network, region: Ball, layer_bounds: str = "crown", count: int = 3) -> None:
    for way in WAYS:
        check_one(network, region, layer_bounds, count, way)


def check_one(network: Network, region: Ball, layer_bounds: str, count: int, way: str) -> None:
    rng = np.random.default_rng(1)
    enclosure = enclose_by(way, network, region, layer_bounds)
    rows = np.concatenate([np.eye(network.output_size), rng.standard_normal((1, network.output_size))])
    margins = crown_rows(enclosure, rows) if not region.unbounded else None
    orders = ("backward", "forward", "both")
    bounds = {(method, order): bound_rows(enclosure, rows, method, order) for method in METHODS for order in orders}
    exact = ExactNetwork(network)
    for x in points_in(region, count, rng):
        values = exact.values(x)
        assert not violations(enclosure.lower, values, enclosure.upper), "node values"
        if margins is not None:
            out = values[network.output]
            combined = [sum(exact.convert(float(c)) * v for c, v in zip(row, out, strict=True)) for row in rows]
            assert not violations(margins[0], combined, margins[1]), "rows by CROWN"
        jacobian = exact.jacobian(x, rows)
        for method, b in bounds.items():
            assert not violations(b.lower, jacobian, b.upper), method


@pytest.mark.parametrize("layer_bounds", LAYER_BOUNDS)
@FEW
@given(data=st.data())
def test_piecewise_linear_chains(layer_bounds: str, data: st.DataObject) -> None:
    network = data.draw(chains(kinds=RATIONAL_KINDS))
    check(network, data.draw(balls(network.input_size)), layer_bounds)


@FEW
@given(data=st.data())
def test_chains_of_all_activations(data: st.DataObject) -> None:
    network = data.draw(chains())
    check(network, data.draw(balls(network.input_size)))


@FEW
@given(data=st.data())
def test_residual_graphs(data: st.DataObject) -> None:
    network = data.draw(residuals())
    check(network, data.draw(balls(network.input_size)), count=2)


@pytest.mark.parametrize("kind", ALL_ACTIVATIONS)
@pytest.mark.parametrize("eps", [1e-9, 0.2, 30.0])
def test_each_activation_alone(kind: str, eps: float) -> None:
    network = build_chain([3, 6, 4, 2], [kind, kind], np.random.default_rng(5))
    for norm in (math.inf, 2.0, 1.0):
        check(network, Ball(np.array([0.2, -0.7, 0.4]), eps, norm), count=2)


@pytest.mark.parametrize("kind", ALL_ACTIVATIONS)
def test_whole_space(kind: str) -> None:
    network = build_chain([2, 4, 3, 2], [kind, kind], np.random.default_rng(6))
    enclosure = enclose(network, Ball(np.zeros(2), np.inf))
    exact = ExactNetwork(network)
    rng = np.random.default_rng(7)
    jacobians = [exact.jacobian(points_in(Ball(np.zeros(2), 10.0**k), 1, rng)[1]) for k in (-3, -1, 0, 0.5, 1, 2, 6)]
    for method in METHODS:
        bounds = bound_rows(enclosure, np.eye(2), method)
        assert np.isfinite(bounds.lower).all()
        assert np.isfinite(bounds.upper).all()
        for jacobian in jacobians:
            assert not violations(bounds.lower, jacobian, bounds.upper), method


def test_zero_radius_is_tight() -> None:
    network = build_chain([4, 8, 8, 3], ["relu", "leaky_relu"], np.random.default_rng(8))
    region = Ball(np.array([0.1, 0.2, 0.3, 0.4]), 0.0)
    check(network, region, count=0)
    bounds = bound_rows(enclose(network, region), np.eye(3), "linear")
    assert float((bounds.upper - bounds.lower).max()) < 1e-11 * float(bounds.magnitude.max())


def test_clip_box_narrows_the_bounds() -> None:
    network = build_chain([4, 8, 8, 3], ["relu", "relu"], np.random.default_rng(9))
    x0 = np.array([0.05, 0.95, 0.5, 0.0])
    for norm in (math.inf, 2.0, 1.0):
        free = crown_rows(enclose(network, Ball(x0, 0.3, norm)), np.eye(3))
        clipped = crown_rows(enclose(network, Ball(x0, 0.3, norm, (0.0, 1.0))), np.eye(3))
        assert float((clipped[1] - clipped[0]).sum()) < float((free[1] - free[0]).sum())


def graph_same_source_twice(builder: NetworkBuilder) -> int:
    two = builder.linear(
        "sum",
        [(0, Dense(np.array([[1.5, -2.0], [0.3, 0.4]]))), (0, Diagonal(np.array([0.7, -1.1])))],
        [0.1, 0.2],
    )
    act = builder.activation("relu", two, "relu")
    return builder.linear("out", [builder.skip(act), (act, Dense(np.array([[1.0, 2.0], [-1.0, 0.5]])))])


def graph_activation_after_activation(builder: NetworkBuilder) -> int:
    # Of the first activation some neurons are dead (bias -50): their columns drop out on the way.
    z = builder.linear("in", [(0, Dense(np.arange(10.0).reshape(5, 2) / 5 - 0.8))], [-50.0, 0.3, -50.0, 0.1, 2.0])
    act = builder.activation("tanh", builder.activation("relu", z, "relu"), "tanh")
    return builder.linear("out", [(act, Dense(np.arange(1.0, 11.0).reshape(2, 5)))])


def graph_unused_branch(builder: NetworkBuilder) -> int:
    z = builder.linear("in", [(0, Dense(np.array([[1.0, -1.0], [0.5, 2.0]])))])
    act = builder.activation("relu", z, "relu")
    builder.activation("unused", builder.linear("side", [builder.skip(act)]), "sigmoid")
    return builder.linear("out", [(act, Dense(np.array([[1.0, -3.0]])))])


def graph_output_before_the_last_node(builder: NetworkBuilder) -> int:
    out = graph_unused_branch(builder)
    builder.linear("later", [builder.skip(out)])
    return out


def graph_only_linear(builder: NetworkBuilder) -> int:
    first = builder.linear("a", [(0, Dense(np.array([[1.0, 2.0], [3.0, 4.0]])))], [1.0, 1.0])
    second = builder.linear("b", [(first, Diagonal(np.array([2.0, -1.0]))), builder.skip(0)])
    return builder.linear("c", [(second, Dense(np.array([[1.0, -1.0]]))), (first, Dense(np.array([[0.1, 0.2]])))])


def graph_only_an_activation(builder: NetworkBuilder) -> int:
    return builder.activation("tanh", 0, "tanh")


@pytest.mark.parametrize(
    "graph",
    [
        graph_same_source_twice,
        graph_activation_after_activation,
        graph_unused_branch,
        graph_output_before_the_last_node,
        graph_only_linear,
        graph_only_an_activation,
    ],
)
@pytest.mark.parametrize("norm", [math.inf, 2.0, 1.0])
def test_unusual_graphs(graph: object, norm: float) -> None:
    builder = NetworkBuilder((2,))
    network = builder.build(graph(builder))  # type: ignore[operator]
    check(network, Ball(np.array([0.3, 0.6]), 0.2, norm))


@pytest.mark.parametrize("final_activation", [False, True])
def test_sampled_gradients_are_right(final_activation: bool) -> None:
    rng = np.random.default_rng(10)
    for kind in ALL_ACTIVATIONS:
        network = build_residual(3, [kind, "tanh"], rng, final_activation=final_activation)
        x = rng.uniform(-1, 1, (2, 3))
        rows = rng.standard_normal((2, 3))
        exact = ExactNetwork(network)
        for point, found in zip(x, jacobian_at(network, x, rows), strict=True):
            expected = np.array(exact.jacobian([Fraction(v) for v in point.tolist()], rows), dtype=float)
            np.testing.assert_allclose(found, expected, rtol=0, atol=GRADIENT_ERROR * np.abs(expected).max())
            outputs = np.array(exact([Fraction(v) for v in point.tolist()]), dtype=float)
            np.testing.assert_allclose(network(point)[0], outputs, rtol=GRADIENT_ERROR, atol=GRADIENT_ERROR)
