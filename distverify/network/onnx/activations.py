"""ONNX operators that are activations. To add one of the same form as ours: a row in ``_SAME_FORM``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from distverify.network.onnx.operation import Handler, Operation, Signal

# ONNX operator -> our activation, and our parameter -> ONNX attribute.
_SAME_FORM: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "Relu": ("relu", {}),
    "LeakyRelu": ("leaky_relu", {"slope": "alpha"}),
    "Sigmoid": ("sigmoid", {}),
    "Tanh": ("tanh", {}),
    "Atan": ("arctan", {}),
    "Elu": ("elu", {"alpha": "alpha"}),
    "Selu": ("selu", {"alpha": "alpha", "gamma": "gamma"}),
    "Softplus": ("softplus", {}),
    "Softsign": ("softsign", {}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": "alpha", "beta": "beta"}),
    "Sin": ("sin", {}),
    "Erf": ("erf", {}),
}


def _table_activation(operator: str) -> Handler:
    kind, names = _SAME_FORM[operator]

    def handler(op: Operation) -> Signal:
        return op.activation(kind, {ours: float(op.attributes[theirs]) for ours, theirs in names.items()})

    return handler


def _prelu(op: Operation) -> Signal:
    if op.opset < 7 and len(op.signal().shape) > 2 and op.constant(1).size > 1:
        op.error(f"slopes per channel need operator set 7 or later, not {op.opset}; convert the model")
    return op.activation("leaky_relu", {"slope": op.spread(op.constant(1), op.signal().shape)})


def _clip(op: Operation) -> Signal:
    limit = float(np.finfo(np.float32).max)
    if op.opset < 11:
        lo, hi = op.attributes["min"], op.attributes["max"]
    else:
        lo, hi = (
            bound if op.input(i) is None else op.spread(op.constant(i), (1,))[0]
            for i, bound in ((1, -limit), (2, limit))
        )
    if not lo <= hi:
        op.error(f"clips to {lo} .. {hi}; the lower end must not exceed the upper one")
    return op.activation("clip", {"lo": float(lo), "hi": float(hi)})


def _gelu(op: Operation) -> Signal:
    kinds = {b"none": "gelu", b"tanh": "gelu_tanh"}
    approximate = op.attributes["approximate"]
    if approximate not in kinds:
        op.error(f"approximate = {approximate!r} is not supported; use none or tanh")
    return op.activation(kinds[approximate], {})


def _swish(op: Operation) -> Signal:
    if op.attributes["alpha"] != 1.0:
        op.error(f"alpha = {op.attributes['alpha']} is not supported; only 1 is")
    return op.activation("silu", {})


ACTIVATION_OPERATORS: Mapping[str, Handler] = {
    "Clip": _clip,
    "Gelu": _gelu,
    "PRelu": _prelu,
    "Swish": _swish,
    **{operator: _table_activation(operator) for operator in _SAME_FORM},
}
