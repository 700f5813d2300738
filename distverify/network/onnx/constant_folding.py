"""Parts of an ONNX graph that depend on no input: shape arithmetic, transposed or rescaled weights.

A node is evaluated by ONNX's own reference implementation, after an upper bound on the size of its result was
computed from its operands: a file of a few bytes must not fill the memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from distverify.errors import ModelError
from distverify.network.onnx.budget import Budget
from distverify.network.onnx.constant_rounding import ROUNDED_OPERATORS, constant_roundings
from distverify.network.onnx.file import Constant

_Bound = Callable[[Sequence[Constant], Mapping[str, Any]], int]


def _total(operands: Sequence[Constant], attributes: Mapping[str, Any]) -> int:
    return sum(o.size for o in operands)


def _broadcast(operands: Sequence[Constant], attributes: Mapping[str, Any]) -> int:
    return int(np.prod(np.broadcast_shapes(*(o.shape for o in operands)), dtype=object))


def _gather(operands: Sequence[Constant], attributes: Mapping[str, Any]) -> int:
    data, indices = operands
    axis = int(attributes.get("axis", 0))
    return int(data.size // max(1, data.shape[axis]) * indices.size)


def _matmul(operands: Sequence[Constant], attributes: Mapping[str, Any]) -> int:
    a, b = operands[:2]
    inner = max(1, int(a.shape[0 if attributes.get("transA", 0) else -1]))
    return (a.size // inner) * (b.size // inner)


def _expand(operands: Sequence[Constant], attributes: Mapping[str, Any]) -> int:
    return operands[0].size * math.prod(max(1, int(d)) for d in operands[1].reshape(-1))


def _range(operands: Sequence[Constant], attributes: Mapping[str, Any]) -> int:
    start, limit, delta = (float(o.reshape(())) for o in operands)
    return max(0, math.ceil((limit - start) / delta))


# fmt: off
_ELEMENTWISE = (
    "Abs", "Add", "And", "Atan", "Cast", "Ceil", "Clip", "Cos", "Div", "Elu", "Equal", "Erf", "Exp", "Floor",
    "Greater", "GreaterOrEqual", "HardSigmoid", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean",
    "Min", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid",
    "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Tan", "Tanh", "Where",
)
_NEVER_LARGER = (
    "Concat", "Flatten", "Identity", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "Reshape", "Shape", "Size", "Slice", "Squeeze", "Transpose", "Unsqueeze",
)
# fmt: on
_BOUNDS: Mapping[str, _Bound] = {
    **dict.fromkeys(_ELEMENTWISE, _broadcast),
    **dict.fromkeys(_NEVER_LARGER, _total),
    "Expand": _expand,
    "Gather": _gather,
    "Gemm": _matmul,
    "MatMul": _matmul,
    "Range": _range,
}
FOLDED_OPERATORS = frozenset(_BOUNDS)


@dataclass
class ConstantFolder:
    """Evaluates nodes whose operands are all constant.

    Attributes
    ----------
    opset : int
        Version of the default operator set.
    budget : Budget
        What the model may still make.
    """

    opset: int
    budget: Budget

    def fold(
        self,
        node: onnx.NodeProto,
        operands: Sequence[Constant | None],
        attributes: Mapping[str, Any],
        inexact: Sequence[int],
        what: str,
    ) -> tuple[Constant, int]:
        """The first output of ``node``, and by how many roundings it is off.

        Arithmetic of floating-point numbers is done in float64, whatever their type: it is the numbers in the file that count.

        Parameters
        ----------
        operands : arrays; None is an optional input that is left out
        inexact : how many roundings each operand is off by

        Raises
        ------
        ModelError
            An operator that is not folded, a result that would be too large, operands that do not fit, a result that
            rounding leaves little of.
        """
        bound = _BOUNDS.get(node.op_type)
        # A tensor attribute could point at any file, and nothing but Constant (read elsewhere) needs one.
        if bound is None or any(isinstance(a, onnx.TensorProto) for a in attributes.values()):
            raise ModelError(
                f"{what}: it depends on no input, and such an operator cannot be evaluated in advance; "
                "run a constant-folding tool on the model"
            )
        real = [o for o in operands if o is not None]
        arithmetic = any(o.dtype.kind == "f" or o.dtype.name == "bfloat16" for o in real)
        if arithmetic and node.op_type in ROUNDED_OPERATORS:
            operands = [
                None if o is None else o.astype(np.float64) if o.dtype.kind not in "iub" else o for o in operands
            ]
        try:
            self.budget.spend(bound(real, attributes), what)
            with np.errstate(all="ignore"):
                result = np.asarray(self._evaluate(node, operands))
                if not arithmetic or result.dtype.kind in "iub":
                    return result, 0
                numbers = [
                    np.asarray(o, dtype=np.float64) for o in operands if o is not None and o.dtype.kind not in "iub"
                ]
                roundings = constant_roundings(node.op_type, numbers, result, inexact)
        except ModelError:
            raise
        # The reference implementation raises whatever its NumPy code raises on operands that do not fit.
        except Exception as error:
            raise ModelError(f"{what}: it cannot be evaluated ({error}); check the model") from None
        if roundings is None:
            raise ModelError(
                f"{what}: it depends on no input, and rounding would make another constant of it; "
                "run a constant-folding tool on the model"
            )
        return result, roundings

    def fill(self, shape: Constant, value: Constant, what: str) -> Constant:
        """ConstantOfShape: an array of ``shape`` whose every entry is the single ``value``."""
        dims = tuple(int(d) for d in shape.reshape(-1))
        if any(d < 0 for d in dims) or value.size != 1:
            raise ModelError(f"{what}: got shape {dims} and {value.size} values; the model is damaged")
        self.budget.spend(math.prod(dims), what)
        return np.full(dims, value.reshape(()))

    def _evaluate(self, node: onnx.NodeProto, operands: Sequence[Constant | None]) -> Constant:
        feeds = {name: o for name, o in zip(node.input, operands, strict=True) if o is not None}
        type_of = onnx.helper.np_dtype_to_tensor_dtype
        inputs = [onnx.helper.make_tensor_value_info(k, type_of(v.dtype), v.shape) for k, v in feeds.items()]
        output = onnx.ValueInfoProto(name=node.output[0])
        graph = onnx.helper.make_graph([node], "constant", inputs, [output])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", self.opset)])
        from onnx.reference import ReferenceEvaluator

        result: Constant = ReferenceEvaluator(model).run(None, feeds)[0]
        return result
