"""By how many roundings constant arithmetic in float64 is off, operator by operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from distverify.network.linear.exactness import (
    are_powers_of_two,
    roundings_of_matrix_product,
    roundings_of_products,
    roundings_of_sums,
)
from distverify.network.linear.operator import Array

_Rule = Callable[[Sequence[Array], Array, int], int | None]


def _sum(operands: Sequence[Array], result: Array, inexact: int) -> int | None:
    total, roundings = operands[0], inexact
    for other in operands[1:]:
        one, two = np.broadcast_arrays(total, other)
        more = roundings_of_sums(one, two, roundings)
        if more is None:
            return None
        total, roundings = total + other, more
    return roundings


def _product(operands: Sequence[Array], result: Array, inexact: int) -> int | None:
    one, two = np.broadcast_arrays(*operands)
    return roundings_of_products(one, two)


def _quotient(operands: Sequence[Array], result: Array, inexact: int) -> int | None:
    normal = (np.abs(result) >= np.finfo(np.float64).tiny) | (result == 0.0)
    if not (np.isfinite(result) & normal).all():
        return None
    return 0 if are_powers_of_two(operands[-1]) else 1


def _reduction(operands: Sequence[Array], result: Array, inexact: int) -> int | None:
    numbers, terms = operands[0], operands[0].size // max(1, result.size)
    return roundings_of_matrix_product(numbers, np.ones(1), terms, float(np.abs(numbers).max(initial=0.0)) * terms)


def _mean(operands: Sequence[Array], result: Array, inexact: int) -> int | None:
    summed = _reduction(operands, result, inexact)
    return None if summed is None else summed + 1


def _matmul(operands: Sequence[Array], result: Array, inexact: int) -> int | None:
    a, b = operands
    terms = a.shape[-1]
    return roundings_of_matrix_product(a, b, terms, float(np.abs(a).max() * np.abs(b).max()) * terms)


# Each gives the roundings that the operator adds to those of its operands. Add and its like are given them, and count all.
_ADDED: Mapping[str, _Rule] = {
    "Div": _quotient,
    "MatMul": _matmul,
    "Mul": _product,
    "Reciprocal": _quotient,
    "ReduceMean": _mean,
    "ReduceSum": _reduction,
    "Sqrt": lambda operands, result, inexact: 1,
}
_SUMS = ("Add", "Sub", "Sum")
ROUNDED_OPERATORS = frozenset({*_ADDED, *_SUMS})
# fmt: off
# Operators whose result is exactly one of the operands' numbers, or its opposite.
EXACT_OPERATORS = frozenset({
    "Abs", "Cast", "Clip", "Concat", "Expand", "Flatten", "Gather", "Identity", "Max", "Min", "Neg", "ReduceMax", "ReduceMin",
    "Relu", "Reshape", "Sign", "Slice", "Squeeze", "Transpose", "Unsqueeze", "Where",
})
# fmt: on
# Sums that may cancel must not have inexact terms.
_NEEDS_EXACT = frozenset({"MatMul", "ReduceMean", "ReduceSum"})


def constant_roundings(operator: str, operands: Sequence[Array], result: Array, inexact: Sequence[int]) -> int | None:
    """How many roundings ``result`` is off by, of ``operands`` that are off by ``inexact`` each; None where by more."""
    if operator in EXACT_OPERATORS:
        return max(inexact, default=0)
    with np.errstate(all="ignore"):
        if operator in _SUMS:
            signed = [operands[0], -operands[1]] if operator == "Sub" else operands
            return _sum(signed, result, max(inexact, default=0))
        if operator not in _ADDED or (operator in _NEEDS_EXACT and any(inexact)):
            return None
        own = _ADDED[operator](operands, result, 0)
        return None if own is None else own + sum(inexact)
