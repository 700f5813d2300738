"""ONNX's comparisons, and Where: a choice between values by a condition, constant or not, or torch's Softplus written out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import numpy as np

from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.exactness import sum_with_error
from distverify.network.linear.operator import Array
from distverify.network.linear.sparse import selection
from distverify.network.nodes import ActivationNode, Term
from distverify.network.onnx.gates import multiplied
from distverify.network.onnx.operation import Comparison, Handler, Operation, Signal, Value, places
from distverify.network.onnx.polynomials import Polynomial, bases, polynomial
from distverify.network.onnx.products import product
from distverify.network.onnx.scalings import Factor, multiples, scalings

# Where softplus(z) and z differ by less than half a unit in the last place of float32: beyond it they are one number there.
_LEAST_THRESHOLD = 17.0


def _compare(op: Operation, sign: float, *, negated: bool) -> Comparison:
    """sign (a - b) > 0, or the opposite."""
    a, b = op.inputs
    assert a is not None
    assert b is not None
    if isinstance(a, Signal) and not isinstance(b, Signal) and b.size == 1:
        limit = float(op.numbers(b).reshape(()))
        return Comparison(a if sign > 0.0 else op.linear(a.shape, [op.scaled(a, -1.0)]), sign * limit, negated)
    shape = op.common_shape(a, b)
    terms, bias = [], np.zeros(math.prod(shape))
    for value, own in ((a, sign), (b, -sign)):
        if isinstance(value, Signal):
            terms.append(op.scaled(op.expanded(value, shape), own))
        else:
            bias = own * op.spread(value, shape)
    return Comparison(op.linear(shape, terms, bias), 0.0, negated)


def _not(op: Operation) -> Comparison:
    if op.comparison is None:
        op.error("negates values that are no comparison")
    return replace(op.comparison, negated=not op.comparison.negated)


def _equal(op: Operation) -> Comparison:
    """Where neither of two values is greater."""
    none = [indicator(op, _compare(op, sign, negated=True)) for sign in (1.0, -1.0)]
    return _at_least(op, none, 2)


def _both(op: Operation, count: int) -> Comparison:
    """Where at least ``count`` of two conditions hold."""
    parts: list[Signal] = []
    for i, comparison in enumerate(op.comparisons):
        if comparison is not None:
            parts.append(indicator(op, comparison))
        elif op.constant(i).dtype.kind != "b":
            op.error(f"input {i} is of type {op.constant(i).dtype}; it must be true or false")
    shape = op.common_shape(*parts, *(v for v in op.inputs if v is not None))
    known = sum((op.spread(v, shape) for v in op.inputs if v is not None and not isinstance(v, Signal)), np.zeros(1))
    return _at_least(op, [op.expanded(p, shape) for p in parts], count, known)


def _one(op: Operation) -> Comparison:
    """Where one of two conditions holds, and the other does not."""
    either = _both(op, 1)
    return _at_least(op, [indicator(op, either), indicator(op, Comparison(either.signal, 1.5, negated=True))], 2)


def _at_least(op: Operation, indicators: list[Signal], count: int, known: Array | None = None) -> Comparison:
    """Where so many values that are 0 or 1 are 1; ``known`` counts already."""
    shape = indicators[0].shape
    bias = None if known is None else np.broadcast_to(known, (math.prod(shape),))
    total = op.linear(shape, [op.builder.skip(s.node) for s in indicators], bias)
    return Comparison(total, count - 0.5)


def indicator(op: Operation, comparison: Comparison) -> Signal:
    """1 where the comparison holds, else 0."""
    x = comparison.signal
    moved = op.linear(x.shape, [op.builder.skip(x.node)], np.full(x.size, -comparison.limit))
    step = Signal(op.builder.activation(op.name, moved.node, "heaviside"), x.shape)
    return op.linear(x.shape, [op.scaled(step, -1.0)], np.ones(x.size)) if comparison.negated else step


def _where(op: Operation) -> Signal:
    if op.comparison is not None:
        return _softplus(op, op.comparison) or _chosen(op, op.comparison)
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


def _chosen(op: Operation, condition: Comparison) -> Signal:
    """One value where the condition holds, the other elsewhere: b + (a - b) step."""
    a, b = op.inputs[1:]
    assert a is not None
    assert b is not None
    if condition.negated:
        a, b = b, a
    x = condition.signal
    shape = op.common_shape(x, a, b)
    x = op.expanded(x, shape)
    (a, scale), (b, shift) = (_as_signal(op, v, shape, x) for v in (a, b))
    straight = _continuous(op, x, condition.limit, a, b)
    if straight is not None:
        return straight
    step = indicator(op, Comparison(x, condition.limit))
    if scale is not None and shift is not None:
        difference, lost = sum_with_error(scale, -shift)
        roundings = 1 if lost.any() else 0
        return op.linear(shape, [Term(step.node, Diagonal(difference, roundings=roundings))], shift)
    gap = op.linear(shape, [op.builder.skip(a.node), op.scaled(b, -1.0)])
    return op.linear(shape, [op.builder.skip(b.node), op.builder.skip(product(op, gap, step).node)])


def _as_signal(op: Operation, value: Value, shape: tuple[int, ...], like: Signal) -> tuple[Signal, Array | None]:
    """``value`` repeated to ``shape`` as a signal, and its numbers where it is constant."""
    if isinstance(value, Signal):
        return op.expanded(value, shape), None
    if op.roundings(value):
        op.error("chooses a constant that had to be rounded; run a constant-folding tool on the model")
    numbers = op.spread(value, shape)
    nothing = Term(like.node, Diagonal(np.zeros(like.size)))
    return op.linear(shape, [nothing], numbers), numbers


def _continuous(op: Operation, x: Signal, limit: float, a: Signal, b: Signal) -> Signal | None:
    """b + k relu(x - limit), where a - b is k (x - limit); None where it is not."""
    for v in bases(op.builder, x.node):
        lines = [polynomial(op.builder, s.node, v) for s in (x, a, b)]
        if any(p is None or not set(p) <= {0, 1} or any(f.roundings for f in p.values()) for p in lines):
            continue
        (c1, c0), (a1, a0), (b1, b0) = ([_coefficient(p, n) for n in (1, 0)] for p in lines)
        rise, start = a1 - b1, a0 - b0
        if c1 != 0 and rise * (c0 - Fraction(limit)) == start * c1:
            moved = op.linear(x.shape, [op.builder.skip(x.node)], np.full(x.size, -limit))
            positive = Signal(op.builder.activation(op.name, moved.node, "relu"), x.shape)
            return op.linear(
                x.shape, [op.builder.skip(b.node), op.builder.skip(multiplied(op, positive, Factor(rise / c1)).node)]
            )
    return None


def _coefficient(terms: Polynomial | None, n: int) -> Fraction:
    return terms[n].value if terms is not None and n in terms else Fraction(0)


def _softplus(op: Operation, condition: Comparison) -> Signal | None:
    """Where(z > t, x, softplus(z) / beta) with z = beta x, as torch writes Softplus.

    Read as softplus(z) / beta, which is off by a relative exp(-t) at most, in value and slope: that much counts as roundings.
    """
    straight, curved = op.input(1), op.input(2)
    if condition.negated:
        straight, curved = curved, straight
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
    return None


WHERE_OPERATORS: Mapping[str, Handler] = {
    "And": lambda op: _both(op, 2),
    "Equal": _equal,
    "Greater": lambda op: _compare(op, 1.0, negated=False),
    "GreaterOrEqual": lambda op: _compare(op, -1.0, negated=True),
    "Less": lambda op: _compare(op, -1.0, negated=False),
    "LessOrEqual": lambda op: _compare(op, 1.0, negated=True),
    "Not": _not,
    "Or": lambda op: _both(op, 1),
    "Where": _where,
    "Xor": _one,
}
