"""Bounds of networks with convolutions, pools and residual sums: the dense network's, and around exact values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distverify.analysis.lipschitz import lipschitz_constant
from distverify.analysis.radius import certified_radius
from distverify.bounds.edges import edge
from distverify.bounds.enclosure import enclose
from distverify.bounds.gradient import jacobian_at
from distverify.bounds.jacobian import jacobian_bounds
from distverify.bounds.methods import bound_rows
from distverify.kernels.rounding import SINGLE
from distverify.network.graph import Network, NetworkBuilder
from distverify.network.linear.dense import Dense
from distverify.network.linear.sparse import Sparse
from distverify.network.nodes import ActivationNode, LinearNode
from distverify.network.onnx.importer import load_onnx
from distverify.region import Ball
from tests.exact import ExactNetwork
from tests.network.onnx_models import model, node, save
from tests.networks import NORMS, crown_rows, points_in, violations

METHODS = ("linear", "recurjac", "fastlip")
SHAPE = (1, 2, 6, 6)


def _weights(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape) / np.sqrt(np.prod(shape[1:]))


def _graphs() -> dict[str, tuple[list[Any], dict[str, np.ndarray]]]:
    first = node("Conv", "x w b", "z", strides=[2, 2], pads=[1, 1, 1, 1])
    constants = {
        "w": 2 * _weights(3, 2, 3, 3, seed=1), "b": _weights(3, 1, seed=2)[:, 0], "v": _weights(3, 3, 3, 3, seed=3),
        "d": _weights(27, 4, seed=4), "u": _weights(4, 27, seed=5).T,
    }  # fmt: skip
    end = [node("Flatten", "h", "f"), node("MatMul", "f d", "y")]
    same = {"pads": [1, 1, 1, 1]}
    return {
        "chain": ([first, node("Relu", "z", "r"), node("Conv", "r v", "c", **same), node("Relu", "c", "h"), *end], constants),
        "smooth": ([first, node("Tanh", "z", "r"), node("Conv", "r v", "c", **same), node("Sigmoid", "c", "h"), *end], constants),
        "residual": (
            [first, node("Relu", "z", "r"), node("Conv", "r v", "c", **same), node("Add", "c r", "s"), node("Relu", "s", "h"), *end],
            constants,
        ),
        "max": (
            [node("Conv", "x w b", "z", **same), node("Relu", "z", "r"), node("MaxPool", "r", "h", kernel_shape=[3, 3],
             strides=[2, 2], pads=[1, 1, 0, 0]), *end],
            constants,
        ),
        "average": (
            [node("Conv", "x w b", "z", **same), node("LeakyRelu", "z", "r", alpha=0.1), node("AveragePool", "r", "h",
             kernel_shape=[2, 2], strides=[2, 2]), *end],
            constants,
        ),
        "transposed": (
            [first, node("Relu", "z", "r"), node("ConvTranspose", "r v", "c", strides=[2, 2]), node("Clip", "c lo hi", "e"),
             node("Slice", "e from to", "h"), *end],
            constants | {"lo": np.array(-0.5), "hi": np.array(0.5), "from": np.array([0, 0, 1, 1]), "to": np.array([1, 3, 4, 4])},
        ),
        "joined": (
            [first, node("Relu", "z", "r"), node("Neg", "z", "n"), node("Relu", "n", "m"), node("Concat", "r m", "j", axis=1),
             node("Gather", "j which", "h", axis=1), *end],
            constants | {"which": np.array([0, 4, 5])},
        ),
    }  # fmt: skip


GRAPHS = _graphs()


@pytest.fixture(params=GRAPHS)
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Network:
    nodes, constants = GRAPHS[request.param]
    return load_onnx(save(model(nodes, constants, shape=SHAPE), tmp_path))


def written_out(network: Network) -> Network:
    """The same network with a full matrix in place of every operator, but those by which maxima are known."""
    builder = NetworkBuilder(network.input_shape)
    index = {0: 0}
    kept = {i for m in network.maxima for i in (m.node, m.difference)}
    for i, n in enumerate(network.nodes):
        if isinstance(n, LinearNode):
            terms = [(index[t.source], t.operator if i in kept else Dense(t.operator.rows())) for t in n.terms]
            index[i] = builder.linear(n.name, terms, n.bias)
        elif isinstance(n, ActivationNode):
            names = {"leaky_relu": ("slope",), "clip": ("lo", "hi")}.get(n.kind, ())
            parameters = dict(zip(names, n.parameters, strict=False))
            index[i] = builder.activation(n.name, index[n.source], n.kind, parameters)
    return builder.build(index[network.output])


def centre(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=int(np.prod(SHAPE)))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("eps", [0.001, 0.05])
def test_equal_to_the_written_out_network(network: Network, norm: float, eps: float) -> None:
    dense = written_out(network)
    assert not all(isinstance(t.operator, Dense) for n in network.nodes for t in getattr(n, "terms", ()))
    region = Ball(centre(), eps, norm)
    rows = np.eye(network.output_size)
    found, expected = enclose(network, region), enclose(dense, region)
    for a, b in zip(crown_rows(found, rows), crown_rows(expected, rows), strict=True):
        assert a == pytest.approx(b, rel=1e-11, abs=1e-11)
    for method in METHODS:
        for direction in ("backward", "forward") if method != "fastlip" else ("auto",):
            a, b = (bound_rows(e, rows, method, direction) for e in (found, expected))
            assert a.lower == pytest.approx(b.lower, rel=1e-9, abs=1e-11)
            assert a.upper == pytest.approx(b.upper, rel=1e-9, abs=1e-11)


def test_radius_and_lipschitz_equal_the_written_out_networks(network: Network) -> None:
    dense, x = written_out(network), centre()
    label = int(network(x)[0].argmax())
    found, expected = (certified_radius(n, x, label) for n in (network, dense))
    assert found.radius == pytest.approx(expected.radius, rel=1e-6)
    assert found.radius > 0
    for region in (None, Ball(x, 0.01)):
        a, b = (lipschitz_constant(n, region) for n in (network, dense))
        assert a.rows == pytest.approx(b.rows, rel=1e-10)


@pytest.mark.parametrize("eps", [1e-12, 1e-3, 0.1])
def test_exact_values_and_derivatives_lie_inside(network: Network, eps: float) -> None:
    region = Ball(centre(1), eps)
    exact = ExactNetwork(network)
    rows = np.eye(network.output_size)
    lower, upper = crown_rows(enclose(network, region), rows)
    bounds = {method: jacobian_bounds(network, region, method=method) for method in METHODS}
    for x in points_in(region, 4, np.random.default_rng(2)):
        assert not violations(lower, exact(x), upper)
        truth = exact.jacobian(x)
        for found in bounds.values():
            assert not violations(found.lower, truth, found.upper)


def test_no_attack_leaves_the_bounds(network: Network) -> None:
    """Corners that the bounds' own centres point at, and random ones."""
    region = Ball(centre(3), 0.05)
    bounds = jacobian_bounds(network, region)
    lower, upper = crown_rows(enclose(network, region), np.eye(network.output_size))
    rng = np.random.default_rng(4)
    directions = np.concatenate([np.sign(bounds.lower + bounds.upper), rng.choice([-1.0, 1.0], (60, region.size))])
    points = region.x0 + 0.05 * np.concatenate([directions, -directions]) * (1 - 1e-9)
    values, jacobians = network(points), jacobian_at(network, points)
    # The allowance is for the rounding of these values.
    assert (lower - 1e-12 <= values).all()
    assert (values <= upper + 1e-12).all()
    assert (bounds.lower - 1e-12 <= jacobians).all()
    assert (jacobians <= bounds.upper + 1e-12).all()


def test_a_tie_of_a_maximum(tmp_path: Path) -> None:
    """Where all candidates are equal, the derivative with respect to each lies between 0 and 1."""
    proto = model([node("MaxPool", "x", "y", kernel_shape=[2, 2])], shape=(1, 1, 2, 2))
    network = load_onnx(save(proto, tmp_path))
    bounds = jacobian_bounds(network, Ball(np.full(4, 0.5), 0.01))
    assert (bounds.lower <= 0).all()
    assert (bounds.upper >= 1).all()
    ahead = jacobian_bounds(network, Ball(np.array([0.1, 0.9, 0.2, 0.3]), 0.05))
    assert ahead.lower[0] == pytest.approx([0, 1, 0, 0], abs=1e-12)
    assert ahead.upper[0] == pytest.approx([0, 1, 0, 0], abs=1e-12)


def test_a_matrix_that_is_mostly_zero_multiplies_the_same() -> None:
    rng = np.random.default_rng(6)
    weight = np.zeros((1100, 1000))
    weight[rng.integers(0, 1100, 4000), rng.integers(0, 1000, 4000)] = rng.normal(size=4000)
    thin, dense = edge(weight), Dense(weight)
    assert isinstance(thin, Sparse)
    columns, rows, inputs = rng.normal(size=(1000, 5)), rng.normal(size=(5, 1100)), np.arange(0, 1000, 3)
    assert thin.push(columns) == pytest.approx(dense.push(columns), abs=1e-12)
    assert thin.push(columns[inputs], inputs) == pytest.approx(dense.push(columns[inputs], inputs), abs=1e-12)
    assert thin.pull(rows) == pytest.approx(dense.pull(rows), abs=1e-12)
    assert thin.pull_abs(rows) == pytest.approx(dense.pull_abs(rows), abs=1e-12)
    assert thin.push_abs(columns) == pytest.approx(dense.push_abs(columns), abs=1e-12)
    assert type(edge(rng.normal(size=(1100, 1000)))) is Dense
    assert type(edge(np.zeros((3, 3)))) is Dense


def test_mixed_precisions() -> None:
    """A matrix in single precision, with rounding terms in double."""
    rng = np.random.default_rng(7)
    weight = np.zeros((1100, 1000), np.float32)
    weight[rng.integers(0, 1100, 4000), rng.integers(0, 1000, 4000)] = rng.normal(size=4000)
    thin = edge(weight)
    columns, rows = rng.normal(size=(1000, 5)), rng.normal(size=(5, 1100))
    for found, expected in (
        (thin.pull_abs(rows), rows @ np.abs(weight).astype(float)),
        (thin.push_abs(columns), np.abs(weight).astype(float) @ columns),
        (thin.pull(rows), rows @ weight.astype(float)),
    ):
        assert found.dtype == np.float64
        assert found == pytest.approx(expected, abs=1e-12)
    assert thin.push(columns.astype(np.float32)).dtype == np.float32
    assert thin.pull(rows.astype(np.float32)).dtype == np.float32


def test_exact_derivatives_lie_inside_in_single_precision(network: Network) -> None:
    region = Ball(centre(5), 1e-6)
    exact, rows = ExactNetwork(network), np.eye(network.output_size)
    enclosure = enclose(network, region, "crown", SINGLE)
    lower, upper = crown_rows(enclosure, rows)
    bounds = [bound_rows(enclosure, rows, method) for method in METHODS]
    for x in points_in(region, 2, np.random.default_rng(2)):
        assert not violations(lower, exact(x), upper)
        for found in bounds:
            assert not violations(found.lower, exact.jacobian(x), found.upper)
