"""ONNX operators that are sums, scalings and matrix products with constants."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from distverify.kernels.rounding import SOUND
from distverify.network.linear.dense import Dense
from distverify.network.linear.diagonal import Diagonal, division
from distverify.network.linear.exactness import roundings_of_products, sum_with_error
from distverify.network.linear.operator import NORM_MARGIN, Array
from distverify.network.nodes import Term
from distverify.network.onnx.indexing import transposed
from distverify.network.onnx.operation import Handler, Operation, Signal
from distverify.network.onnx.products import matrix_product, product, quotient


def _sum(op: Operation, signs: tuple[float, ...] | None = None) -> Signal:
    """Add, Sub and Sum, of any mixture of constants and values that depend on the input."""
    values = [v for v in op.inputs if v is not None]
    shape = op.common_shape(*values)
    bias, error = np.zeros((2, math.prod(shape)))
    terms = []
    for value, sign in zip(values, signs or (1.0,) * len(values), strict=True):
        if isinstance(value, Signal):
            terms.append(op.scaled(op.expanded(value, shape), sign))
        else:
            numbers = op.spread(value, shape)
            bias, lost = sum_with_error(bias, sign * numbers)
            error += lost
            if inexact := op.roundings(value):
                error += SOUND.gamma(inexact) * np.abs(numbers)
    return op.linear(shape, terms, bias, error * NORM_MARGIN)


def _mul(op: Operation) -> Signal:
    a, b = op.inputs
    assert a is not None
    assert b is not None
    if isinstance(a, Signal) and isinstance(b, Signal):
        return product(op, a, b)
    x, factor = (a, op.constant(1)) if isinstance(a, Signal) else (op.signal(1), op.constant(0))
    shape = op.common_shape(a, b)
    x = op.expanded(x, shape)
    return op.linear(shape, [Term(x.node, Diagonal(op.spread(factor, shape), roundings=op.roundings(factor)))])


def _div(op: Operation) -> Signal:
    if isinstance(denominator := op.input(1), Signal):
        numerator = op.input(0)
        assert numerator is not None
        return quotient(op, numerator, denominator)
    x, divisor = op.signal(0), op.constant(1)
    shape = op.common_shape(x, divisor)
    x = op.expanded(x, shape)
    divisors = op.spread(divisor, shape)
    if not divisors.all():
        op.error("divides by a constant that is zero")
    scale = division(divisors)
    if scale is None:
        op.error(f"divides by a constant as small or large as {np.abs(divisors).min():g} or {np.abs(divisors).max():g}")
    inexact = scale.roundings + op.roundings(divisor)
    return op.linear(shape, [Term(x.node, replace(scale, roundings=inexact))])


def _neg(op: Operation) -> Signal:
    return op.linear(op.signal().shape, [op.scaled(op.signal(), -1.0)])


def _repeated(op: Operation, before: int, matrix: Array, after: int) -> Array:
    """The map that applies ``matrix`` to the middle axis of values [before, in, after]."""
    if before * after == 1:
        return matrix
    op.budget.spend(matrix.size * (before * after) ** 2, op.label)
    return np.kron(np.eye(before), np.kron(matrix, np.eye(after)))


def _matmul(op: Operation) -> Signal:
    a, b = op.inputs
    if isinstance(a, Signal) and isinstance(b, Signal):
        return matrix_product(op, a, b)
    left = isinstance(a, Signal)
    x, constant = (op.signal(0), op.constant(1)) if left else (op.signal(1), op.constant(0))
    weight = op.numbers(constant)
    if weight.ndim > 2:
        if math.prod(weight.shape[:-2]) != 1:
            op.error(f"a stack of matrices of shape {weight.shape} is not supported; give one matrix")
        weight = weight.reshape(weight.shape[-2:])
    if not x.shape or not weight.ndim:
        op.error(f"shapes {x.shape} and {weight.shape} cannot be multiplied; both need at least one axis")
    # A vector counts as one row on the left, as one column on the right; its axis is missing from the result.
    if left:
        rows, matrix = x.shape[:-1], weight.reshape(weight.shape[0], -1)
        inner, outer = x.shape[-1], matrix.shape[0]
        shape = rows + weight.shape[1:]
        full = (math.prod(rows), matrix.T, 1)
    else:
        matrix = weight.reshape(-1, weight.shape[-1])
        stack, columns = (x.shape[:-2], x.shape[-1:]) if len(x.shape) > 1 else ((), ())
        inner, outer = x.shape[-2] if columns else x.shape[0], matrix.shape[1]
        shape = stack + weight.shape[:-1] + columns
        full = (math.prod(stack), matrix, math.prod(columns))
    if inner != outer:
        op.error(f"the matrix of shape {constant.shape} does not fit values of shape {x.shape}")
    # A stack of one matrix adds axes of length one in front.
    shape = (1,) * max(0, constant.ndim - len(x.shape)) + shape if constant.ndim > 2 else shape
    return op.linear(shape, [Term(x.node, Dense(_repeated(op, *full), roundings=op.roundings(constant)))])


def _gemm(op: Operation) -> Signal:
    a, b, c = op.input(0), op.input(1), op.input(2)
    matrices = []
    for value, transpose in ((a, op.attributes["transA"]), (b, op.attributes["transB"])):
        assert value is not None
        if len(value.shape) != 2:
            op.error(f"multiplies matrices, but got shape {value.shape}; add a Flatten before it")
        if not transpose:
            matrices.append(value)
        elif isinstance(value, Signal):
            matrices.append(transposed(op, value, (1, 0)))
        else:
            matrices.append(value.T)
    a, b = matrices
    if a.shape[1] != b.shape[0]:
        op.error(f"matrices of shapes {a.shape} and {b.shape} do not fit together")
    shape = (a.shape[0], b.shape[1])
    alpha, beta = float(op.attributes["alpha"]), float(op.attributes["beta"])
    terms, bias, error = [], None, None
    if isinstance(a, Signal) and isinstance(b, Signal):
        terms.append(op.scaled(matrix_product(op, a, b), alpha))
    elif isinstance(a, Signal):
        weight = _repeated(op, a.shape[0], op.numbers(b).T, 1)  # type: ignore[arg-type]
        terms.append(Term(a.node, _times(op, alpha, weight, op.roundings(op.inputs[1]))))
    elif isinstance(b, Signal):
        terms.append(
            Term(b.node, _times(op, alpha, _repeated(op, 1, op.numbers(a), b.shape[1]), op.roundings(op.inputs[0])))
        )
    else:
        left, right = op.numbers(a), op.numbers(b)
        bias = (alpha * (left @ right)).reshape(-1)
        sizes = abs(alpha) * (np.abs(left) @ np.abs(right)).reshape(-1)
        inexact = sum(op.roundings(v) for v in op.inputs[:2])
        error = SOUND.gamma(left.shape[1] + 1 + inexact) * sizes + SOUND.eta * (left.shape[1] + 1)
    if isinstance(c, Signal):
        if op.common_shape(c, np.empty(shape)) != shape:
            op.error(f"C of shape {c.shape} does not fit a product of shape {shape}")
        terms.append(op.scaled(op.expanded(c, shape), beta))
    elif c is not None:
        numbers = op.spread(c, shape)
        bias = beta * numbers
        if op.roundings(c) or roundings_of_products(numbers, np.full(1, beta)) != 0:
            error = SOUND.gamma(1 + op.roundings(c)) * np.abs(bias) + SOUND.eta
    return op.linear(shape, terms, bias, error)


def _times(op: Operation, factor: float, weight: Array, inexact: int) -> Dense:
    """``factor * weight``, and how much that is rounded."""
    if factor == 1.0:
        return Dense(weight, roundings=inexact)
    rounded = roundings_of_products(weight, np.full(1, factor))
    if rounded is None:
        op.error(f"alpha = {factor} times the weights leaves the range of float64; the model is damaged")
    return Dense(factor * weight, roundings=rounded + inexact)


LINEAR_OPERATORS: Mapping[str, Handler] = {
    "Add": _sum,
    "Div": _div,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Mul": _mul,
    "Neg": _neg,
    "Sub": lambda op: _sum(op, (1.0, -1.0)),
    "Sum": _sum,
}
