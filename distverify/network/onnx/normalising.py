"""ONNX operators that bring values to a common scale: Softmax, LogSoftmax, LayerNormalization.

Softmax is written as 1 / sum_j exp(x_j - x_i), which needs no product, and whose divisor is at least 1 whatever the inputs.
Source: Wei, Wu, Wu, Chen, Barrett and Farchi, Convex bounds on the softmax function, AISTATS 2023 (arXiv 2303.01713).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from distverify.kernels.rounding import SOUND
from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.sparse import Sparse, averages
from distverify.network.nodes import Term
from distverify.network.onnx.indexing import axis_of
from distverify.network.onnx.operation import Handler, Operation, Signal, places
from distverify.network.onnx.products import product, square

# In ONNX's definition the epsilon is a float32 number.
_EPSILON = np.float32


def _softmax(op: Operation, *, logarithm: bool) -> Signal:
    x = op.signal()
    axis = axis_of(op, int(op.attributes["axis"]), len(x.shape))
    # Before operator set 13 all axes from ``axis`` on were one.
    together = [axis] if op.opset >= 13 else list(range(axis, len(x.shape)))
    others = [a for a in range(len(x.shape)) if a not in together]
    count = math.prod(x.shape[a] for a in together)
    groups = places(x).transpose(others + together).reshape(-1, count)
    if count == 1:
        return op.constantly(x, 0.0 if logarithm else 1.0)
    op.budget.spend(8 * x.size * count, op.label)
    if count == 2:
        kind, sign = ("softplus", 1.0) if logarithm else ("sigmoid", -1.0)
        other = op.linear(x.shape, [Term(x.node, _differences(groups, x.size, sign))])
        made = Signal(op.builder.activation(op.name, other.node, kind), x.shape)
        return op.linear(x.shape, [op.scaled(made, -1.0)]) if logarithm else made
    shape = (x.size * (count - 1),)
    differences = op.linear(shape, [Term(x.node, _differences(groups, x.size, 1.0))])
    exponentials = op.builder.activation(op.name, differences.node, "exp")
    # The differences of a value are a row of count - 1; the one with itself is 0, and its exponential 1.
    rows = np.repeat(np.arange(x.size), count - 1)
    from scipy.sparse import csr_array

    sums = csr_array((np.ones(rows.size), (rows, np.arange(rows.size))), shape=(x.size, rows.size))
    total = op.linear(x.shape, [Term(exponentials, Sparse(sums))], np.ones(x.size))
    made = Signal(op.builder.activation(op.name, total.node, "log" if logarithm else "reciprocal"), x.shape)
    return op.linear(x.shape, [op.scaled(made, -1.0)]) if logarithm else made


def _differences(groups: NDArray[np.int64], size: int, sign: float) -> Sparse:
    """The map to sign (x_j - x_i) for all i, and all other j of the same row of ``groups``, i by i."""
    count = groups.shape[1]
    order = np.argsort(groups.reshape(-1))
    first = np.repeat(groups.reshape(-1), count - 1)
    others = np.stack([np.delete(groups, k, axis=1) for k in range(count)], axis=1).reshape(-1)
    first, others = (a.reshape(size, count - 1)[order].reshape(-1) for a in (first, others))
    rows = np.arange(first.size)
    values = np.repeat([sign, -sign], first.size)
    from scipy.sparse import csr_array

    matrix = csr_array((values, (np.tile(rows, 2), np.concatenate([others, first]))), shape=(first.size, size))
    matrix.sum_duplicates()
    return Sparse(matrix)


def _layer_normalization(op: Operation) -> tuple[Signal, ...]:
    x, epsilon = op.signal(), float(_EPSILON(op.attributes["epsilon"]))
    first = axis_of(op, int(op.attributes["axis"]), len(x.shape))
    count = math.prod(x.shape[first:])
    few = (*x.shape[:first], *(1,) * (len(x.shape) - first))
    table = places(x).reshape(-1, count)
    mean = op.linear(few, [Term(x.node, averages(table, x.size, count))])
    spread = op.expanded(mean, x.shape)
    centred = op.linear(x.shape, [op.builder.skip(x.node), op.scaled(spread, -1.0)])
    average = averages(table, x.size, count)
    terms = [Term(square(op, centred).node, average)]
    # Runtimes take mean(x^2) - mean(x)^2 for the variance. The two terms cancel, but not in what single precision may lose.
    whole = square(op, x).node
    terms += [Term(whole, average), Term(whole, average.mapped(np.negative))]
    variance = op.linear(few, terms, np.full(math.prod(few), epsilon))
    inverse = Signal(op.builder.activation(op.name, variance.node, "positive_power", {"exponent": -0.5}), few)
    result = product(op, centred, inverse)
    scale, shift = op.constant(1), None if op.input(2) is None else op.constant(2)
    factors = Term(result.node, Diagonal(op.spread(scale, x.shape), roundings=op.roundings(scale)))
    if shift is None:
        return (op.linear(x.shape, [factors]), mean, inverse)[: op.outputs]
    values = op.spread(shift, x.shape)
    lost = SOUND.gamma(op.roundings(shift)) * np.abs(values) if op.roundings(shift) else None
    made = op.linear(x.shape, [factors], values, lost)
    return (made, mean, inverse)[: op.outputs]


NORMALISING_OPERATORS: Mapping[str, Handler] = {
    "LayerNormalization": _layer_normalization,
    "LogSoftmax": lambda op: _softmax(op, logarithm=True),
    "Softmax": lambda op: _softmax(op, logarithm=False),
}
