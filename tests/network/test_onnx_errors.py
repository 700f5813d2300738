"""Models that cannot be verified are refused, with the node, the reason and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from distverify.errors import ModelError
from distverify.network.onnx.importer import load_onnx
from tests.network.onnx_models import model, node, save

W43 = np.arange(12.0).reshape(4, 3)
I64 = np.int64

# name: (nodes, constants, options of ``model``, what the message must say)
CASES: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], dict[str, Any], str]] = {
    "unsupported": (
        [node("LpNormalization", "x", "y")],
        {},
        {},
        r"operator LpNormalization is not supported; supported are Abs, Add, .*Where, Xor$",
    ),
    "unnamed": (
        [helper.make_node("LpNormalization", ["x"], ["y"])],
        {},
        {},
        "the LpNormalization node that produces 'y': operator",
    ),
    "other_domain": (
        [helper.make_node("Relu", ["x"], ["y"], domain="com.example")],
        {},
        {},
        "operator Relu of domain 'com.example' is not supported",
    ),
    "unknown_operator": ([node("Nonsense", "x", "y")], {}, {}, "operator Nonsense is not supported"),
    "only_for_constants": ([node("Tan", "x", "y")], {}, {}, "operator Tan is not supported; supported"),
    "too_new_operator": ([node("Gelu", "x", "y")], {}, {}, "operator Gelu does not exist in operator set 17"),
    "unknown_attribute": ([node("Relu", "x", "y", alpha=1.0)], {}, {}, "attribute 'alpha' is unknown"),
    "attribute_of_another_type": ([node("Elu", "x", "y", alpha="1")], {}, {}, "attribute 'alpha' is unknown"),
    "missing_attribute": ([node("Cast", "x", "y")], {}, {}, "attribute 'to' is missing"),
    "too_many_inputs": ([node("Relu", "x x", "y")], {}, {}, "has 2 inputs and 1 outputs"),
    "left_out_input": ([node("MatMul", "x -", "y")], {}, {}, "input 1 is left out"),
    "undefined_value": ([node("Add", "x nowhere", "y")], {}, {}, "reads 'nowhere', which no supported node"),
    "not_in_order": (
        [node("Relu", "h", "y"), node("Relu", "x", "h")],
        {},
        {},
        "reads 'h', which no supported node before it",
    ),
    "defined_twice": ([node("Relu", "x", "y"), node("Tanh", "x", "y")], {}, {}, "'y' is defined twice"),
    "matrix_product": ([node("MatMul", "x x", "y")], {}, {"shape": (3, 4)}, "do not fit together"),
    "gemm_product": ([node("Gemm", "x x", "y")], {}, {"shape": (3, 4)}, "do not fit together"),
    "divided_by_zero": (
        [node("Div", "x c", "y")],
        {"c": np.zeros(4)},
        {},
        "divides by a constant that is zero",
    ),
    "unfit_matrix": (
        [node("MatMul", "x w", "y")],
        {"w": W43.T},
        {},
        r"of shape \(3, 4\) does not fit .* \(1, 4\)",
    ),
    "unfit_gemm": ([node("Gemm", "x w", "y")], {"w": W43.T}, {}, r"shapes \(1, 4\) and \(3, 4\) do not fit"),
    "unfit_c": (
        [node("Gemm", "x w c", "y")],
        {"w": W43, "c": np.ones(2)},
        {},
        r"constant of shape \(2,\) does not",
    ),
    "gemm_of_vector": (
        [node("Gemm", "x w", "y")],
        {"w": W43},
        {"shape": (1, 1, 4)},
        "add a Flatten before it",
    ),
    "stack_of_matrices": (
        [node("MatMul", "x w", "y")],
        {"w": np.ones((2, 4, 3))},
        {"shape": (2, 1, 4)},
        "a stack of matrices of shape",
    ),
    "scalar_matrix": ([node("MatMul", "x w", "y")], {"w": np.array(1.0)}, {}, "both need at least one axis"),
    "repeated_too_often": (
        [node("MatMul", "x w", "y")],
        {"w": W43},
        {"shape": (1, 10_000, 4)},
        "would make 1200000000 more numbers, too many for a file",
    ),
    "unfit_sum": (
        [node("Add", "x c", "y")],
        {"c": np.ones(3)},
        {},
        r"shapes \(1, 4\), \(3,\) do not fit together",
    ),
    "reshape": (
        [node("Reshape", "x s", "y")],
        {"s": np.array([8, 4], I64)},
        {"shape": ("N", 4)},
        r"cannot bring values of shape \(1, 4\) .* to shape \(8, 4\); export the model for a batch of one",
    ),
    "reshape_nonsense": ([node("Reshape", "x s", "y")], {"s": np.array([-1, -1], I64)}, {}, "makes no sense"),
    "reshape_by_signal": (
        [node("Reshape", "x x", "y")],
        {},
        {},
        "input 1 must be a constant, but depends on",
    ),
    "flatten_axis": ([node("Flatten", "x", "y", axis=5)], {}, {}, r"axis 5 does not exist in shape \(1, 4\)"),
    "squeeze_long_axis": (
        [node("Squeeze", "x a", "y")],
        {"a": np.array([1], I64)},
        {},
        "only axes of length one",
    ),
    "squeeze_missing_axis": (
        [node("Squeeze", "x a", "y")],
        {"a": np.array([7], I64)},
        {},
        "make no sense for 2 axes",
    ),
    "permutation_of_other_rank": (
        [node("Transpose", "x", "y", perm=[0, 2, 1])],
        {},
        {},
        "makes no sense for shape",
    ),
    "training": (
        [node("Dropout", "x r t", "y")],
        {"r": np.array(0.5), "t": np.array(True)},
        {},
        "is in training mode; export",
    ),
    "training_by_default": (
        [node("Dropout", "x", "y")],
        {},
        {"opset": 6},
        r"is in training mode \(is_test = 0\)",
    ),
    "cast_to_integer": (
        [node("Cast", "x", "y", to=TensorProto.INT64)],
        {},
        {},
        "only casts to a floating-point type",
    ),
    "clip_reversed": (
        [node("Clip", "x a b", "y")],
        {"a": np.array(1.0), "b": np.array(0.0)},
        {},
        "clips to 1.0 .. 0.0; the lower",
    ),
    "gelu_form": (
        [node("Gelu", "x", "y", approximate="none?")],
        {},
        {"opset": 20},
        "approximate = b'none.' is not",
    ),
    "prelu_shape": ([node("PRelu", "x s", "y")], {"s": np.ones(3)}, {}, "does not fit values of shape"),
    "prelu_old": (
        [node("PRelu", "x s", "y")],
        {"s": np.ones(3)},
        {"shape": (1, 3, 4), "opset": 6},
        "need operator set 7 or later",
    ),
    "complex_weight": (
        [node("Mul", "x c", "y")],
        {"c": np.ones(4, complex)},
        {},
        "type COMPLEX128 are not supported",
    ),
    "text_constant": (
        [node("Add", "x c", "y")],
        {"c": np.array(["a"], object)},
        {},
        "type STRING are not supported",
    ),
    "nan_weight": ([node("MatMul", "x w", "y")], {"w": W43 * np.nan}, {}, "12 values are NaN or infinite"),
    "no_values": ([node("Add", "x c", "y")], {"c": np.ones((0, 4))}, {}, r"would repeat|holds no values"),
    "huge_constant": (
        [node("ConstantOfShape", "n", "c"), node("Add", "x c", "y")],
        {"n": np.array([10**12], I64)},
        {},
        "would make 1000000000000 more numbers",
    ),
    "huge_expansion": (
        [node("Expand", "o n", "c"), node("Add", "x c", "y")],
        {"o": np.ones(1), "n": np.array([10**6, 10**6], I64)},
        {},
        "would make 1000000000000 more numbers",
    ),
    "huge_range": (
        [node("Range", "a b d", "c"), node("Add", "x c", "y")],
        {"a": np.array(0.0), "b": np.array(1e12), "d": np.array(1.0)},
        {},
        "would make 1000000000000 more numbers",
    ),
    "huge_outer_product": (
        [node("Mul", "a b", "c"), node("Add", "x c", "y")],
        {"a": np.ones((10**5, 1)), "b": np.ones((1, 10**5))},
        {},
        "would make 10000000000 more numbers",
    ),
    "not_foldable": (
        [node("RandomNormal", "", "c", shape=[4]), node("Add", "x c", "y")],
        {},
        {},
        "RandomNormal is not",
    ),
    "unfit_constants": (
        [node("Concat", "a b", "c", axis=0), node("Add", "x c", "y")],
        {"a": np.ones(2), "b": np.ones((2, 2))},
        {},
        "it cannot be evaluated",
    ),
    "old_axis": (
        [node("Add", "x c", "y", broadcast=1, axis=2)],
        {"c": np.ones(4)},
        {"opset": 6},
        "axis 2 does not fit shapes",
    ),
    "too_new_opset": (
        [node("Relu", "x", "y")],
        {},
        {"opset": 999},
        "operator set 999, but the installed onnx knows",
    ),
    "open_shape": (
        [node("Relu", "x", "y")],
        {},
        {"shape": ("N", "D")},
        r"shape \[\?, \?\] is open beyond the batch",
    ),
    "only_a_batch_axis": ([node("Relu", "x", "y")], {}, {"shape": ("N",)}, "has no axis beside the batch axis"),
    "scalar_input": ([node("Relu", "x", "y")], {}, {"shape": ()}, "declares no shape"),
    "no_shape": ([node("Relu", "x", "y")], {}, {"shape": None}, "declares no shape"),
    "huge_input": ([node("Relu", "x", "y")], {}, {"shape": (1, 10**12)}, "has more than 4194304 values"),
    "integer_input": (
        [node("Cast", "x", "y", to=1)],
        {},
        {"dtype": TensorProto.INT64},
        "has type INT64",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_refused_with_a_reason(case: str, tmp_path: Path) -> None:
    nodes, constants, options, message = CASES[case]
    path = save(model(nodes, constants, **options), tmp_path)
    with pytest.raises(ModelError, match=message):
        load_onnx(path)


def test_control_flow(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])],
        "b",
        [],
        [helper.make_tensor_value_info("z", TensorProto.DOUBLE, None)],
    )
    conditional = node("If", "c", "y", then_branch=branch, else_branch=branch)
    with pytest.raises(ModelError, match="operator If is not supported"):
        load_onnx(save(model([conditional], {"c": np.array(True)}), tmp_path))


def test_no_input(tmp_path: Path) -> None:
    proto = model([node("Relu", "c", "y")], {"c": np.ones(3)})
    del proto.graph.input[:]
    with pytest.raises(ModelError, match="the model has no inputs; there is nothing to verify"):
        load_onnx(save(proto, tmp_path))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, (1, 4))),
            "is a sequence_type; only tensors",
        ),
        (
            helper.make_optional_type_proto(helper.make_tensor_type_proto(1, (1, 4))),
            "is a optional_type; only tensors",
        ),
        (onnx.TypeProto(), "is a value without a type; only tensors"),
    ],
)
def test_inputs_that_are_no_tensors(kind: onnx.TypeProto, message: str, tmp_path: Path) -> None:
    proto = model([node("Relu", "x", "y")])
    proto.graph.input[0].type.CopyFrom(kind)
    with pytest.raises(ModelError, match=message):
        load_onnx(save(proto, tmp_path))


def test_sparse_initialisers(tmp_path: Path) -> None:
    proto = model([node("Add", "x c", "y")])
    values, indices = numpy_helper.from_array(np.ones(1), "c"), numpy_helper.from_array(np.zeros(1, I64))
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    with pytest.raises(ModelError, match="sparse initialisers, which are not supported"):
        load_onnx(save(proto, tmp_path))


def test_second_output_of_a_node(tmp_path: Path) -> None:
    proto = model([helper.make_node("Dropout", ["x"], ["h", "mask"]), node("Not", "mask", "y")])
    with pytest.raises(ModelError, match="reads 'mask', which no supported node"):
        load_onnx(save(proto, tmp_path))


def test_constant_of_text(tmp_path: Path) -> None:
    constant = helper.make_node("Constant", [], ["c"], value_string="abc", name="text")
    with pytest.raises(ModelError, match=r"'text' .*a constant given as value_string is not supported"):
        load_onnx(save(model([constant, node("Add", "x c", "y")]), tmp_path))
