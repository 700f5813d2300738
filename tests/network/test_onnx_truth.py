"""Bounds of networks read from ONNX files, against exact arithmetic on the files' own numbers.

The oracle shares nothing with the importer: what is rounded, folded or misread on the way is seen here.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from distverify.bounds.enclosure import enclose
from distverify.bounds.jacobian import jacobian_bounds
from distverify.errors import ModelError
from distverify.network.graph import Network
from distverify.network.onnx.importer import load_onnx
from distverify.region import Ball
from tests.network.onnx_models import model, node, save
from tests.network.random_models import RandomModel
from tests.onnx_exact import ExactModel

FEW, MANY = 40, 500


def points(region: Ball, rng: np.random.Generator, count: int) -> list[list[Fraction]]:
    """The centre, and random points that lie in the region exactly."""
    lower, upper = region.box
    inside = [region.x0, *(np.clip(rng.uniform(lower, upper), lower, upper) for _ in range(count))]
    return [[Fraction(float(v)) for v in x] for x in inside]


def violations(network: Network, exact: ExactModel, region: Ball, rng: np.random.Generator) -> list[str]:
    """Values and derivatives of the file's function that lie outside of the bounds."""
    enclosure = enclose(network, region)
    found = []
    values = [("interval", enclosure.lower[network.output], enclosure.upper[network.output])]
    values.append(("crown", *enclosure.row_bounds(np.eye(network.output_size))))
    derivatives = []
    if network.jump:
        with pytest.raises(ModelError, match="has no derivatives"):
            jacobian_bounds(network, region)
    else:
        derivatives += [(way, jacobian_bounds(network, region, direction=way)) for way in ("backward", "forward")]
        derivatives += [(method, jacobian_bounds(network, region, method=method)) for method in ("fastlip", "coupled")]
    for x in points(region, rng, 4):
        for k, output in enumerate(exact(x)):
            for way, lower, upper in values:
                if lower[k] > output.value or upper[k] < output.value:
                    found.append(f"{way} {k}: {float(output.value)!r} outside [{lower[k]!r}, {upper[k]!r}]")
            for way, bounds in derivatives:
                for i in range(network.input_size):
                    slope = output.gradient.get(i, 0)
                    if bounds.lower[k, i] > slope or bounds.upper[k, i] < slope:
                        ends = f"[{bounds.lower[k, i]!r}, {bounds.upper[k, i]!r}]"
                        found.append(f"{way} d{k}/d{i}: {float(slope)!r} outside {ends}")
    return found


def checked(proto: onnx.ModelProto, folder: Path, x0: Any, eps: float, *, precision: str = "float64") -> Network:
    """The network of a model whose bounds contain what exact arithmetic gives."""
    network = load_onnx(save(proto, folder))
    shape = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
    region = Ball(np.asarray(x0, dtype=float), eps)
    rng = np.random.default_rng(1)
    assert violations(network.in_precision(precision), ExactModel(proto, shape), region, rng) == []
    return network


def test_two_matrices_that_cancel(tmp_path: Path) -> None:
    """The sum is -x: in float64 the product of the two matrices is 0."""
    nodes = [node("MatMul", "x a", "h"), node("MatMul", "h b", "y")]
    constants = {"a": np.array([[1e17, -1.0, -1e17]]), "b": np.ones((3, 1))}
    network = checked(model(nodes, constants, shape=(1, 1), output_shape=(1, 1)), tmp_path, [1.0], 0.5)
    assert jacobian_bounds(network, Ball(np.ones(1), 0.5)).lower[0, 0] <= -1.0


def test_constants_that_cancel(tmp_path: Path) -> None:
    """x + 1e17 + 1 - 1e17 is x + 1."""
    nodes = [node("Add", "x big", "a"), node("Add", "a one", "b"), node("Sub", "b big", "y")]
    constants = {"big": np.array([1e17]), "one": np.array([1.0])}
    checked(model(nodes, constants, shape=(1, 2), output_shape=(1, 2)), tmp_path, [1.0, 2.0], 0.5)


@pytest.mark.parametrize("epsilon", [0.0, 1e-5])
def test_batch_normalisation_far_from_zero(epsilon: float, tmp_path: Path) -> None:
    nodes = [node("BatchNormalization", "x s b m v", "y", epsilon=epsilon)]
    constants = {"s": np.ones(2), "b": np.array([0.3, -0.3]), "m": np.array([1e8, -1e8]), "v": np.full(2, 1e-16)}
    proto = model(nodes, constants, shape=(1, 2), output_shape=(1, 2))
    checked(proto, tmp_path, [1e8 + 0.1, -1e8], 1e-9)


@pytest.mark.parametrize("opset", [7, 9, 13, 14, 15])
def test_batch_normalisation_of_every_operator_set(opset: int, tmp_path: Path) -> None:
    """The reference evaluator's own version mixes in the mean of the batch from 9 to 13; the gate must not be misled."""
    constants = {k: np.linspace(low, 1.0, 2) for k, low in {"s": 0.5, "b": -1.0, "m": 0.3, "v": 0.2}.items()}
    nodes = [node("BatchNormalization", "x s b m v", "n"), node("Flatten", "n", "y")]
    proto = model(nodes, constants, shape=(1, 2, 2, 1), output_shape=(1, 4), opset=opset)
    network = checked(proto, tmp_path, [0.2, -1.0, 3.0, 0.7], 0.1)
    assert "agrees" in network.remarks["reference"]


def test_a_chain_of_factors(tmp_path: Path) -> None:
    """Three times the float64 of a third is 1 - 2^-54, and 1 in float64: sixty such pairs are far from 1, in units of it."""
    nodes = [node("Mul", f"t{i} {'third' if i % 2 else 'three'}", f"t{i + 1}") for i in range(120)]
    nodes[0].input[0], nodes[-1].output[0] = "x", "y"
    constants = {"third": np.array(1 / 3), "three": np.array(3.0)}
    checked(model(nodes, constants, shape=(1, 2), output_shape=(1, 2)), tmp_path, [1.0, -0.3], 1e-15)


@pytest.mark.parametrize("divisor", [1.4142135381698608, 0.3])
def test_written_out_gelu(divisor: float, tmp_path: Path) -> None:
    nodes = [
        node("Div", "x root", "d"), node("Erf", "d", "e"), node("Add", "e one", "a"), node("Mul", "x a", "p"),
        node("Mul", "p half", "y"),
    ]  # fmt: skip
    constants = {"root": np.array(divisor), "one": np.array(1.0), "half": np.array(0.1)}
    checked(model(nodes, constants, shape=(1, 3), output_shape=(1, 3)), tmp_path, [0.2, -1.7, 3.0], 1e-12)


@pytest.mark.parametrize("size", [3, 7])
def test_means_of_counts_that_are_no_powers_of_two(size: int, tmp_path: Path) -> None:
    nodes = [
        node("AveragePool", "x", "p", kernel_shape=[1, size]),
        node("ReduceMean", "p", "m", axes=[1]),
        node("Flatten", "m", "y"),
    ]
    proto = model(nodes, shape=(1, 3, 2, 7), output_shape=(1, 2 * (8 - size)))
    checked(proto, tmp_path, np.linspace(-1, 1, 42), 1e-14)


def test_constants_are_combined_in_exact_arithmetic(tmp_path: Path) -> None:
    """0.1f / 0.3f and the root of 0.2f are no float32 numbers, nor float64 ones; 16777216 + 1 is not one of float32."""
    f = {k: np.array(v, np.float32) for k, v in {"a": 0.1, "b": 0.3, "c": 0.2, "big": 2.0**24, "one": 1.0}.items()}
    nodes = [
        node("Div", "a b", "q"), node("Sqrt", "c", "r"), node("Mul", "q r", "p"), node("Mul", "x p", "m"),
        node("Add", "big one", "s"), node("Add", "m s", "t"), node("Sub", "t big", "u"), node("Add", "u r", "y"),
    ]  # fmt: skip
    proto = model(nodes, f, shape=(1, 2), output_shape=(1, 2), dtype=onnx.TensorProto.FLOAT)
    network = checked(proto, tmp_path, [1.0, -2.0], 1e-14)
    assert network([[0.0, 0.0]])[0] == pytest.approx(1.0 + np.sqrt(float(f["c"])), rel=1e-15)


def test_transposed_convolution_of_a_given_size(tmp_path: Path) -> None:
    """The larger half of odd pads comes first: of 1 2 14 20 40 the first is cut off."""
    nodes = [node("ConvTranspose", "x w", "c", strides=[2], output_shape=[4]), node("Flatten", "c", "y")]
    constants = {"w": np.array([[[1.0, 2.0, 4.0]]])}
    network = checked(model(nodes, constants, shape=(1, 1, 2), output_shape=(1, 4)), tmp_path, [1.0, 10.0], 0.1)
    assert network([[1.0, 10.0]])[0].tolist() == [2.0, 14.0, 20.0, 40.0]


GATES = {
    "silu": [node("Sigmoid", "x", "g")],
    "hard_swish": [node("HardSigmoid", "x", "g", alpha=1 / 6, beta=0.5)],
    "steep_hard_swish": [node("HardSigmoid", "x", "g", alpha=0.3, beta=0.5)],
    "clipped": [node("Add", "x three", "a"), node("Clip", "a zero six", "g")],
    "mish": [node("Softplus", "x", "s"), node("Tanh", "s", "g")],
}


@pytest.mark.parametrize("gate", GATES)
def test_written_out_gates(gate: str, tmp_path: Path) -> None:
    nodes = [*GATES[gate], node("Mul", "x third", "f"), node("Mul", "f g", "y")]
    constants = {"third": np.array(1 / 3), "three": np.array(3.0), "zero": np.array(0.0), "six": np.array(6.0)}
    for x0 in ([0.2, -1.7, 2.9], [-2.95, -0.1, 5.0]):
        for eps in (1e-12, 0.3):
            checked(model(nodes, constants, shape=(1, 3), output_shape=(1, 3)), tmp_path, x0, eps)


@pytest.mark.parametrize("operator", ["HardSwish", "Mish", "Softsign", "Abs", "Softplus"])
def test_activations_of_their_own(operator: str, tmp_path: Path) -> None:
    proto = model([node(operator, "x", "y")], shape=(1, 4), output_shape=(1, 4), opset=18)
    for eps in (1e-9, 0.5, 4.0):
        checked(proto, tmp_path, [0.2, -1.7, 2.9, -3.1], eps)


def test_a_quotient_that_is_softsign(tmp_path: Path) -> None:
    nodes = [node("Abs", "x", "a"), node("Add", "a one", "b"), node("Mul", "x c", "f"), node("Div", "f b", "y")]
    constants = {"one": np.array(0.7), "c": np.array(-0.3)}
    for eps in (1e-12, 0.5):
        proto = model(nodes, constants, shape=(1, 3), output_shape=(1, 3))
        checked(proto, tmp_path, [0.2, -1.7, 0.05], eps)


@pytest.mark.parametrize(("lo", "hi"), [(-np.inf, 0.3), (0.3, np.inf), (-np.inf, np.inf), (0.0, None), (None, 0.1)])
def test_limits_without_end(lo: float | None, hi: float | None, tmp_path: Path) -> None:
    constants = {k: np.array(v) for k, v in {"lo": lo, "hi": hi}.items() if v is not None}
    nodes = [node("Clip", f"x {'-' if lo is None else 'lo'} {'-' if hi is None else 'hi'}", "y")]
    limits = -np.inf if lo is None else lo, np.inf if hi is None else hi
    network = load_onnx(save(model(nodes, constants, shape=(1, 4), output_shape=(1, 4)), tmp_path))
    x = np.array([[-1e300, 0.2, 1e300, -0.5]])
    assert network(x) == pytest.approx(np.clip(x, *limits))


def check_random(seed: int, folder: Path) -> None:
    rng = np.random.default_rng(seed)
    random = RandomModel(rng, operators=int(rng.integers(2, 9)))
    size = math.prod(random.input_shape)
    x0 = rng.standard_normal(size) * rng.choice([1e-3, 1.0, 100.0])
    precision = "float32" if seed % 5 == 0 else "float64"
    checked(random.model, folder, x0, float(rng.choice([1e-9, 0.01, 1.0])), precision=precision)


@pytest.mark.parametrize("seed", range(FEW))
def test_random_models(seed: int, tmp_path: Path) -> None:
    check_random(seed, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_many_random_models(tmp_path: Path) -> None:
    for seed in range(FEW, MANY):
        check_random(seed, tmp_path)
