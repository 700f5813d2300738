"""Which axes of an ONNX model's input count samples, and what operators along the first axis do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import distverify as dv
from distverify.bounds.jacobian import jacobian_bounds
from distverify.errors import ModelError, ResultError
from distverify.network.onnx.importer import load_onnx
from distverify.region import Ball
from distverify.words import provenance_facts
from tests.network.onnx_models import model, node, save

W = np.arange(12.0).reshape(4, 3)
AXIS_0 = {"axes": np.array([0])}


def test_a_sum_along_the_first_axis(tmp_path: Path) -> None:
    proto = model([node("ReduceSum", "x axes", "y", keepdims=0)], AXIS_0, shape=(2, 2), output_shape=(2,))
    network = load_onnx(save(proto, tmp_path))
    assert network.input_shape == (2, 2)
    assert network([[1.0, 2.0, 10.0, 20.0]]).tolist() == [[11.0, 22.0]]


def test_a_mean_along_the_first_axis(tmp_path: Path) -> None:
    nodes = [node("ReduceMean", "x axes", "m", keepdims=1), node("Sub", "x m", "y")]
    network = load_onnx(save(model(nodes, AXIS_0, shape=(3, 4), output_shape=(3, 4), opset=18), tmp_path))
    assert network.input_size == 12
    bounds = jacobian_bounds(network, Ball(np.zeros(12), 1.0))
    truth = np.kron(np.eye(3) - 1.0 / 3.0, np.eye(4))
    assert (bounds.lower <= truth + 1e-15).all()
    assert (bounds.upper >= truth - 1e-15).all()
    assert bounds.upper.max() == pytest.approx(2.0 / 3.0)


@pytest.mark.parametrize(
    ("nodes", "constants", "output_shape", "expected"),
    [
        ([node("Slice", "x from to axis", "y")], {"from": [1], "to": [3], "axis": [0]}, (2, 2), [3.0, 4.0, 5.0, 6.0]),
        ([node("Gather", "x which", "y", axis=0)], {"which": [2, 0]}, (2, 2), [5.0, 6.0, 1.0, 2.0]),
        ([node("Add", "x c", "y")], {"c": [[10.0], [20.0], [30.0]]}, (3, 2), [11.0, 12.0, 23.0, 24.0, 35.0, 36.0]),
        ([node("Concat", "x x", "y", axis=0)], {}, (6, 2), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0] * 2),
    ],
)
def test_operators_along_the_first_axis(
    nodes: list, constants: dict, output_shape: tuple[int, ...], expected: list[float], tmp_path: Path
) -> None:
    arrays = {k: np.array(v) for k, v in constants.items()}
    network = load_onnx(save(model(nodes, arrays, shape=(3, 2), output_shape=output_shape), tmp_path))
    assert network([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])[0].tolist() == expected


@pytest.mark.parametrize(
    ("shape", "output_shape", "batch_axis", "sample"),
    [
        ((1, 4), (1, 3), None, (4,)),
        ((1, 4), ("N", 3), None, (4,)),
        (("N", 4), ("N", 3), None, (4,)),
        (("N", 4), (7, 3), None, (4,)),
        ((1, 4), (1, 3), False, (1, 4)),
        ((32, 4), (32, 3), True, (4,)),
        ((32, 4), (32, 3), None, (32, 4)),
        ((1, 4), (3,), True, (4,)),
    ],
)
def test_which_axis_counts_samples(
    shape: tuple, output_shape: tuple, batch_axis: bool | None, sample: tuple[int, ...], tmp_path: Path
) -> None:
    proto = model([node("MatMul", "x w", "y")], {"w": W}, shape=shape, output_shape=output_shape)
    assert load_onnx(save(proto, tmp_path), batch_axis=batch_axis).input_shape == sample


@pytest.mark.parametrize(
    ("shape", "batch_axis", "message"),
    [
        (("N", 4), False, r"shape \[\?, 4\] is open and has no batch axis; export it with a fixed shape"),
        (("N", "M"), None, r"shape \[\?, \?\] is open beyond the batch axis"),
        ((4,), True, r"shape \[4\] has no axis beside the batch axis"),
    ],
)
def test_refused(shape: tuple, batch_axis: bool | None, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        load_onnx(
            save(model([node("Relu", "x", "y")], shape=shape, output_shape=shape), tmp_path), batch_axis=batch_axis
        )


def test_a_file_tells_it_and_another_reading_of_the_model_is_another_run(tmp_path: Path) -> None:
    path = save(model([node("MatMul", "x w", "y")], {"w": W}, shape=(1, 4), output_shape=(1, 3)), tmp_path)
    x, options = (
        np.ones((2, 4)),
        {"output": tmp_path / "out.h5", "executor": "serial", "compute": "outputs", "eps": 0.1},
    )
    with dv.certify(path, x, batch_axis=False, **options) as result:
        told = result.provenance["environment"]["inputs"]
        assert (told["batch_axis"], told["shape"]) == (False, [1, 4])
        assert provenance_facts(result.provenance)["Batch axis"] == "no, as was said"
    lines = r"one input of the model: this run has shape \[4\]; the finished result has shape \[1, 4\], batch axis no"
    with pytest.raises(ResultError, match=lines):
        dv.certify(path, x, **options)
    assert dv.audit(tmp_path / "out.h5", path, x, executor="serial").violations == 0
