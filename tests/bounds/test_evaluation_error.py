"""The network that runs: single precision by a runtime, with any number of threads, and in any order of summation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import distverify as dv
from distverify.analysis.property import property_margin
from distverify.bounds.enclosure import enclose
from distverify.bounds.evaluation import DOUBLE_PRECISION, SINGLE_PRECISION, Arithmetic, EvaluationError
from distverify.data.vnnlib.property import load_property
from distverify.errors import SettingsError
from distverify.kernels.activations import activate
from distverify.network.graph import Network, NetworkBuilder
from distverify.network.linear.dense import Dense
from distverify.network.nodes import ActivationNode, LinearNode, Term
from distverify.questions.bounder import Bounder
from distverify.region import Ball
from tests.networks import build_residual

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
# The exact outputs are computed in double precision: that error, relative to the one in single precision.
DOUBLE = 1e-5


def error_over(network: Network, region: Ball) -> Floats:
    bounder = Bounder(network)
    return bounder.evaluation_error(bounder.enclose(region))


def points(region: Ball, count: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    steps = rng.uniform(-1.0, 1.0, (count, region.size))
    steps[::3] = np.sign(steps[::3])
    return region.x0 + steps * region.eps


def write_onnx(path: Path, widths: Sequence[int], operator: str, scale: float, seed: int) -> Path:
    """A fully connected model in single precision."""
    rng = np.random.default_rng(seed)
    nodes, constants, name = [], [], "x"
    for i, (n, m) in enumerate(pairwise(widths)):
        constants += [
            numpy_helper.from_array((rng.standard_normal((m, n)) * scale / math.sqrt(n)).astype(np.float32), f"W{i}"),
            numpy_helper.from_array(rng.standard_normal(m).astype(np.float32) * np.float32(0.3), f"b{i}"),
        ]
        nodes.append(helper.make_node("Gemm", [name, f"W{i}", f"b{i}"], [f"z{i}"], transB=1))
        name = f"z{i}"
        if i < len(widths) - 2:
            nodes.append(helper.make_node(operator, [name], [f"a{i}"]))
            name = f"a{i}"
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", widths[0]])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", widths[-1]])], constants,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


def write_convolution(path: Path, seed: int) -> Path:
    """Two convolutions, average pooling and a dense layer: sums that runtimes block in their own ways."""
    rng = np.random.default_rng(seed)

    def constant(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array((rng.standard_normal(shape) / math.sqrt(shape[-1] * 4)).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "W0", "b0"], ["z0"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["z0"], ["a0"]),
        helper.make_node("Conv", ["a0", "W1", "b1"], ["z1"], strides=[2, 2]),
        helper.make_node("Sigmoid", ["z1"], ["a1"]),
        helper.make_node("AveragePool", ["a1"], ["p"], kernel_shape=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "W2", "b2"], ["y"], transB=1),
    ]
    constants = [
        constant("W0", 8, 3, 3, 3), constant("b0", 8), constant("W1", 6, 8, 3, 3), constant("b1", 6), constant("W2", 4, 24),
        constant("b2", 4),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])], constants,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


MODELS = {
    "relu": lambda p: write_onnx(p, [12, 40, 40, 5], "Relu", 1.5, 0),
    "relu, wide": lambda p: write_onnx(p, [60, 700, 30, 4], "Relu", 1.4, 1),
    "tanh": lambda p: write_onnx(p, [10, 30, 30, 30, 3], "Tanh", 2.0, 2),
    "sigmoid": lambda p: write_onnx(p, [10, 30, 30, 3], "Sigmoid", 8.0, 3),
    "gelu": lambda p: write_onnx(p, [10, 30, 30, 3], "Gelu", 3.0, 4),
    "softplus": lambda p: write_onnx(p, [10, 30, 3], "Softplus", 20.0, 5),
    "elu": lambda p: write_onnx(p, [10, 30, 3], "Elu", 3.0, 6),
    "erf": lambda p: write_onnx(p, [10, 30, 3], "Erf", 4.0, 7),
    "hard_sigmoid": lambda p: write_onnx(p, [10, 30, 3], "HardSigmoid", 4.0, 8),
    "sin": lambda p: write_onnx(p, [10, 30, 3], "Sin", 9.0, 9),
    "convolution": lambda p: write_convolution(p, 10),
}


@pytest.mark.parametrize("model", list(MODELS))
def test_a_runtime_stays_within_the_evaluation_error(model: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = MODELS[model](tmp_path / "model.onnx")
    network = dv.load_network(path)
    shape = (-1, *network.input_shape)
    sessions = []
    for threads in (1, 8):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        sessions.append(onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))
    rng = np.random.default_rng(11)
    tightest, count = math.inf, 12_000
    for eps in (0.0, 0.05, 1.0, 30.0):
        region = Ball(rng.standard_normal(network.input_size), eps)
        error = error_over(network, region)
        assert np.isfinite(error).all()
        x = points(region, 10 if eps == 0.0 else count, 1)
        exact = network(x)
        # Threads share the sums of large batches differently from those of single rows.
        for session in sessions:
            outputs = session.run(None, {"x": x.astype(np.float32).reshape(shape)})[0].reshape(exact.shape)
            off = np.abs(outputs.astype(np.float64) - exact)
            assert (off <= error * (1.0 + DOUBLE)).all(), f"eps {eps}: {(off / error).max()}"
            tightest = min(tightest, float((error / off.max(axis=0)).min()))
    assert tightest < 1e4, "the error's bound is far from what happens"


def reassociated(network: Network, x: Floats, rng: np.random.Generator) -> Singles:
    """The network in single precision, every sum in an order of its own: blocks of random columns, biases anywhere."""
    values: list[Singles] = [x.astype(np.float32)]
    for node in network.nodes[1:]:
        if isinstance(node, LinearNode):
            parts = [np.broadcast_to(node.bias.astype(np.float32), (len(x), node.size))]
            for term in node.terms:
                matrix, source = term.operator.rows().astype(np.float32), values[term.source]
                order = rng.permutation(matrix.shape[1])
                cuts = np.sort(rng.integers(0, order.size + 1, rng.integers(0, 6)))
                for block in np.split(order, cuts):
                    product = source[:, block] @ matrix[:, block].T
                    if block.size < 12 and rng.random() < 0.5:
                        product = np.zeros_like(product)
                        for j in block:
                            product = product + source[:, j : j + 1] * matrix[None, :, j]
                    parts.append(product)
            total: Singles = np.zeros((len(x), node.size), np.float32)
            for i in rng.permutation(len(parts)):
                total = total + parts[i]
            values.append(total)
        else:
            assert isinstance(node, ActivationNode)
            # The activation itself in double precision, rounded once.
            z = values[node.source].astype(np.float64)
            values.append(activate(node.code, z, node.parameters).astype(np.float32))
    return values[network.output]


@pytest.mark.parametrize("kind", ["relu", "leaky_relu", "tanh", "residual", "doubles"])
def test_no_order_of_summation_leaves_the_evaluation_error(kind: str) -> None:
    rng = np.random.default_rng(3)
    if kind == "residual":
        network = build_residual(4, ["relu", "tanh", "relu"], rng, final_activation=False)
    else:
        widths = [20, 60, 60, 4]
        layers = [(rng.standard_normal((m, n)) * 0.4, rng.standard_normal(m)) for n, m in pairwise(widths)]
        if kind != "doubles":
            layers = [(w.astype(np.float32).astype(float), b.astype(np.float32).astype(float)) for w, b in layers]
        network = Network.from_layers(layers, "relu" if kind == "doubles" else kind)
    for eps in (0.01, 1.0):
        region = Ball(rng.standard_normal(network.input_size), eps)
        error = error_over(network, region)
        x = points(region, 1500, 2)
        exact = network(x)
        for _ in range(15):
            off = np.abs(reassociated(network, x, rng).astype(np.float64) - exact)
            assert (off <= error * (1.0 + DOUBLE)).all()


def cancelling() -> Network:
    """f = (1e7 (x + y) + x) - 1e7 (x + y) + 0.2, against 0: single precision loses what is left of x."""
    first = np.array([[1e7 + 1.0, 1e7], [1e7, 1e7]])
    second = np.array([[1.0, -1.0], [0.0, 0.0]])
    return Network.from_layers([(first, np.full(2, 1e9)), (second, np.array([0.2, 0.0]))], "relu")


def test_a_radius_of_the_exact_network_may_not_hold_for_the_one_that_runs() -> None:
    network, x0 = cancelling(), np.array([0.3, 0.4])
    exact = dv.certified_radius(network, x0, 0)
    running = dv.certified_radius(network, x0, 0, arithmetic="float32")
    assert exact.radius == pytest.approx(0.5, rel=1e-4)
    x = points(Ball(x0, exact.radius), 2000, 0)
    outputs = reassociated(network, x, np.random.default_rng(0))
    assert (outputs[:, 0] <= outputs[:, 1]).any(), "single precision does fail within the exact radius"
    assert running.radius == 0.0


@pytest.mark.parametrize("kind", ["relu", "tanh"])
def test_certified_radii_in_single_precision(kind: str) -> None:
    """A little smaller than those of the exact network, by as much as the error's share of the margin."""
    rng = np.random.default_rng(0)
    layers = [(rng.standard_normal((m, n)) / math.sqrt(n), rng.standard_normal(m)) for n, m in pairwise([6, 30, 30, 3])]
    network = Network.from_layers(layers, kind)
    for norm in (math.inf, 2.0, 1.0):
        x0 = rng.standard_normal(6)
        exact = dv.certified_radius(network, x0, norm=norm)
        running = dv.certified_radius(network, x0, norm=norm, arithmetic="float32")
        for a, b in ((exact.crown, running.crown), (exact.jacobian, running.jacobian)):
            assert b <= a * (1.0 + 2e-3)
            assert b >= a * 0.98
        bounder = Bounder(network)
        margin = np.full(3, np.inf)
        for j in (j for j in range(3) if j != exact.predicted):
            row = np.zeros((1, 3))
            row[0, exact.predicted], row[0, j] = 1.0, -1.0
            known = bounder.enclose(Ball(x0, running.crown, norm))
            error = bounder.evaluation_error(known)
            margin[j] = bounder.margins(known, row)[0] - error[exact.predicted] - error[j]
        assert (margin > 0).all()


@pytest.mark.parametrize("scale", [1e13, 1e20, 1e39])
def test_what_may_overflow_has_no_radius(scale: float) -> None:
    """A hidden layer past 3.4e38 that the next one brings back."""
    layers = [(np.eye(2) * scale, np.zeros(2)), (np.eye(2) * scale, np.zeros(2)), (np.eye(2) * scale, np.zeros(2))]
    layers.append((np.array([[1.0, 0.0], [0.0, 1.0]]) / scale / scale, np.zeros(2)))
    network = Network.from_layers(layers, "relu")
    assert not np.isfinite(error_over(network, Ball(np.array([2.0, 1.0]), 0.1))).all()
    assert dv.certified_radius(network, np.array([2.0, 1.0]), 0).radius > 0.3
    assert dv.certified_radius(network, np.array([2.0, 1.0]), 0, arithmetic="float32").radius == 0.0


def test_numbers_that_single_precision_flushes_to_zero() -> None:
    """f = 1e60 (1e-60 x) - 1 is -1 in single precision, whatever x; a bound of the error knows."""
    network = Network.from_layers([(np.array([[1e-60]]), np.zeros(1)), (np.array([[1e30]]), np.zeros(1))], "relu")
    assert error_over(network, Ball(np.array([3.0]), 0.5))[0] >= 3.5e-30
    # Below the smallest normal number of single precision a processor may take 0.
    network = Network.from_layers([(np.array([[1e-39]]), np.zeros(1)), (np.array([[1e38]]), np.zeros(1))], "relu")
    assert error_over(network, Ball(np.array([3.0]), 0.5))[0] >= 0.35


def test_an_unbounded_region_has_no_bound() -> None:
    network = Network.from_layers([(np.eye(2), np.zeros(2))])
    region = Ball(np.zeros(2), math.inf)
    assert error_over(network, region).tolist() == [math.inf, math.inf]


def test_properties_in_single_precision(tmp_path: Path) -> None:
    text = "(declare-const X_0 Real)\n(declare-const Y_0 Real)\n(declare-const Y_1 Real)\n"
    text += "(assert (>= X_0 0.0))\n(assert (<= X_0 1.0))\n(assert (<= Y_0 Y_1))\n"
    (tmp_path / "p.vnnlib").write_text(text)
    prop = load_property(tmp_path / "p.vnnlib", input_size=1, output_size=2)
    network = Network.from_layers([(np.array([[1.0], [0.5]]), np.array([1.0, 0.0]))])
    exact = property_margin(network, prop)
    running = property_margin(network, prop, arithmetic="float32")
    enclosure = enclose(network, Ball(np.array([0.5]), 0.5))
    bounds = dict(enumerate(zip(enclosure.lower, enclosure.upper, strict=True)))
    error = EvaluationError(network).error(enclosure.region, bounds)
    assert 0.99 < running < exact - 0.9 * float(error.sum())
    assert running == pytest.approx(exact - float(error.sum()), abs=1e-8)


@pytest.mark.parametrize(("arithmetic", "dtype"), [(SINGLE_PRECISION, np.float32), (DOUBLE_PRECISION, np.float64)])
def test_errors_of_sums_hold_in_any_order(arithmetic: Arithmetic, dtype: type) -> None:
    """Against exact fractions; carried by Jacobians they are far below what magnitudes alone would leave."""
    rng = np.random.default_rng(1)
    widths = [5, 24, 24, 3]
    layers = [(rng.standard_normal((m, n)), rng.standard_normal(m)) for n, m in pairwise(widths)]
    layers = [(w.astype(np.float32).astype(np.float64), b.astype(np.float32).astype(np.float64)) for w, b in layers]
    network = Network.from_layers(layers, "relu")
    region = Ball(rng.standard_normal(5), 0.02)
    errors = EvaluationError(network, arithmetic, chosen=True).over(region, enclose(network, region).linear_bounds)
    rows = np.array([[1.0, -1.0, 0.0], [0.0, 0.5, 1.0]])
    allowed, seen = errors.of_sums(rows), np.zeros(2)
    for x in points(region, 6, 0).astype(np.float32).astype(np.float64):
        exact, run = [Fraction(v) for v in x.tolist()], x.astype(dtype)
        for k, (w, b) in enumerate(layers):
            sums = [
                sum((Fraction(a) * v for a, v in zip(row, exact, strict=True)), Fraction(c))
                for row, c in zip(w.tolist(), b.tolist(), strict=True)
            ]
            total = b.astype(dtype)
            for j in rng.permutation(run.size):
                total = total + w[:, j].astype(dtype) * run[j]
            last = k == len(layers) - 1
            exact, run = sums if last else [max(s, Fraction(0)) for s in sums], total if last else np.maximum(total, 0)
        off = [Fraction(float(v)) - e for v, e in zip(run, exact, strict=True)]
        seen = np.maximum(
            seen, [abs(float(sum(Fraction(a) * o for a, o in zip(r, off, strict=True)))) for r in rows.tolist()]
        )
    # The last layer's own roundings do not count where it only chooses: here it sums, and adds them.
    last = EvaluationError(network, arithmetic).over(region, enclose(network, region).linear_bounds)
    assert (seen <= last.of_sums(rows)).all()
    assert (allowed <= last.of_sums(rows)).all()
    norms = errors.local[1]
    for w, _ in layers[1:]:
        norms = np.abs(w) @ norms
    assert (last.outputs < norms).all()


@pytest.mark.parametrize("eps", [(0.01, 0.05), ()])
def test_a_run_stores_the_evaluation_error(eps: tuple[float, ...], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    layers = [(rng.standard_normal((m, n)), rng.standard_normal(m)) for n, m in pairwise([4, 12, 3])]
    network = Network.from_layers(layers, "relu")
    x = rng.standard_normal((5, 4))
    result = dv.certify(
        network, x, eps=list(eps), compute={"radius"}, arithmetic="float32", executor="serial", output=tmp_path / "o.h5"
    )
    exact = dv.certify(network, x, eps=list(eps), compute={"radius"}, executor="serial", output=tmp_path / "e.h5")
    assert "evaluation_error" not in exact
    for i in range(5):
        largest = max([*eps, float(result["radius"][i])])
        np.testing.assert_array_equal(result["evaluation_error"][i], error_over(network, Ball(x[i], largest)))
        assert 0.0 < result["radius"][i] <= exact["radius"][i] * (1.0 + 2e-3)
    if eps:
        assert ((result["verified"] > 0) <= (exact["verified"] > 0)).all()


def test_an_unknown_arithmetic_is_refused() -> None:
    network = Network.from_layers([(np.eye(2), np.zeros(2))])
    with pytest.raises(SettingsError, match="arithmetic: got 'float16'; choose exact, float32"):
        dv.certified_radius(network, np.array([1.0, 0.0]), arithmetic="float16")
    with pytest.raises(SettingsError, match="arithmetic: got 'single'; choose exact, float32"):
        dv.certify(network, np.zeros((1, 2)), compute={"radius"}, arithmetic="single", output="o.h5")


def test_long_sums_one_after_the_other() -> None:
    """20,000 equal terms: their rounding adds up to far more than that of the input and of the weights."""
    n = 20_000
    network = Network.from_layers([(np.ones((1, n)), np.zeros(1))])
    x = np.full(n, float(np.float32(0.1)))
    total = np.float32(0.0)
    for v in x.astype(np.float32):
        total = total + v
    error = error_over(network, Ball(x, 0.0))[0]
    off = abs(float(total) - float(network(x)[0, 0]))
    assert off > 100 * 2.0**-24 * float(x.sum())
    assert off <= error


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_values_that_are_only_moved_are_not_rounded(activation: str) -> None:
    """Of queries: x1, -x0, 0.5 and relu(x0) are exact; sums, other multiples, numbers of no format and what is near a curve are not."""
    builder = NetworkBuilder((2,))
    rows = np.array([[0.0, 1.0], [-1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.5, 0.0], [1.0, 0.0], [0.0, 0.0]])
    bias = np.array([0.0, 0.0, 0.5, 0.0, 0.0, 0.25, 0.1])
    first = builder.linear("first", [Term(0, Dense(rows))], bias)
    after = builder.activation("after", first, activation)
    network = builder.build(builder.linear("last", [Term(after, Dense(np.eye(7)))]))
    region = Ball(np.array([0.7, 0.6]), 0.1)
    errors = EvaluationError(network, SINGLE_PRECISION, chosen=True).over(
        region, enclose(network, region).linear_bounds
    )
    exact = errors.outputs < 1e-30
    assert exact.tolist() == ([True, True, True, False, False, False, False] if activation == "relu" else [False] * 7)
