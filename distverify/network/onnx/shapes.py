"""ONNX operators that show the same values in another shape or type.

Values are kept flattened in C order, so none of these adds a node.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx

from distverify.network.onnx.file import FLOAT_TYPES
from distverify.network.onnx.operation import Handler, Operation, Signal
from distverify.network.onnx.where import indicator


def _reshaped(op: Operation, shape: tuple[int, ...]) -> Signal:
    x = op.signal()
    if math.prod(shape) != x.size:
        op.error(
            f"cannot bring values of shape {x.shape} (for a batch of one) to shape {shape}; "
            "export the model for a batch of one, or of any size"
        )
    return Signal(x.node, shape)


def _same(op: Operation) -> Signal:
    return op.signal()


def _flatten(op: Operation) -> Signal:
    shape, axis = op.signal().shape, int(op.attributes["axis"])
    if not -len(shape) <= axis <= len(shape):
        op.error(f"axis {axis} does not exist in shape {shape}")
    axis += len(shape) if axis < 0 else 0
    return _reshaped(op, (math.prod(shape[:axis]), math.prod(shape[axis:])))


def _reshape(op: Operation) -> Signal:
    x = op.signal()
    given = tuple(op.attributes["shape"]) if op.opset < 5 else op.integers(1)
    keep_zero = bool(op.attributes.get("allowzero", 0))
    if any(d < -1 for d in given) or given.count(-1) > 1 or 0 in given[len(x.shape) :]:
        op.error(f"shape {given} makes no sense for values of shape {x.shape}")
    shape = tuple(x.shape[i] if d == 0 and not keep_zero else d for i, d in enumerate(given))
    rest = math.prod(d for d in shape if d != -1)
    if -1 in shape and rest:
        shape = tuple(x.size // rest if d == -1 else d for d in shape)
    return _reshaped(op, shape)


def _axes(op: Operation, rank: int) -> list[int] | None:
    """The axes of Squeeze and Unsqueeze: an attribute before operator set 13, an input since then."""
    if op.opset < 13:
        given = op.attributes.get("axes")
    else:
        given = None if op.input(1) is None else op.integers(1)
    if given is None:
        return None
    if any(not -rank <= a < rank for a in given) or len({a % rank for a in given}) != len(given):
        op.error(f"axes {tuple(given)} make no sense for {rank} axes")
    return [a % rank for a in given]


def _squeeze(op: Operation) -> Signal:
    shape = op.signal().shape
    axes = _axes(op, len(shape))
    if axes is None:
        axes = [i for i, d in enumerate(shape) if d == 1]
    if any(shape[a] != 1 for a in axes):
        op.error(f"cannot remove axes {axes} of shape {shape}; only axes of length one can go")
    return _reshaped(op, tuple(d for i, d in enumerate(shape) if i not in axes))


def _unsqueeze(op: Operation) -> Signal:
    shape = list(op.signal().shape)
    count = len(op.attributes["axes"]) if op.opset < 13 else op.constant(1).size
    for axis in sorted(_axes(op, len(shape) + count) or []):
        shape.insert(axis, 1)
    return _reshaped(op, tuple(shape))


def _dropout(op: Operation) -> Signal:
    training = op.input(2)
    if op.opset < 7 and not op.attributes["is_test"]:
        op.error("is in training mode (is_test = 0); export the model in evaluation mode")
    if isinstance(training, Signal) or (training is not None and training.any()):
        op.error("is in training mode; export the model in evaluation mode")
    return op.signal()


def _cast(op: Operation) -> Signal:
    target = op.attributes["to"]
    number = onnx.TensorProto.DataType.Value(target.decode()) if isinstance(target, bytes) else target
    if number not in FLOAT_TYPES:
        op.error("only casts to a floating-point type are supported")
    return op.signal() if op.comparison is None else indicator(op, op.comparison)


SHAPE_OPERATORS: Mapping[str, Handler] = {
    "Cast": _cast,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Identity": _same,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
}
