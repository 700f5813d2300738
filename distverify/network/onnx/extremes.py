"""ONNX operators that are piecewise linear: absolute values, limits, and the largest or smallest of several values.

max(a, b) = a + relu(b - a) is exact, so every bound and derivative rule of linear and ReLU nodes holds as it is; a tie is a
ReLU at its kink, whose Clarke interval [0, 1] contains every derivative of the maximum there.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from distverify.network.linear.operator import Array
from distverify.network.onnx.file import Constant
from distverify.network.onnx.indexing import reduction
from distverify.network.onnx.operation import Handler, Operation, Signal


def _abs(op: Operation) -> Signal:
    return op.activation("leaky_relu", {"slope": -1.0})


def limited(op: Operation, x: Signal, limits: Array, sign: float) -> Signal:
    """The larger (``sign`` 1) or smaller (-1) of ``x`` and ``limits`` float64 [size]: limits + sign relu(sign (x - limits))."""
    difference = op.linear(x.shape, [op.scaled(x, sign)], -sign * limits)
    rise = Signal(op.builder.activation(op.name, difference.node, "relu"), x.shape)
    return op.linear(x.shape, [op.scaled(rise, sign)], limits)


def _extreme(op: Operation, sign: float) -> Signal:
    """Max (``sign`` 1) or Min (-1) of any mixture of constants and values that depend on the input."""
    values = [v for v in op.inputs if v is not None]
    shape = op.common_shape(*values)
    signals = [op.expanded(v, shape) for v in values if isinstance(v, Signal)]
    result = signals[0]
    for other in signals[1:]:
        result = _of_two(op, result, other, sign)
    constants = [op.spread(v, shape) for v in values if not isinstance(v, Signal)]
    if not constants:
        return result
    limits = (np.maximum if sign > 0.0 else np.minimum).reduce(constants)
    if np.isnan(limits).any():
        op.error("compares with a constant that is NaN; the model is damaged")
    if (limits == -sign * np.inf).all():
        return result
    if np.isinf(limits).any():
        op.error("compares with infinite constants; leave those out")
    return limited(op, result, limits, sign)


def _of_two(op: Operation, a: Signal, b: Signal, sign: float) -> Signal:
    """a + sign relu(sign (b - a)), of one shape."""
    difference = op.linear(a.shape, [op.scaled(b, sign), op.scaled(a, -sign)])
    rise = Signal(op.builder.activation(op.name, difference.node, "relu"), a.shape)
    return op.linear(a.shape, [op.builder.skip(a.node), op.scaled(rise, sign)])


def _reduced(op: Operation, sign: float) -> Signal:
    """The largest (``sign`` 1) or smallest (-1) value along axes, by a tree of pairs."""
    x, found = op.signal(), reduction(op, 18)
    if found is None:
        return x
    table, shape = found
    left = [op.taken(x, column.reshape(shape)) for column in table.T]
    while len(left) > 1:
        pairs = [_of_two(op, a, b, sign) for a, b in zip(left[::2], left[1::2], strict=False)]
        left = pairs + left[len(left) - len(left) % 2 :]
    return left[0]


def _clip(op: Operation) -> Signal:
    if op.opset < 11:
        lo, hi = float(op.attributes["min"]), float(op.attributes["max"])
    else:
        lo, hi = (_limit(op, op.input(i), missing) for i, missing in ((1, -np.inf), (2, np.inf)))
    if not (lo <= hi and lo < np.inf and hi > -np.inf):
        op.error(f"clips to {lo} .. {hi}; the lower end must not exceed the upper one")
    x = op.signal()
    if np.isinf(lo) and np.isinf(hi):
        return x
    if lo == 0.0 and np.isinf(hi):
        return op.activation("relu", {})
    if np.isinf(lo) or np.isinf(hi):
        return limited(op, x, np.full(x.size, hi if np.isinf(lo) else lo), -1.0 if np.isinf(lo) else 1.0)
    return op.activation("clip", {"lo": lo, "hi": hi})


def _limit(op: Operation, value: Signal | Constant | None, missing: float) -> float:
    if value is None:
        return missing
    if isinstance(value, Signal) or value.size != 1:
        op.error(f"a limit of shape {value.shape} is not supported; give one constant number")
    return float(op.numbers(value).reshape(()))


EXTREME_OPERATORS: Mapping[str, Handler] = {
    "Abs": _abs,
    "Clip": _clip,
    "Max": lambda op: _extreme(op, 1.0),
    "Min": lambda op: _extreme(op, -1.0),
    "ReduceMax": lambda op: _reduced(op, 1.0),
    "ReduceMin": lambda op: _reduced(op, -1.0),
}
