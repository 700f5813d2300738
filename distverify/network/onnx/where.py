"""ONNX's Where: a choice between values by a constant condition, or torch's Softplus written out."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.sparse import selection
from distverify.network.nodes import ActivationNode, Term
from distverify.network.onnx.operation import Comparison, Handler, Operation, Signal, places
from distverify.network.onnx.scalings import multiples, scalings

# Where softplus(z) and z differ by less than half a unit in the last place of float32: beyond it they are one number there.
_LEAST_THRESHOLD = 17.0


def _greater(op: Operation) -> Comparison:
    limit = op.constant(1)
    if limit.size != 1:
        op.error("compares values that depend on the input with several numbers, which is not supported")
    return Comparison(op.signal(), float(op.numbers(limit).reshape(())))


def _where(op: Operation) -> Signal:
    if op.comparison is not None:
        return _softplus(op, op.comparison)
    condition, values = op.constant(0), [v for v in op.inputs[1:] if v is not None]
    if condition.dtype.kind != "b":
        op.error(f"its condition is of type {condition.dtype}; it must be true or false")
    shape = op.common_shape(condition, *values)
    bias, terms = np.zeros(math.prod(shape)), []
    chosen = np.broadcast_to(condition, shape).reshape(-1)
    for value, mine in zip(values, (chosen, ~chosen), strict=True):
        if isinstance(value, Signal):
            indices = np.broadcast_to(places(value), shape).reshape(-1)
            terms.append(Term(value.node, selection(np.where(mine, indices, -1), value.size)))
        else:
            bias[mine] = op.spread(value, shape)[mine]
    return op.linear(shape, terms, bias)


def _softplus(op: Operation, condition: Comparison) -> Signal:
    """Where(z > t, x, softplus(z) / beta) with z = beta x, as torch writes Softplus.

    Read as softplus(z) / beta, which is off by a relative exp(-t) at most, in value and slope: that much counts as roundings.
    """
    straight, curved = op.input(1), op.input(2)
    if isinstance(straight, Signal) and isinstance(curved, Signal) and straight.shape == curved.shape:
        line, argument = multiples(op.builder, straight.node), multiples(op.builder, condition.signal.node)
        for read, scale, offset in scalings(op.builder, curved.node):
            node = op.builder.nodes[read]
            if not isinstance(node, ActivationNode) or node.kind != "softplus" or offset != 0:
                continue
            if node.source not in argument or argument[node.source].value != 1:
                continue
            # The line must be the softplus's asymptote: x = scale z, up to the rounding of 1 / beta.
            ratios = [float(line[v].value / (scale.value * argument[v].value)) for v in line.keys() & argument.keys()]
            if condition.limit >= _LEAST_THRESHOLD and any(abs(r - 1.0) < 2.0**-50 for r in ratios):
                lost = math.ceil(math.exp(-condition.limit) * 2.0**53) + 8
                return op.linear(curved.shape, [Term(curved.node, Diagonal(np.ones(curved.size), roundings=lost))])
    raise op.error("chooses by a condition that depends on the input, which is supported only as torch writes Softplus")


WHERE_OPERATORS: Mapping[str, Handler] = {"Greater": _greater, "Where": _where}
