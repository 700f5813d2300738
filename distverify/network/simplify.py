"""Fewer nodes, the same function: linear nodes of a draft are folded into the linear nodes that read them.

Folding multiplies parameters in float64; what is verified afterwards is the folded network.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from distverify.network.draft import Draft, DraftLinear, DraftTerm
from distverify.network.operators import Array

_FOLDABLE = ("dense", "diagonal", "identity")


def simplify(draft: Draft, output: int) -> None:
    """Fold linear nodes of ``draft`` into the linear nodes that read them, in place; indices stay valid.

    A node is folded where the network does not grow by it: a diagonal or constant operation into the dense
    layer before or after it, a dense layer into another one only if nothing else reads it and the product has
    no more parameters than the two factors.
    """
    readers = draft.readers(output)
    for i, node in enumerate(draft.nodes):
        while isinstance(node, DraftLinear) and readers[i]:
            rewritten = _merge_terms(node, readers) or _fold_source(draft, node, readers)
            if rewritten is None:
                break
            draft.nodes[i] = node = rewritten


def _fold_source(draft: Draft, node: DraftLinear, readers: Counter[int]) -> DraftLinear | None:
    """``node`` with one of its sources folded in, or None if none is worth it."""
    for k, term in enumerate(node.terms):
        source = draft.nodes[term.source]
        only_reader = readers[term.source] == 1
        if isinstance(source, DraftLinear) and _worth_folding(term, source, only_reader):
            new = tuple(_compose(term, inner) for inner in source.terms)
            bias = _add(node.bias, None if source.bias is None else _apply(term, source.bias))
            readers[term.source] -= 1
            if readers[term.source]:
                readers.update(inner.source for inner in new)
            return DraftLinear(node.name, node.size, (*node.terms[:k], *new, *node.terms[k + 1 :]), bias)
    return None


def _worth_folding(term: DraftTerm, source: DraftLinear, only_reader: bool) -> bool:
    kinds = {term.kind, *(inner.kind for inner in source.terms)}
    if not source.terms or not kinds.issubset(_FOLDABLE):
        return False
    if term.kind == "dense" and not only_reader and any(t.kind == "dense" for t in source.terms):
        return False
    before = term.parameters + (sum(t.parameters for t in source.terms) if only_reader else 0)
    return sum(_composed_size(term, inner) for inner in source.terms) <= before


def _composed_size(outer: DraftTerm, inner: DraftTerm) -> int:
    if outer.kind == inner.kind == "dense":
        assert outer.array is not None
        assert inner.array is not None
        return int(outer.array.shape[0] * inner.array.shape[1])
    return max(outer.parameters, inner.parameters)


def _compose(outer: DraftTerm, inner: DraftTerm) -> DraftTerm:
    """``outer`` after ``inner``, reading inner's source."""
    if outer.array is None:
        return inner
    if inner.array is None:
        return DraftTerm(inner.source, outer.kind, outer.array)
    if outer.kind == "dense":
        array = outer.array @ inner.array if inner.kind == "dense" else outer.array * inner.array
        return DraftTerm(inner.source, "dense", array)
    scale = outer.array[:, None] if inner.kind == "dense" else outer.array
    return DraftTerm(inner.source, inner.kind, scale * inner.array)


def _apply(term: DraftTerm, value: Array) -> Array:
    """The term's operator applied to one vector."""
    if term.array is None:
        return value
    product: Array = term.array @ value if term.kind == "dense" else term.array * value
    return product


def _add(a: Array | None, b: Array | None) -> Array | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _merge_terms(node: DraftLinear, readers: Counter[int]) -> DraftLinear | None:
    """``node`` with two terms of one source made one (x + x, or a skip around a dense layer)."""
    seen: dict[int, int] = {}
    for k, term in enumerate(node.terms):
        if term.kind not in _FOLDABLE:
            continue
        if term.source in seen:
            terms = list(node.terms)
            terms[seen[term.source]] = _sum(terms[seen[term.source]], terms.pop(k), node.size)
            readers[term.source] -= 1
            return DraftLinear(node.name, node.size, tuple(terms), node.bias)
        seen[term.source] = k
    return None


def _sum(a: DraftTerm, b: DraftTerm, size: int) -> DraftTerm:
    """The sum of two terms of one source."""
    first, second = (np.ones(size) if t.array is None else t.array for t in (a, b))
    if first.ndim == second.ndim:
        return DraftTerm(a.source, "dense" if first.ndim == 2 else "diagonal", first + second)
    matrix, scale = (first, second) if first.ndim == 2 else (second, first)
    total = matrix.copy()
    np.fill_diagonal(total, total.diagonal() + scale)
    return DraftTerm(a.source, "dense", total)
