"""Fewer nodes, the same function: linear nodes of a draft are folded into the linear nodes that read them.

Folding multiplies parameters in float64; what is verified afterwards is the folded network.
"""

from __future__ import annotations

from collections import Counter

from distverify.network.compose import add_terms, apply, compose, composed_size
from distverify.network.draft import Draft, DraftLinear, DraftTerm
from distverify.network.linear.operators import Array


def simplify(draft: Draft, output: int) -> None:
    """Fold linear nodes of ``draft`` into the linear nodes that read them, in place; indices stay valid.

    A node is folded where the network does not grow by it: a diagonal or constant operation into the dense layer or
    (one factor per channel) the convolution before or after it, a permutation into a dense layer, a dense layer into
    another one only if nothing else reads it and the product has no more parameters than the two factors.
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
            new = tuple(compose(term, inner) for inner in source.terms)
            bias = _add(node.bias, None if source.bias is None else apply(term, source.bias))
            readers[term.source] -= 1
            if readers[term.source]:
                readers.update(inner.source for inner in new)
            return DraftLinear(node.name, node.size, (*node.terms[:k], *new, *node.terms[k + 1 :]), bias)
    return None


def _worth_folding(term: DraftTerm, source: DraftLinear, only_reader: bool) -> bool:
    if not source.terms:
        return False
    if term.kind == "dense" and not only_reader and any(t.kind == "dense" for t in source.terms):
        return False
    after = 0
    for inner in source.terms:
        size = composed_size(term, inner)
        if size is None:
            return False
        after += size
    return after <= term.parameters + (sum(t.parameters for t in source.terms) if only_reader else 0)


def _add(a: Array | None, b: Array | None) -> Array | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _merge_terms(node: DraftLinear, readers: Counter[int]) -> DraftLinear | None:
    """``node`` with two terms of one source made one (x + x, or a skip around a dense layer)."""
    for k, term in enumerate(node.terms):
        for j, earlier in enumerate(node.terms[:k]):
            total = add_terms(earlier, term, node.size) if earlier.source == term.source else None
            if total is not None:
                terms = list(node.terms)
                terms[j] = total
                del terms[k]
                readers[term.source] -= 1
                return DraftLinear(node.name, node.size, tuple(terms), node.bias)
    return None
