"""Products and sums of linear operators: two in a row, or side by side, as one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from distverify.network.linear.convolution import Convolution
from distverify.network.linear.dense import Dense
from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.exactness import (
    roundings_of_matrix_product,
    roundings_of_products,
    roundings_of_sums,
)
from distverify.network.linear.identity import Identity
from distverify.network.linear.operator import Array, LinearOperator
from distverify.network.linear.sparse import Sparse


def composed_size(outer: LinearOperator, inner: LinearOperator) -> int | None:
    """Number of values that ``outer`` after ``inner`` takes to store, at most; None where it has no form."""
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
        case (Sparse(matrix), Sparse(other)):
            # Every entry meets a row; a mean that is repeated is a full matrix.
            return max(int(np.diff(other.indptr)[matrix.indices].sum()), outer.stored, inner.stored)
    return max(outer.stored, inner.stored)


def compose(outer: LinearOperator, inner: LinearOperator) -> LinearOperator | None:
    """``outer`` after ``inner``, which must have a :func:`composed_size`; None where rounding could leave little of it.

    Entries that are rounded count among the product's ``roundings``.
    """
    match outer, inner:
        case (_, Identity()):
            return outer
        case (Identity(), _):
            return inner
        case (Convolution() as convolution, Diagonal(scale)):
            return _scaled(convolution, inner, *_weight_factors(convolution, scale, output=False))
        case (Diagonal(scale), Convolution() as convolution):
            return _scaled(convolution, outer, *_weight_factors(convolution, scale, output=True))
        case (Diagonal(scale), Diagonal(other)):
            return _scaled(inner, outer, other, scale)
        case (Diagonal(scale), Dense(weight)):
            return _scaled(inner, outer, weight, scale[:, None])
        case (Dense(weight), Diagonal(scale)):
            return _scaled(outer, inner, weight, scale)
        case (Diagonal(scale), Sparse(matrix)):
            return _scaled(inner, outer, matrix.data, np.repeat(scale, np.diff(matrix.indptr)))
        case (Sparse(matrix), Diagonal(scale)):
            return _scaled(outer, inner, matrix.data, scale[matrix.indices])
    return _multiplied(outer, inner)


def _scaled(operator: LinearOperator, diagonal: LinearOperator, weight: Array, factors: Array) -> LinearOperator | None:
    """``operator`` with ``factors`` multiplied into its ``weight``."""
    with np.errstate(over="ignore", under="ignore"):
        rounded = roundings_of_products(weight, factors)
        if rounded is None:
            return None
        total = operator.roundings + diagonal.roundings + rounded
        return replace(operator.mapped(lambda own: own * factors), roundings=total)  # type: ignore[type-var]


def _multiplied(outer: LinearOperator, inner: LinearOperator) -> LinearOperator | None:
    """The product of two matrices, dense or sparse."""
    a, b = _matrix(outer), _matrix(inner)
    terms = min(int((a != 0).sum(axis=1).max()), int((b != 0).sum(axis=0).max()))
    largest = float((abs(a) @ abs(b)).max())
    rounded = roundings_of_matrix_product(_numbers(a), _numbers(b), terms, largest)
    # An entry that is a sum of inexact numbers may have lost more of itself than each of them.
    if rounded is None or (terms > 1 and outer.roundings + inner.roundings and not _all_of_one_sign(a, b)):
        return None
    roundings = outer.roundings + inner.roundings + rounded
    if isinstance(outer, Dense) or isinstance(inner, Dense):
        return Dense(np.ascontiguousarray(a @ b), roundings=roundings)
    from scipy.sparse import csr_array

    return Sparse(_sorted(csr_array(a @ b)), roundings=roundings)


def add_operators(a: LinearOperator, b: LinearOperator) -> LinearOperator | None:
    """The sum of two operators, or None where it has no form of its own, or rounding could leave little of it."""
    first, second = _as_diagonal(a), _as_diagonal(b)
    if isinstance(first, Convolution) or isinstance(second, Convolution):
        return None
    inexact = max(first.roundings, second.roundings)
    if type(first) is type(second) is Diagonal:
        rounded = roundings_of_sums(first.scale, second.scale, inexact)
        return None if rounded is None else Diagonal(first.scale + second.scale, roundings=rounded)
    if isinstance(first, Dense) or isinstance(second, Dense):
        one, other = first.rows(), second.rows()
        rounded = roundings_of_sums(one, other, inexact)
        return None if rounded is None else Dense(one + other, roundings=rounded)
    left, right = _matrix(first), _matrix(second)
    from scipy.sparse import csr_array

    total = csr_array(left + right)
    if total.nnz < left.nnz + right.nnz:
        # Entries meet: their sums must be exact.
        numbers, largest = (
            np.concatenate([_numbers(left), _numbers(right)]),
            float(np.abs(_numbers(left)).max() + np.abs(_numbers(right)).max()),
        )
        if inexact or roundings_of_matrix_product(numbers, np.ones(1), 2, largest) != 0:
            return None
    return Sparse(_sorted(total), roundings=inexact)


def _as_diagonal(operator: LinearOperator) -> LinearOperator:
    return Diagonal(np.ones(operator.size)) if isinstance(operator, Identity) else operator


def _matrix(operator: LinearOperator) -> Any:
    """A dense array, or a sparse one where few entries are stored."""
    match operator:
        case Dense(weight):
            return weight
        case Diagonal(scale):
            from scipy.sparse import diags_array

            return diags_array(scale)
        case Sparse(matrix):
            return matrix
    raise AssertionError(f"no matrix is made of {type(operator).__name__}")


def _sorted(matrix: Any) -> Any:
    # What comes later must not sort in place: a network's arrays are read-only.
    matrix.sum_duplicates()
    return matrix


def _numbers(matrix: Any) -> Array:
    """The matrix's numbers, without the zeros that are not stored."""
    return matrix if isinstance(matrix, np.ndarray) else np.asarray(matrix.tocsr().data)


def _all_of_one_sign(a: Any, b: Any) -> bool:
    """Whether no sum of products of entries of ``a`` and ``b`` can cancel."""
    return all((_numbers(m) >= 0.0).all() or (_numbers(m) <= 0.0).all() for m in (a, b))


def _per_channel(convolution: Convolution, scale: Array, *, output: bool) -> Array | None:
    """``scale`` of a convolution's outputs or inputs as one value per channel, or None where it differs within one."""
    geometry = convolution.geometry
    channels = (geometry.out_image if output is not convolution.transposed else geometry.image)[0]
    table = scale.reshape(channels, -1)
    return table[:, 0] if (table == table[:, :1]).all() else None


def _weight_factors(convolution: Convolution, scale: Array, *, output: bool) -> tuple[Array, Array]:
    """The convolution's weights, and in their shape what ``scale`` of its outputs or inputs multiplies them with."""
    weight = convolution.weight
    factors = _per_channel(convolution, scale, output=output)
    assert factors is not None
    if output is not convolution.transposed:
        return weight, np.broadcast_to(factors[:, None, None, None], weight.shape)
    groups = convolution.geometry.groups
    per_group = np.repeat(factors.reshape(groups, 1, -1), weight.shape[0] // groups, axis=1)
    return weight, np.broadcast_to(per_group.reshape(*weight.shape[:2], 1, 1), weight.shape)
