"""Products and sums of a draft's terms: two operators in a row, or side by side, as one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array

from distverify.network.draft import DraftTerm
from distverify.network.linear.operators import Array

_MATRICES = ("dense", "diagonal", "sparse")


def composed_size(outer: DraftTerm, inner: DraftTerm) -> int | None:
    """Number of values that ``outer`` after ``inner`` takes to store (sparse: at least); None where it has no form."""
    kinds = outer.kind, inner.kind
    if "identity" in kinds:
        return max(outer.parameters, inner.parameters)
    if "convolution" in kinds:
        convolution, other = (outer, inner) if outer.kind == "convolution" else (inner, outer)
        if other.kind != "diagonal" or _per_channel(convolution, other.value, output=convolution is inner) is None:
            return None
        return convolution.parameters
    if outer.kind == "dense":
        return int(outer.value.shape[0] * inner.value.shape[-1])
    if inner.kind == "dense":
        return int(outer.value.shape[0] * inner.value.shape[1])
    return max(outer.parameters, inner.parameters)


def compose(outer: DraftTerm, inner: DraftTerm) -> DraftTerm:
    """``outer`` after ``inner``, reading inner's source; they must have a :func:`composed_size`."""
    if inner.kind == "identity":
        return DraftTerm(inner.source, outer.kind, outer.value)
    if outer.kind == "identity":
        return inner
    if "convolution" in (outer.kind, inner.kind):
        convolution, scale = (outer, inner.value) if outer.kind == "convolution" else (inner, outer.value)
        weight = _scaled(convolution, scale, output=convolution is inner)
        return DraftTerm(inner.source, "convolution", replace(convolution.value, weight=weight))
    if outer.kind == inner.kind == "diagonal":
        return DraftTerm(inner.source, "diagonal", outer.value * inner.value)
    if "dense" in (outer.kind, inner.kind):
        if outer.kind == "diagonal":
            return DraftTerm(inner.source, "dense", outer.value[:, None] * inner.value)
        if inner.kind == "diagonal":
            return DraftTerm(inner.source, "dense", outer.value * inner.value)
        return DraftTerm(inner.source, "dense", np.ascontiguousarray(outer.value @ inner.value))
    return DraftTerm(inner.source, "sparse", csr_array(_sparse(outer) @ _sparse(inner)))


def _sparse(term: DraftTerm) -> Any:
    return diags_array(term.value) if term.kind == "diagonal" else term.value


def _per_channel(convolution: DraftTerm, scale: Array, *, output: bool) -> Array | None:
    """``scale`` of a convolution's outputs or inputs as one value per channel, or None where it differs within one."""
    transposed = convolution.value.transposed
    geometry = convolution.value.geometry
    channels = (geometry.out_image if output is not transposed else geometry.image)[0]
    table = scale.reshape(channels, -1)
    return table[:, 0] if (table == table[:, :1]).all() else None


def _scaled(convolution: DraftTerm, scale: Array, *, output: bool) -> Array:
    """The weights with ``scale`` multiplied in."""
    weight: Array = convolution.value.weight
    factors = _per_channel(convolution, scale, output=output)
    assert factors is not None
    if output is not convolution.value.transposed:
        return weight * factors[:, None, None, None]
    groups = convolution.value.geometry.groups
    split = weight.reshape(groups, -1, *weight.shape[1:]) * factors.reshape(groups, 1, -1, 1, 1)
    return split.reshape(weight.shape)


def apply(term: DraftTerm, value: Array) -> Array:
    """The term's operator applied to one vector."""
    if term.kind == "identity":
        return value
    if term.kind == "convolution":
        return np.asarray(term.value.push(value[:, None])[:, 0])
    product: Array = term.value * value if term.kind == "diagonal" else term.value @ value
    return product


def add_terms(a: DraftTerm, b: DraftTerm, size: int) -> DraftTerm | None:
    """The sum of two terms of one source, or None where it has no form of its own."""
    if not {a.kind, b.kind}.issubset(("identity", *_MATRICES)):
        return None
    first, second = (DraftTerm(t.source, "diagonal", np.ones(size)) if t.kind == "identity" else t for t in (a, b))
    if first.kind == second.kind != "sparse":
        return DraftTerm(a.source, first.kind, first.value + second.value)
    if "dense" in (first.kind, second.kind):
        matrix, other = (first, second) if first.kind == "dense" else (second, first)
        return DraftTerm(a.source, "dense", np.asarray(matrix.value + _sparse(other).toarray()))
    return DraftTerm(a.source, "sparse", csr_array(_sparse(first) + _sparse(second)))
