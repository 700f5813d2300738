"""Damage to ONNX models: bytes, attributes, shapes, types and operators that no longer fit together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from tests.network.random_models import RandomModel

_OPERATORS = (
    "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "ConvTranspose", "Div", "Expand", "Flatten", "Gather",
    "Gemm", "MatMul", "Max", "MaxPool", "Mul", "PRelu", "Pad", "ReduceMean", "ReduceSum", "Reshape", "Slice", "Softmax", "Split",
    "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where",
)  # fmt: skip
_ATTRIBUTES = ("axis", "strides", "pads", "dilations", "kernel_shape", "group", "output_padding", "output_shape", "perm",
               "keepdims", "alpha", "auto_pad", "epsilon", "to", "axes", "ceil_mode", "shape", "value")  # fmt: skip
_NUMBERS = (-(2**63), -7, -2, -1, 0, 1, 2, 3, 5, 1000, 2**31, 2**62)


def mutated(seed: int) -> bytes:
    """The bytes of a damaged model."""
    rng = np.random.default_rng(seed)
    model = RandomModel(rng, operators=int(rng.integers(1, 6))).model
    for _ in range(rng.integers(1, 4)):
        _MUTATIONS[rng.integers(len(_MUTATIONS))](model, rng)
    content = bytearray(model.SerializeToString())
    if rng.random() < 0.2:
        for place in rng.integers(0, len(content), 3):
            content[place] = rng.integers(256)
    return bytes(content)


def _one(items: Sequence[object], rng: np.random.Generator) -> object:
    return items[int(rng.integers(len(items)))]


def _node(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.NodeProto:
    return model.graph.node[rng.integers(len(model.graph.node))]


def _set_attribute(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    node, name = _node(model, rng), str(_one(_ATTRIBUTES, rng))
    kept = [a for a in node.attribute if a.name != name]
    numbers = [int(_one(_NUMBERS, rng)) for _ in range(rng.integers(0, 5))]  # type: ignore[call-overload]
    value = _one([numbers, numbers[0] if numbers else 1, 0.5, float("nan"), "SAME_UPPER", "odd"], rng)
    if value == []:
        made = AttributeProto(name=name, type=AttributeProto.INTS)
    else:
        made = helper.make_attribute(name, value)
    del node.attribute[:]
    node.attribute.extend([*kept, made])


def _set_operator(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    _node(model, rng).op_type = str(_one(_OPERATORS, rng))


def _swap_inputs(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    node = _node(model, rng)
    node.input[:] = list(node.input)[::-1]


def _drop_input(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    node = _node(model, rng)
    node.input[:] = list(node.input)[:-1]


def _read_another(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    names = [t.name for t in model.graph.initializer] + [n.output[0] for n in model.graph.node] + ["x", ""]
    node = _node(model, rng)
    if node.input:
        node.input[rng.integers(len(node.input))] = str(_one(names, rng))


def _set_constant(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    if model.graph.initializer:
        tensor = model.graph.initializer[rng.integers(len(model.graph.initializer))]
        shape = tuple(int(n) for n in rng.integers(0, 4, rng.integers(0, 4)))
        values = rng.choice([-1e300, -1.0, 0.0, 1.0, 2.0, 1e300, np.inf, np.nan], shape)
        with np.errstate(all="ignore"):
            array = np.asarray(values).astype(str(_one(["float32", "float64", "int64", "bool", "float16"], rng)))
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _set_dimensions(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    if model.graph.initializer:
        tensor = model.graph.initializer[rng.integers(len(model.graph.initializer))]
        tensor.dims[:] = [int(_one(_NUMBERS, rng)) for _ in range(rng.integers(0, 4))]  # type: ignore[call-overload]


def _set_input_shape(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    shape = [int(n) for n in rng.choice([0, 1, 2, 3, 7], rng.integers(0, 5))]
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, shape))


def _set_operator_set(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    model.opset_import[0].version = int(rng.choice([1, 5, 6, 7, 9, 11, 13, 21]))


_MUTATIONS: tuple[Callable[[onnx.ModelProto, np.random.Generator], None], ...] = (
    _set_attribute, _set_attribute, _set_operator, _swap_inputs, _drop_input, _read_another, _set_constant, _set_dimensions,
    _set_input_shape, _set_operator_set,
)  # fmt: skip
