"""Small models with the interfaces that the VNN-LIB standard's chapters speak of, each given by its operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shapes = Mapping[str, Sequence[int]]
_KINDS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "float16": TensorProto.FLOAT16,
          "bfloat16": TensorProto.BFLOAT16, "int32": TensorProto.INT32, "int64": TensorProto.INT64, "bool": TensorProto.BOOL}  # fmt: skip


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Shapes,
    outputs: Shapes,
    held: Mapping[str, np.ndarray] | None = None,
    elements: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """A model of operator set 13; what has no element type is float32."""

    def ports(shapes: Shapes) -> list[onnx.ValueInfoProto]:
        kinds = {name: _KINDS[(elements or {}).get(name, "float32")] for name in shapes}
        return [helper.make_tensor_value_info(name, kinds[name], list(shape)) for name, shape in shapes.items()]

    tensors = [numpy_helper.from_array(np.asarray(v), name) for name, v in (held or {}).items()]
    graph = helper.make_graph(list(nodes), "small", ports(inputs), ports(outputs), tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def _f(*rows: Sequence[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def _pair(scale: float, element: str = "float32") -> onnx.ModelProto:
    """y = scale (h0 + h1, h0 - h1) for h0 = relu(x0 + x1), h1 = relu(x0 - x1)."""
    kind = {"float64": np.float64, "float16": np.float16}.get(element, np.float32)
    held = {"W": _f([1, 1], [1, -1]).astype(kind), "V": (scale * _f([1, 1], [1, -1])).astype(kind)}
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["z"], name="first"),
        helper.make_node("Relu", ["z"], ["h"], name="hidden"),
        helper.make_node("MatMul", ["h", "V"], ["y"], name="last"),
    ]
    return model(nodes, {"x": [1, 2]}, {"y": [1, 2]}, held, {"x": element, "y": element})


def _scalar() -> onnx.ModelProto:
    """y = relu(2 x - 1), without axes."""
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["d"]),
        helper.make_node("Sub", ["d", "one"], ["z"]),
        helper.make_node("Relu", ["z"], ["y"]),
    ]
    return model(nodes, {"x": []}, {"y": []}, {"two": np.array(2, np.float32), "one": np.array(1, np.float32)})


def _volume() -> onnx.ModelProto:
    """Sums over the last axis of [1, 2, 1, 3], times the place among them."""
    held = {"W": np.array([[1], [2], [3]], dtype=np.float32)}
    return model([helper.make_node("MatMul", ["x", "W"], ["y"])], {"x": [1, 2, 1, 3]}, {"y": [1, 2, 1, 1]}, held)


def _several() -> onnx.ModelProto:
    """box = image * 2 (four values); logits = relu(sums of image and meta)."""
    held = {"two": np.array(2, np.float32), "S": np.ones((4, 2), dtype=np.float32)}
    nodes = [
        helper.make_node("Mul", ["image", "two"], ["box"]),
        helper.make_node("MatMul", ["image", "S"], ["s"]),
        helper.make_node("Add", ["s", "meta"], ["t"]),
        helper.make_node("Relu", ["t"], ["logits"]),
    ]
    return model(nodes, {"image": [1, 4], "meta": [1, 2]}, {"box": [1, 4], "logits": [1, 2]}, held)


def _mixed() -> onnx.ModelProto:
    """A float32 and an int32 input."""
    nodes = [helper.make_node("Cast", ["b"], ["c"], to=TensorProto.FLOAT), helper.make_node("Add", ["a", "c"], ["y"])]
    return model(nodes, {"a": [1], "b": [1]}, {"y": [1]}, elements={"b": "int32"})


def _same(element: str) -> onnx.ModelProto:
    return model(
        [helper.make_node("Identity", ["x"], ["y"])],
        {"x": [1, 2]},
        {"y": [1, 2]},
        elements=dict.fromkeys("xy", element),
    )


MODELS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "pair": lambda: _pair(1.0),
    "half": lambda: _pair(0.5),
    "double": lambda: _pair(1.0, "float64"),
    "short": lambda: _pair(1.0, "float16"),
    "curve": lambda: model([helper.make_node("Sigmoid", ["x"], ["y"])], {"x": [1, 2]}, {"y": [1, 2]}),
    "same": lambda: _same("float32"),
    "scalar": _scalar,
    "volume": _volume,
    "several": _several,
    "mixed": _mixed,
    "whole": lambda: _same("int64"),
    "truth": lambda: _same("bool"),
    "brain": lambda: _same("bfloat16"),
}


def write(name: str, folder: Path) -> Path:
    """The file of a model, written once."""
    path = folder / f"{name}.onnx"
    if not path.exists():
        onnx.save(MODELS[name](), path)
    return path
