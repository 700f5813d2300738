"""ONNX operators that multiply or divide values that depend on the input, and powers.

Of one value everything is an activation: v^m v^n is the power m + n of v. Of two values

    x y = ((t x + y / t)^2 - (t x - y / t)^2) / 4

is exact for every t, so that two squares, with the lines, slopes and rounding that squares have, bound the product. Where x and y vary
alike (t is chosen for that, a power of two) that is as tight at the middle as McCormick's planes, and where they depend on each
other, as in d / |d|, the bounds of x + y and of x - y know it.
Source of the planes: McCormick, Mathematical Programming 10 (1976); of the identity: Babylonian tables of quarter squares.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.operator import Array
from distverify.network.linear.sparse import selection
from distverify.network.nodes import ActivationNode, Term
from distverify.network.onnx.file import Constant
from distverify.network.onnx.gates import gated_product, gated_quotient, multiplied
from distverify.network.onnx.operation import Handler, Operation, Signal, Value, places
from distverify.network.onnx.polynomials import LARGEST_EXPONENT, bases, polynomial, times
from distverify.network.onnx.scalings import Factor, multiples

# Factors that balance products stay far from where squares leave the range of numbers.
_MOST_BALANCE = 2.0**300


def product(op: Operation, a: Signal, b: Signal) -> Signal:
    """a b, elementwise."""
    shape = op.common_shape(a, b)
    return (
        gated_product(op, a, b)
        or _of_one_value(op, op.expanded(a, shape), op.expanded(b, shape))
        or _quarter_squares(op, op.expanded(a, shape), op.expanded(b, shape))
    )


def matrix_product(op: Operation, a: Signal, b: Signal) -> Signal:
    """Sums of products over the last axis of ``a`` and the last but one of ``b``, stacks of matrices broadcast together."""
    if not a.shape or not b.shape:
        op.error(f"shapes {a.shape} and {b.shape} cannot be multiplied; both need at least one axis")
    left, right = places(a), places(b)
    left = left[None, :] if left.ndim == 1 else left
    right = right[:, None] if right.ndim == 1 else right
    inner = left.shape[-1]
    if inner != right.shape[-2]:
        op.error(f"matrices of shapes {a.shape} and {b.shape} do not fit together")
    rows, columns = left[..., :, :, None], right[..., None, :, :]
    try:
        shape = np.broadcast_shapes(rows.shape, columns.shape)
    except ValueError:
        op.error(f"stacks of matrices of shapes {a.shape} and {b.shape} do not fit together")
    op.check_shape(shape)
    made = product(op, op.taken(a, np.broadcast_to(rows, shape)), op.taken(b, np.broadcast_to(columns, shape)))
    table = np.moveaxis(places(made), -2, -1).reshape(-1, inner)
    # The axis that a vector was given is missing from the result.
    kept = shape[:-3] + (shape[-3],) * (len(a.shape) > 1) + (shape[-1],) * (len(b.shape) > 1)
    return op.linear(kept, [Term(made.node, selection(table, made.size))])


def quotient(op: Operation, a: Value, b: Signal) -> Signal:
    """a / b, elementwise; bounds exist where b has one sign."""
    if not isinstance(a, Signal):
        shape = op.common_shape(a, b)
        inverse, scale = op.expanded(reciprocal(op, b), shape), op.spread(a, shape)
        return op.linear(shape, [Term(inverse.node, Diagonal(scale, roundings=op.roundings(a)))])
    return gated_quotient(op, a, b) or product(op, a, reciprocal(op, b))


def reciprocal(op: Operation, x: Signal) -> Signal:
    """1 / x; of a power of v > 0 the negative power of v."""
    nodes = op.builder.nodes
    for source, factor in multiples(op.builder, x.node).items():
        node = nodes[source]
        if isinstance(node, ActivationNode) and node.kind == "positive_power" and factor.value != 0:
            # Of values that only rounding makes negative there is none either way.
            inverse = op.builder.activation(op.name, node.source, node.kind, {"exponent": -node.parameters[0]})
            return multiplied(op, Signal(inverse, x.shape), Factor(Fraction(1)).over(factor))
    return Signal(op.builder.activation(op.name, x.node, "reciprocal"), x.shape)


def square(op: Operation, x: Signal) -> Signal:
    """x^2."""
    return _powered(op, x, np.full(x.size, 2.0))


def _of_one_value(op: Operation, a: Signal, b: Signal) -> Signal | None:
    """The product where both are polynomials of one value, and one of them a power."""
    builder, others = op.builder, set(bases(op.builder, b.node))
    for v in bases(builder, a.node):
        left, right = (polynomial(builder, node, v) if v in others else None for node in (a.node, b.node))
        made = None if left is None or right is None else times(left, right)
        if made is None:
            continue
        terms, bias = [], 0.0
        for n, factor in made.items():
            scale, roundings = factor.rounded()
            if n == 0 and roundings:
                break
            bias += scale if n == 0 else 0.0
            if n > 0:
                power = v if n == 1 else builder.activation(op.name, v, "power", {"exponent": float(n)})
                terms.append(Term(power, Diagonal(np.full(a.size, scale), roundings=roundings)))
        else:
            return op.linear(a.shape, terms, np.full(a.size, bias))
    return None


def _quarter_squares(op: Operation, a: Signal, b: Signal) -> Signal:
    with np.errstate(all="ignore"):
        balance = np.sqrt(op.probe.spread(b.node) / op.probe.spread(a.node))
    balance = np.exp2(np.rint(np.log2(np.clip(balance, 1.0 / _MOST_BALANCE, _MOST_BALANCE))))
    left = Term(a.node, Diagonal(balance))
    sides = [square(op, op.linear(a.shape, [left, Term(b.node, Diagonal(sign / balance))])) for sign in (1.0, -1.0)]
    return op.linear(a.shape, [op.scaled(sides[0], 0.25), op.scaled(sides[1], -0.25)])


def _pow(op: Operation) -> Value:
    base, exponent = op.input(0), op.input(1)
    assert base is not None
    assert exponent is not None
    if isinstance(exponent, Signal):
        if isinstance(base, Signal):
            op.error("raises a value that depends on the input to a power that does, which is not supported")
        return _exponential(op, base, exponent)
    assert isinstance(base, Signal)
    if op.roundings(exponent):
        op.error("raises to a power that had to be rounded; run a constant-folding tool on the model")
    shape = op.common_shape(base, exponent)
    return _powered(op, op.expanded(base, shape), op.spread(exponent, shape))


def _powered(op: Operation, x: Signal, exponents: Array) -> Signal:
    """x^exponents, float64 [size]."""
    if not np.isfinite(exponents).all() or np.abs(exponents).max() > LARGEST_EXPONENT:
        op.error(
            f"raises to the power {exponents[np.argmax(np.abs(exponents))]:g}; at most {LARGEST_EXPONENT} is supported"
        )
    whole = exponents == np.rint(exponents)
    if (exponents == 1.0).all():
        return x
    if (exponents == 0.0).all():
        return op.constantly(x, 1.0)
    op.budget.spend(2 * x.size, op.label)
    if (whole & (exponents >= 2.0)).all():
        for source, factor in multiples(op.builder, x.node).items():
            node = op.builder.nodes[source]
            if isinstance(node, ActivationNode) and node.kind == "positive_power" and (exponents == exponents[0]).all():
                return _power_of_power(op, x, node, factor, int(exponents[0]))
        return Signal(op.builder.activation(op.name, x.node, "power", {"exponent": exponents}), x.shape)
    if (exponents == -1.0).all():
        return reciprocal(op, x)
    if (whole & (exponents <= -2.0)).all():
        return reciprocal(op, _powered(op, x, -exponents))
    if whole.any():
        op.error("raises some values to whole powers and others to fractions, which is not supported")
    return Signal(op.builder.activation(op.name, x.node, "positive_power", {"exponent": exponents}), x.shape)


def _power_of_power(op: Operation, x: Signal, node: ActivationNode, factor: Factor, n: int) -> Signal:
    """(factor v^p)^n = factor^n v^(n p), where n p is exact; else the power of the power."""
    exponents = n * node.parameters[0]
    if any(Fraction(float(e)) != n * Fraction(float(p)) for e, p in zip(exponents, node.parameters[0], strict=True)):
        return Signal(op.builder.activation(op.name, x.node, "power", {"exponent": float(n)}), x.shape)
    power = op.builder.activation(op.name, node.source, "positive_power", {"exponent": exponents})
    return multiplied(op, Signal(power, x.shape), Factor(factor.value**n, n * factor.roundings))


def _exponential(op: Operation, base: Constant, exponent: Signal) -> Signal:
    """base^x = exp(x log base)."""
    shape = op.common_shape(base, exponent)
    bases = op.spread(base, shape)
    if not (bases > 0.0).all() or not np.isfinite(bases).all() or op.roundings(base):
        op.error("raises numbers that are not positive, or not exact, to a power that depends on the input")
    scale = Diagonal(np.log(bases), roundings=4)
    x = op.linear(shape, [Term(op.expanded(exponent, shape).node, scale)])
    return Signal(op.builder.activation(op.name, x.node, "exp"), shape)


POWER_OPERATORS: Mapping[str, Handler] = {
    "Pow": _pow,
    "Reciprocal": lambda op: reciprocal(op, op.signal()),
}
