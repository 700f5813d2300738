"""The evaluation error of what a file says, step by step: folding must not hide what single precision loses on the way."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

import distverify as dv
from distverify.network.normalisation import apply_normalisation
from distverify.region import Ball
from tests.bounds.test_evaluation_error import DOUBLE, error_over, points
from tests.network.onnx_models import model, node, save
from tests.network.random_models import RandomModel

F = np.float32
Singles = NDArray[np.float32]


def normalised(x: Singles) -> Singles:
    scale = F(1) / np.sqrt(F(1e-2) + F(1e-5))
    return np.asarray((x - F(1e6)) * scale)


MATRICES = {"a": np.array([[3e3, 3e3], [5e-3, -5e-3]], F), "b": np.array([[1.0, 0.5], [-1.0, 2.0]], F)}
FAR = {"big": np.array(2.0**30, F), "one": np.array(1.0, F)}
# Nodes, constants, the centre, and the same in single precision, operation by operation.
FILES: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], list[float], Callable[[Singles], Singles]]] = {
    "constants that cancel": (
        [node("Add", "x big", "a"), node("Add", "a one", "b"), node("Sub", "b big", "y")], FAR, [1.0, -2.0],
        lambda x: np.asarray(((x + F(2.0**30)) + F(1)) - F(2.0**30)),
    ),
    "matrices that cancel": (
        [node("MatMul", "x a", "h"), node("MatMul", "h b", "y")], MATRICES, [1.0, -2.0],
        lambda x: np.asarray((x @ MATRICES["a"]) @ MATRICES["b"]),
    ),
    "normalisation far from zero": (
        [node("BatchNormalization", "x s z m v", "y")],
        {"s": np.ones(2, F), "z": np.zeros(2, F), "m": np.full(2, 1e6, F), "v": np.full(2, 1e-2, F)}, [1e6, 1e6 + 1],
        normalised,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_what_folding_hides_counts(name: str, tmp_path: Path) -> None:
    nodes, constants, x0, run = FILES[name]
    proto = model(nodes, constants, shape=(1, 2), output_shape=(1, 2), dtype=TensorProto.FLOAT)
    path = save(proto, tmp_path)
    network = dv.load_network(path)
    region = Ball(np.array(x0), 0.5)
    error = error_over(network, region)
    x = points(region, 4000, 0)
    off = np.abs(run(x.astype(F)).astype(np.float64) - network(x))
    assert (off <= error).all()
    assert (error <= 1e4 * off.max(axis=0)).all(), "the bound is far from what happens"


@pytest.mark.parametrize("folded", [False, True])
def test_a_normalisation_before_the_network_counts(folded: bool, tmp_path: Path) -> None:
    """(x - 1e5) / 1e-2 is folded into the layer; a file that was folded itself keeps what it is of."""
    nodes = [node("MatMul", "x a", "h"), *([node("MatMul", "h b", "y")] if folded else [node("Relu", "h", "y")])]
    proto = model(nodes, MATRICES, shape=(1, 2), output_shape=(1, 2), dtype=TensorProto.FLOAT)
    network = apply_normalisation(dv.load_network(save(proto, tmp_path)), 1e5, 1e-2)
    region = Ball(np.array([1e5, 1e5 + 1.0]), 0.5)
    x = points(region, 4000, 0)
    scaled = (x.astype(F) - F(1e5)) / F(1e-2)
    hidden = scaled @ MATRICES["a"]
    runs = hidden @ MATRICES["b"] if folded else np.maximum(hidden, F(0))
    error = error_over(network, region)
    off = np.abs(runs.astype(np.float64) - network(x))
    assert (off <= error).all()
    assert (error <= 1e4 * off.max()).all()
    again = apply_normalisation(network, 0.0, 2.0)
    assert again.unfolded is not None
    assert (error_over(again, Ball(2.0 * region.x0, 1.0)) >= error * 0.99).all()


OPERATORS = {
    "softmax": [node("MatMul", "x w", "h"), node("Softmax", "h", "s"), node("MatMul", "s w", "y")],
    "log_softmax": [node("MatMul", "x w", "h"), node("LogSoftmax", "h", "s"), node("MatMul", "s w", "y")],
    "layer": [node("MatMul", "x w", "h"), node("LayerNormalization", "h g c", "y")],
    "layer_far_out": [node("Add", "x far", "h"), node("LayerNormalization", "h g c", "y")],
    "product": [node("MatMul", "x w", "h"), node("Tanh", "h", "t"), node("Mul", "t h", "y")],
    "quotient": [node("MatMul", "x w", "h"), node("Exp", "h", "e"), node("Div", "x e", "y")],
    "powers": [node("MatMul", "x w", "h"), node("Pow", "h three", "y")],
    "roots": [
        node("Mul", "x x", "q"), node("Add", "q three", "p"), node("Sqrt", "p", "r"), node("Log", "r", "l"),
        node("Reciprocal", "l", "y"),
    ],
    "gelu": [
        node("Mul", "x x", "s"), node("Mul", "x s", "f"), node("Mul", "f k", "d"), node("Add", "x d", "a"), node("Mul", "a b", "e"),
        node("Tanh", "e", "t"), node("Add", "t one", "u"), node("Mul", "x u", "y"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_a_runtime_stays_within_the_error_of_operators_of_two_values(name: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(4)
    constants = {
        "w": rng.standard_normal((4, 4)), "g": rng.standard_normal(4), "c": rng.standard_normal(4), "three": np.array(3.0),
        "far": np.array(20.0), "k": np.array(0.044715), "b": np.array(0.7978845608), "one": np.array(1.0),
    }  # fmt: skip
    proto = model(
        OPERATORS[name], {k: v.astype(F) for k, v in constants.items()}, shape=("N", 4), output_shape=("N", 4),
        dtype=TensorProto.FLOAT,
    )  # fmt: skip
    path = save(proto, tmp_path)
    network = dv.load_network(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for eps in (0.0, 0.05, 0.3):
        region = Ball(rng.standard_normal(4), eps)
        error = error_over(network, region)
        assert np.isfinite(error).all()
        x = points(region, 2000, 1)
        outputs = session.run(None, {"x": x.astype(F)})[0].astype(np.float64)
        assert (np.abs(outputs - network(x)) <= error).all()


def check_random_model(seed: int, folder: Path) -> bool | None:
    """Hold the runtime to the error of a random model, and say whether that was finite; None for a model of doubles."""
    onnxruntime = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(seed)
    random = RandomModel(rng, operators=int(rng.integers(2, 9)))
    if random.dtype != F:
        return None
    size = math.prod(random.input_shape)
    region = Ball(rng.standard_normal(size) * rng.choice([1e-3, 1.0, 100.0]), float(rng.choice([1e-9, 0.01, 1.0])))
    path = save(random.model, folder)
    network = dv.load_network(path)
    error = error_over(network, region)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    x = points(region, 40, 1)
    runs = [session.run(None, {"x": row.astype(F).reshape(random.input_shape)})[0].reshape(-1) for row in x]
    off = np.abs(np.stack(runs).astype(np.float64) - network(x))
    assert ((off <= error * (1.0 + DOUBLE)) | (error == np.inf)).all(), (seed, off.max(axis=0), error)
    return bool(np.isfinite(error).all())


def test_a_runtime_stays_within_the_error_of_random_models(tmp_path: Path) -> None:
    finite = [check_random_model(seed, tmp_path) for seed in range(30)]
    assert finite.count(True) > finite.count(False)


@pytest.mark.slow
def test_a_runtime_stays_within_the_error_of_many_random_models(tmp_path: Path) -> None:
    finite = [check_random_model(seed, tmp_path) for seed in range(30, 600)]
    assert finite.count(True) > finite.count(False)
