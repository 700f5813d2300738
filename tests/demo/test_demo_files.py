"""The shipped network and images: what the demo promises about them."""

from __future__ import annotations

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from distverify.demo import DATA, MODEL


def test_images_are_200_held_out_digits_in_the_unit_box() -> None:
    with np.load(DATA, allow_pickle=False) as data:
        assert sorted(data.files) == ["x", "y"]
        x, y = data["x"], data["y"]
    assert x.shape == (200, 64)
    assert x.dtype == np.float32
    assert x.min() == 0.0
    assert x.max() == 1.0
    assert np.array_equal(x * 16, np.round(x * 16)), "grey levels 0..16, divided by 16"
    assert y.shape == (200,)
    assert np.bincount(y, minlength=10).min() >= 19, "every digit is there about equally often"


def test_network_is_a_valid_small_relu_model_that_names_its_data() -> None:
    model = onnx.load(MODEL)
    onnx.checker.check_model(model, full_check=True)
    assert [n.op_type for n in model.graph.node] == ["Gemm", "Relu", "Gemm", "Relu", "Gemm"]
    assert model.opset_import[0].version == 17
    assert "UCI Machine Learning Repository, CC BY 4.0" in model.doc_string


def test_network_is_right_on_more_than_93_per_cent() -> None:
    with np.load(DATA, allow_pickle=False) as data:
        x, y = data["x"], data["y"]
    (logits,) = ReferenceEvaluator(onnx.load(MODEL)).run(None, {"image": x})
    assert (logits.argmax(axis=1) == y).mean() > 0.93


def test_files_are_small() -> None:
    assert MODEL.stat().st_size + DATA.stat().st_size < 100_000
