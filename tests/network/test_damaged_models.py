"""Models that are damaged, or made to fill memory and time: read rightly, or refused in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from distverify.errors import ModelError
from distverify.network.onnx.importer import load_onnx
from tests.network.mutations import mutated
from tests.network.onnx_models import model, node, save

FEW, MANY = 300, 4000
SECONDS, BYTES = 10, 2**30


def check(seed: int, folder: Path) -> None:
    path = folder / "model.onnx"
    path.write_bytes(mutated(seed))
    message = "read"
    try:
        load_onnx(path)
    except ModelError as error:
        message = str(error)
    assert "\n" not in message
    assert 0 < len(message) < 2000


def test_mutated_models(tmp_path: Path) -> None:
    for seed in range(FEW):
        check(seed, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_many_mutated_models(tmp_path: Path) -> None:
    for seed in range(FEW, MANY):
        check(seed, tmp_path)


def concatenated(folder: Path) -> Path:
    """One signal, 2,000 times."""
    nodes = [node("Concat", " ".join(["x"] * 2000), "y", axis=1)]
    return save(model(nodes, shape=(1, 1000), output_shape=(1, 2_000_000)), folder)


def joined(folder: Path) -> Path:
    """2,000 signals joined: each takes a place in an operator of its own."""
    nodes = [node("Relu", "x", f"t{i}") for i in range(2000)]
    nodes.append(node("Concat", " ".join(f"t{i}" for i in range(2000)), "y", axis=1))
    return save(model(nodes, shape=(1, 1000), output_shape=(1, 2_000_000)), folder)


def filled(folder: Path) -> Path:
    nodes = [node("ConstantOfShape", "n", "c"), node("ReduceSum", "c axes", "s", keepdims=0), node("Add", "x s", "y")]
    return save(model(nodes, {"n": np.array([16000, 16000]), "axes": np.array([0, 1])}, shape=(1, 4)), folder)


def chain(folder: Path) -> Path:
    """10,000 activations and additions after each other."""
    nodes = [node("Relu" if i % 2 else "Add", f"t{i}" if i % 2 else f"t{i} c", f"t{i + 1}") for i in range(10_000)]
    nodes[0].input[0], nodes[-1].output[0] = "x", "y"
    return save(model(nodes, {"c": np.full(4, 0.5)}, shape=(1, 4), output_shape=(1, 4)), folder)


def linear_chain(folder: Path) -> Path:
    nodes = [node("MatMul", f"t{i} w", f"t{i + 1}") for i in range(10_000)]
    nodes[0].input[0], nodes[-1].output[0] = "x", "y"
    return save(model(nodes, {"w": np.eye(30)}, shape=(1, 30), output_shape=(1, 30)), folder)


def dense_sums(folder: Path) -> Path:
    """One matrix of 4 MB, used 2,000 times."""
    weight = np.random.default_rng(0).standard_normal((1000, 1000)).astype(np.float32)
    nodes = [node("MatMul", "x w", f"t{i}") for i in range(2000)]
    nodes.append(node("Sum", " ".join(f"t{i}" for i in range(2000)), "y"))
    proto = model(nodes, {"w": weight}, shape=(1, 1000), output_shape=(1, 1000), dtype=TensorProto.FLOAT)
    return save(proto, folder)


COSTLY = {f.__name__: f for f in (concatenated, joined, filled, chain, linear_chain, dense_sums)}


@pytest.mark.slow
@pytest.mark.parametrize("name", COSTLY)
def test_what_a_file_may_cost(name: str, tmp_path: Path) -> None:
    path = COSTLY[name](tmp_path)
    code = (
        "import sys; from distverify.errors import ModelError; from distverify.network.onnx.importer import load_onnx\n"
        "try: print(load_onnx(sys.argv[1]).input_size)\n"
        "except ModelError as error: print(error)\n"
        "import resource; from tests.memory import peak_bytes\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_utime, peak_bytes())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, timeout=120
    )
    told, cost = done.stdout.splitlines()
    assert told
    seconds, peak = cost.split()
    assert float(seconds) < SECONDS
    assert int(peak) < BYTES
