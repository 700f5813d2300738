"""Products and sums of linear operators: two in a row, or side by side, as one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array

from distverify.network.linear.convolution import Convolution
from distverify.network.linear.dense import Dense
from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.identity import Identity
from distverify.network.linear.operator import Array, LinearOperator
from distverify.network.linear.sparse import Sparse


def composed_size(outer: LinearOperator, inner: LinearOperator) -> int | None:
    """Number of values that ``outer`` after ``inner`` takes to store (sparse: at least); None where it has no form."""
    match outer, inner:
        case (Convolution() as convolution, Diagonal(scale)):
            return None if _per_channel(convolution, scale, output=False) is None else convolution.stored
        case (Diagonal(scale), Convolution() as convolution):
            return None if _per_channel(convolution, scale, output=True) is None else convolution.stored
        case (Identity(), _) | (_, Identity()):
            return max(outer.stored, inner.stored)
        case (Convolution(), _) | (_, Convolution()):
            return None
        case (Dense(), _) | (_, Dense()):
            return outer.out_size * inner.in_size
    return max(outer.stored, inner.stored)


def compose(outer: LinearOperator, inner: LinearOperator) -> LinearOperator:
    """``outer`` after ``inner``; they must have a :func:`composed_size`."""
    match outer, inner:
        case (_, Identity()):
            return outer
        case (Identity(), _):
            return inner
        case (Convolution() as convolution, Diagonal(scale)):
            return _scaled(convolution, scale, output=False)
        case (Diagonal(scale), Convolution() as convolution):
            return _scaled(convolution, scale, output=True)
        case (Diagonal(a), Diagonal(b)):
            return Diagonal(a * b)
        case (Diagonal(scale), Dense(weight)):
            return Dense(scale[:, None] * weight)
        case (Dense(weight), Diagonal(scale)):
            return Dense(weight * scale)
        case (Dense(), _) | (_, Dense()):
            return Dense(np.ascontiguousarray(_matrix(outer) @ _matrix(inner)))
    return Sparse(csr_array(_matrix(outer) @ _matrix(inner)))


def add_operators(a: LinearOperator, b: LinearOperator) -> LinearOperator | None:
    """The sum of two operators, or None where it has no form of its own."""
    match (_as_diagonal(a), _as_diagonal(b)):
        case (Convolution(), _) | (_, Convolution()):
            return None
        case (Diagonal(first), Diagonal(second)):
            return Diagonal(first + second)
        case (Dense(first), Dense(second)):
            return Dense(first + second)
        case (Dense(weight), other) | (other, Dense(weight)):
            return Dense(np.asarray(weight + _matrix(other).toarray()))
        case (first, second):
            return Sparse(csr_array(_matrix(first) + _matrix(second)))


def _as_diagonal(operator: LinearOperator) -> LinearOperator:
    return Diagonal(np.ones(operator.size)) if isinstance(operator, Identity) else operator


def _matrix(operator: LinearOperator) -> Any:
    """A dense array, or a sparse one where few entries are stored."""
    match operator:
        case Dense(weight):
            return weight
        case Diagonal(scale):
            return diags_array(scale)
        case Sparse(matrix):
            return matrix
    raise AssertionError(f"no matrix is made of {type(operator).__name__}")


def _per_channel(convolution: Convolution, scale: Array, *, output: bool) -> Array | None:
    """``scale`` of a convolution's outputs or inputs as one value per channel, or None where it differs within one."""
    geometry = convolution.geometry
    channels = (geometry.out_image if output is not convolution.transposed else geometry.image)[0]
    table = scale.reshape(channels, -1)
    return table[:, 0] if (table == table[:, :1]).all() else None


def _scaled(convolution: Convolution, scale: Array, *, output: bool) -> Convolution:
    """The convolution with ``scale`` multiplied into its weights."""
    weight = convolution.weight
    factors = _per_channel(convolution, scale, output=output)
    assert factors is not None
    if output is not convolution.transposed:
        return replace(convolution, weight=weight * factors[:, None, None, None])
    groups = convolution.geometry.groups
    split = weight.reshape(groups, -1, *weight.shape[1:]) * factors.reshape(groups, 1, -1, 1, 1)
    return replace(convolution, weight=split.reshape(weight.shape))
