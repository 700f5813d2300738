"""ONNX operators that are sums, scalings and matrix products with constants."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from distverify.network.linear.dense import Dense
from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.identity import Identity
from distverify.network.linear.operator import Array
from distverify.network.nodes import ActivationNode, LinearNode, Term
from distverify.network.onnx.indexing import transposed
from distverify.network.onnx.operation import Handler, Operation, Signal

# Repeating a matrix along other axes makes a dense layer of mostly zeros; beyond this it is no dense network.
_MAX_REPEATED_VALUES = 2**26


def _sum(op: Operation, signs: tuple[float, ...] | None = None) -> Signal:
    """Add, Sub and Sum, of any mixture of constants and values that depend on the input."""
    values = [v for v in op.inputs if v is not None]
    shape = op.common_shape(*values)
    bias = np.zeros(math.prod(shape))
    terms = []
    for value, sign in zip(values, signs or (1.0,) * len(values), strict=True):
        if isinstance(value, Signal):
            terms.append(op.scaled(op.expanded(value, shape), sign))
        else:
            bias += sign * op.spread(value, shape)
    return op.linear(shape, terms, bias)


def _mul(op: Operation) -> Signal:
    a, b = op.inputs
    assert a is not None
    assert b is not None
    if isinstance(a, Signal) and isinstance(b, Signal):
        return _gated(op, a, b)
    x, factor = (a, b) if isinstance(a, Signal) else (op.signal(1), a)
    shape = op.common_shape(a, b)
    x = op.expanded(x, shape)
    return op.linear(shape, [Term(x.node, Diagonal(op.spread(factor, shape)))])  # type: ignore[arg-type]


def _gated(op: Operation, a: Signal, b: Signal) -> Signal:
    """x times a function of x, as exporters write SiLU and GELU out: the products of two signals that are activations."""
    gates = {"sigmoid": "silu", "erf": "gelu"}
    for x, gate in ((a, b), (b, a)):
        for read, scale, offset in _scalings(op, gate.node):
            node = op.builder.nodes[read]
            if x.shape != gate.shape or not isinstance(node, ActivationNode) or node.kind not in gates:
                continue
            # x = factor v and gate = scale s(inner v) + offset, of one and the same signal v
            sources = {
                source: inner for source, inner, shift in _scalings(op, node.source) if shift == 0.0 and inner > 0.0
            }
            factors = [(v, f) for v, f, shift in _scalings(op, x.node) if shift == 0.0 and v in sources]
            if factors and offset == (scale if node.kind == "erf" else 0.0):
                v, factor = factors[0]
                # gelu(z) = z (1 + erf(z / sqrt 2)) / 2
                inner = sources[v] * (math.sqrt(2.0) if node.kind == "erf" else 1.0)
                outer = factor * scale / inner * (2.0 if node.kind == "erf" else 1.0)
                return _scaled_activation(op, Signal(v, x.shape), gates[node.kind], inner, outer)
    raise op.error(
        "a product of two values that depend on the input is not supported, except x * Sigmoid(c x) and x * (1 + Erf(c x))"
    )


def _scalings(op: Operation, node: int) -> list[tuple[int, float, float]]:
    """All (v, factor, offset) such that ``node`` is factor * v + offset, elementwise; first itself."""
    found = [(node, 1.0, 0.0)]
    while isinstance(linear := op.builder.nodes[node], LinearNode) and len(linear.terms) == 1:
        source, operator = linear.terms[0]
        if not isinstance(operator, Identity | Diagonal):
            break
        factors, offsets = operator.scale if isinstance(operator, Diagonal) else np.ones(1), linear.bias
        if (factors != factors[0]).any() or (offsets != offsets[0]).any():
            break
        _, scale, offset = found[-1]
        node = source
        found.append((node, scale * float(factors[0]), scale * float(offsets[0]) + offset))
    return found


def _scaled_activation(op: Operation, x: Signal, kind: str, inner: float, outer: float) -> Signal:
    """``outer * s(inner x)``. Both factors are rounded to double precision, as constants are where layers are folded together."""
    source = x.node if inner == 1.0 else op.linear(x.shape, [op.scaled(x, inner)]).node
    made = Signal(op.builder.activation(op.name, source, kind), x.shape)
    return made if outer == 1.0 else op.linear(x.shape, [op.scaled(made, outer)])


def _div(op: Operation) -> Signal:
    if isinstance(op.input(1), Signal):
        op.error("division by a value that depends on the input is not supported")
    x, divisor = op.signal(0), op.constant(1)
    shape = op.common_shape(x, divisor)
    x = op.expanded(x, shape)
    scale = op.spread(divisor, shape)
    if not scale.all():
        op.error("divides by a constant that is zero")
    return op.linear(shape, [Term(x.node, Diagonal(1.0 / scale))])


def _neg(op: Operation) -> Signal:
    return op.linear(op.signal().shape, [op.scaled(op.signal(), -1.0)])


def _repeated(op: Operation, before: int, matrix: Array, after: int) -> Array:
    """The map that applies ``matrix`` to the middle axis of values [before, in, after]."""
    if before * after == 1:
        return matrix
    if matrix.size * (before * after) ** 2 > _MAX_REPEATED_VALUES:
        op.error(f"applies a {matrix.shape} matrix {before * after} times, too much for a dense layer")
    return np.kron(np.eye(before), np.kron(matrix, np.eye(after)))


def _matmul(op: Operation) -> Signal:
    left = isinstance(op.input(0), Signal)
    if left and isinstance(op.input(1), Signal):
        op.error("a product of two values that depend on the input is not supported")
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
    return op.linear(shape, [Term(x.node, Dense(_repeated(op, *full)))])


def _gemm(op: Operation) -> Signal:
    a, b, c = op.input(0), op.input(1), op.input(2)
    if isinstance(a, Signal) and isinstance(b, Signal):
        op.error("a product of two values that depend on the input is not supported")
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
    terms, bias = [], None
    if isinstance(a, Signal):
        weight = _repeated(op, a.shape[0], alpha * op.numbers(b).T, 1)  # type: ignore[arg-type]
        terms.append(Term(a.node, Dense(weight)))
    elif isinstance(b, Signal):
        terms.append(Term(b.node, Dense(_repeated(op, 1, alpha * op.numbers(a), b.shape[1]))))
    else:
        bias = (alpha * (op.numbers(a) @ op.numbers(b))).reshape(-1)
    if isinstance(c, Signal):
        if op.common_shape(c, np.empty(shape)) != shape:
            op.error(f"C of shape {c.shape} does not fit a product of shape {shape}")
        terms.append(op.scaled(op.expanded(c, shape), beta))
    elif c is not None:
        bias = beta * op.spread(c, shape)
    return op.linear(shape, terms, bias)


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
