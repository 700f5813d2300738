"""Fewer nodes, the same function: linear nodes are folded into the linear nodes that read them.

Folding multiplies parameters in float64; what is verified afterwards is the folded network.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from distverify.network.compose import add_operators, compose, composed_size
from distverify.network.graph import NetworkBuilder
from distverify.network.linear.dense import Dense
from distverify.network.linear.operator import Array, LinearOperator
from distverify.network.nodes import LinearNode, Term


def simplify(builder: NetworkBuilder, output: int) -> None:
    """Fold linear nodes of ``builder`` into the linear nodes that read them, in place; indices stay valid.

    A node is folded where the network does not grow by it: a diagonal or constant operation into the dense layer or
    (one factor per channel) the convolution before or after it, a permutation into a dense layer, a dense layer into
    another one only if nothing else reads it and the product has no more parameters than the two factors.
    """
    readers = builder.readers(output)
    for i, node in enumerate(builder.nodes):
        while isinstance(node, LinearNode) and readers[i]:
            rewritten = _merge_terms(node, readers) or _fold_source(builder, node, readers)
            if rewritten is None:
                break
            builder.nodes[i] = node = rewritten


def _fold_source(builder: NetworkBuilder, node: LinearNode, readers: Counter[int]) -> LinearNode | None:
    """``node`` with one of its sources folded in, or None if none is worth it."""
    for k, (index, operator) in enumerate(node.terms):
        source = builder.nodes[index]
        only_reader = readers[index] == 1
        if isinstance(source, LinearNode) and _worth_folding(operator, source, only_reader):
            new = tuple(Term(inner.source, compose(operator, inner.operator)) for inner in source.terms)
            readers[index] -= 1
            if readers[index]:
                readers.update(inner.source for inner in new)
            terms = (*node.terms[:k], *new, *node.terms[k + 1 :])
            return replace(node, terms=terms, bias=_folded_bias(node.bias, operator, source.bias))
    return None


def _worth_folding(operator: LinearOperator, source: LinearNode, only_reader: bool) -> bool:
    inner = [t.operator for t in source.terms]
    if isinstance(operator, Dense) and not only_reader and any(isinstance(o, Dense) for o in inner):
        return False
    sizes = [composed_size(operator, o) for o in inner]
    before = operator.stored + (sum(o.stored for o in inner) if only_reader else 0)
    return None not in sizes and sum(s for s in sizes if s is not None) <= before


def _folded_bias(bias: Array, operator: LinearOperator, inner: Array) -> Array:
    """``bias + operator @ inner``; zeros are not added, for that would lose the sign of others."""
    if not inner.any():
        return bias
    pushed = operator.push(inner[:, None])[:, 0]
    return bias + pushed if bias.any() else pushed


def _merge_terms(node: LinearNode, readers: Counter[int]) -> LinearNode | None:
    """``node`` with two terms of one source made one (x + x, or a skip around a dense layer)."""
    for k, term in enumerate(node.terms):
        for j, earlier in enumerate(node.terms[:k]):
            total = add_operators(earlier.operator, term.operator) if earlier.source == term.source else None
            if total is not None:
                terms = list(node.terms)
                terms[j] = Term(term.source, total)
                del terms[k]
                readers[term.source] -= 1
                return replace(node, terms=tuple(terms))
    return None
