"""ONNX models built in tests, and the outputs that ONNX's own reference gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


def node(operator: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    """A node whose ``inputs`` are separated by spaces; "-" is an optional one that is left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(operator, names, [output], name=f"{operator}_{output}", **attributes)


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, NDArray[Any]] | None = None,
    *,
    shape: Sequence[int | str | None] = (1, 4),
    opset: int = 17,
    dtype: int = TensorProto.DOUBLE,
    output: str = "y",
    output_shape: Sequence[int | str | None] | None = None,
) -> onnx.ModelProto:
    """A model from input "x" to ``output``; ``constants`` become initialisers."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info(output, dtype, output_shape)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def save(proto: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(proto.SerializeToString())
    return path


def reference(proto: onnx.ModelProto, x: NDArray[Any]) -> NDArray[Any]:
    """The model's output at one input tensor, flattened."""
    name = next(i.name for i in proto.graph.input if i.name not in {t.name for t in proto.graph.initializer})
    return np.asarray(ReferenceEvaluator(proto).run(None, {name: x})[0]).reshape(-1)
