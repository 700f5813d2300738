"""ONNX operators that are activations. To add one of the same form as ours: a row in ``_SAME_FORM``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from distverify.network.linear.diagonal import division
from distverify.network.nodes import Term
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
    "HardSwish": ("hard_swish", {}),
    "Mish": ("mish", {}),
    "Sin": ("sin", {}),
    "Erf": ("erf", {}),
    "Exp": ("exp", {}),
    "Log": ("log", {}),
    "Sqrt": ("positive_power", {}),
    "Sign": ("signum", {}),
    "Floor": ("floor", {}),
    "Round": ("nearest", {}),
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


def _celu(op: Operation) -> Signal:
    """alpha elu(x / alpha), with the plain ELU."""
    x, alpha = op.signal(), float(op.attributes["alpha"])
    scale = division(np.full(x.size, alpha))
    if alpha <= 0.0 or scale is None:
        op.error(f"alpha = {alpha} is not supported; it must be positive")
    inner = op.linear(x.shape, [Term(x.node, scale)])
    made = Signal(op.builder.activation(op.name, inner.node, "elu"), x.shape)
    return op.linear(x.shape, [op.scaled(made, alpha)])


def _ceil(op: Operation) -> Signal:
    """The negative of the floor of the negative."""
    x = op.signal()
    turned = op.linear(x.shape, [op.scaled(x, -1.0)])
    floor = Signal(op.builder.activation(op.name, turned.node, "floor"), x.shape)
    return op.linear(x.shape, [op.scaled(floor, -1.0)])


ACTIVATION_OPERATORS: Mapping[str, Handler] = {
    "Ceil": _ceil,
    "Celu": _celu,
    "Gelu": _gelu,
    "PRelu": _prelu,
    "Swish": _swish,
    **{operator: _table_activation(operator) for operator in _SAME_FORM},
}
