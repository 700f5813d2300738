"""Fewer nodes, the same function: linear nodes are folded into the linear nodes that read them.

What is folded is the same function in exact arithmetic: products and sums of parameters that float64 rounds count among an
operator's ``roundings`` and a node's ``bias_error``, and what rounding could leave little of is not folded.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from distverify.kernels.rounding import SOUND
from distverify.network.compose import add_operators, compose, composed_size
from distverify.network.graph import NetworkBuilder
from distverify.network.linear.dense import Dense
from distverify.network.linear.exactness import roundings_of_matrix_product, sum_with_error
from distverify.network.linear.identity import Identity
from distverify.network.linear.operator import NORM_MARGIN, Array, LinearOperator
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
            products = [compose(operator, t.operator) for t in source.terms]
            bias = _folded_bias(node, operator, source)
            if bias is None or None in products:
                continue
            new = tuple(Term(t.source, p) for t, p in zip(source.terms, products, strict=True) if p is not None)
            readers[index] -= 1
            if readers[index]:
                readers.update(inner.source for inner in new)
            terms = (*node.terms[:k], *new, *node.terms[k + 1 :])
            return replace(node, terms=terms, bias=bias[0], bias_error=bias[1])
    return None


def _worth_folding(operator: LinearOperator, source: LinearNode, only_reader: bool) -> bool:
    inner = [t.operator for t in source.terms]
    if isinstance(operator, Dense) and not only_reader and any(isinstance(o, Dense) for o in inner):
        return False
    sizes = [composed_size(operator, o) for o in inner]
    before = operator.stored + (sum(o.stored for o in inner) if only_reader else 0)
    return None not in sizes and sum(s for s in sizes if s is not None) <= before


def _folded_bias(node: LinearNode, operator: LinearOperator, source: LinearNode) -> tuple[Array, Array | None] | None:
    """The bias of ``node`` with ``operator @ source.bias`` added, and its error; None where it overflows."""
    inner = source.bias
    if not inner.any() and source.bias_error is None:
        # Zeros are not added: that would lose the sign of others.
        return node.bias, node.bias_error
    pushed = operator.push(inner[:, None])[:, 0]
    error = np.zeros(node.size)
    if not isinstance(operator, Identity):
        terms, sizes = operator.push_terms, operator.push_abs(np.abs(inner)[:, None])[:, 0]
        if operator.roundings or roundings_of_matrix_product(operator.arrays[0], inner, terms, float(sizes.max())) != 0:
            error += SOUND.gamma(terms) * sizes + SOUND.eta * terms
    if source.bias_error is not None:
        error += operator.push_abs(source.bias_error[:, None])[:, 0] * NORM_MARGIN + SOUND.eta * operator.push_terms
    total = pushed
    if node.bias.any():
        total, lost = sum_with_error(node.bias, pushed)
        error += lost
    error = (error if node.bias_error is None else error + node.bias_error) * NORM_MARGIN
    if not (np.isfinite(total).all() and np.isfinite(error).all()):
        return None
    return total, error if error.any() else None


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
                if len(terms) > 1 and not any(array.any() for array in total.arrays):
                    del terms[j]
                    readers[term.source] -= 1
                return replace(node, terms=tuple(terms))
    return None
