"""Activations that exporters write out as a product or a quotient of two values: SiLU, GELU, HardSwish, Mish, Softsign."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from distverify.network.linear.diagonal import Diagonal
from distverify.network.nodes import ActivationNode, Term
from distverify.network.onnx.operation import Operation, Signal
from distverify.network.onnx.scalings import Factor, Scaling, multiples, scalings


def gated_product(op: Operation, a: Signal, b: Signal) -> Signal:
    """x times a gate of x: x sigmoid(c x) and x (1 + erf(c x))."""
    for x, gate in ((a, b), (b, a)):
        for node, (_, scale, offset) in _activations(op, x, gate):
            # x = factor v and gate = scale s(inner v) + offset, of one and the same signal v
            inner = multiples(op.builder, node.source)
            factors = [(v, f) for v, f in multiples(op.builder, x.node).items() if v in inner and inner[v].positive]
            if not factors:
                continue
            v, factor = factors[0]
            outer = factor.times(scale).over(inner[v])
            if node.kind == "sigmoid" and offset == 0:
                return _scaled(op, Signal(v, x.shape), "silu", inner[v], outer)
            if node.kind == "erf" and not scale.roundings and offset == scale.value:
                # gelu(z) = z (1 + erf(z / sqrt 2)) / 2
                return _scaled(op, Signal(v, x.shape), "gelu", inner[v], outer, math.sqrt(2.0))
    raise op.error(
        "a product of two values that depend on the input is not supported, except x * Sigmoid(c x) and x * (1 + Erf(c x))"
    )


def gated_quotient(op: Operation, x: Signal, divisor: Signal) -> Signal:
    """x / (1 + |x|): with x = f v and divisor = s |v| + o, that is (f / s) softsign(s v / o)."""
    for node, (_, scale, offset) in _activations(op, x, divisor):
        if node.kind != "leaky_relu" or (node.parameters[0] != -1.0).any() or not scale.positive or offset <= 0:
            continue
        inner = multiples(op.builder, node.source)
        for v, factor in multiples(op.builder, x.node).items():
            if v in inner and inner[v].value != 0:
                steep = scale.times(Factor(abs(inner[v].value), inner[v].roundings))
                return _scaled(op, Signal(v, x.shape), "softsign", steep.over(Factor(offset)), factor.over(steep))
    raise op.error("division by a value that depends on the input is not supported, except x / (1 + |x|)")


def _activations(op: Operation, x: Signal, gate: Signal) -> Iterator[tuple[ActivationNode, Scaling]]:
    """The activations of the shape of ``x`` that ``gate`` is a scaling of."""
    for scaling in scalings(op.builder, gate.node) if x.shape == gate.shape else ():
        node = op.builder.nodes[scaling.source]
        if isinstance(node, ActivationNode):
            yield node, scaling


def _scaled(op: Operation, x: Signal, kind: str, inner: Factor, outer: Factor, root: float = 1.0) -> Signal:
    """``root outer s(root inner x)``; ``root``, where it is not 1, is rounded itself."""
    result = _multiplied(op, x, inner, root)
    result = Signal(op.builder.activation(op.name, result.node, kind), x.shape)
    return _multiplied(op, result, outer, root)


def _multiplied(op: Operation, x: Signal, factor: Factor, root: float) -> Signal:
    value, roundings = float(factor.value), factor.roundings
    roundings += 0 if Fraction(value) == factor.value else 1
    if root != 1.0:
        value, roundings = value * root, roundings + 2
    if value == 1.0 and not roundings:
        return x
    return op.linear(x.shape, [Term(x.node, Diagonal(np.full(x.size, value), roundings=roundings))])
