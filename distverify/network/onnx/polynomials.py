"""Nodes that are polynomials of one other node's value, elementwise: followed backwards exactly, through sums, scalings and powers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from distverify.network.graph import NetworkBuilder
from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.identity import Identity
from distverify.network.linear.operator import LinearOperator
from distverify.network.nodes import ActivationNode, LinearNode, Node
from distverify.network.onnx.scalings import Factor

# Larger exponents than any network has; factors' powers stay numbers.
LARGEST_EXPONENT = 64
_MOST_NODES = 24

# From exponents to coefficients.
Polynomial = Mapping[int, Factor]


def bases(builder: NetworkBuilder, node: int) -> list[int]:
    """Nodes that ``node`` may be a polynomial of, itself first."""
    found: list[int] = []
    pending = [node]
    while pending and len(found) < _MOST_NODES:
        i = pending.pop(0)
        if i in found:
            continue
        found.append(i)
        known = builder.nodes[i]
        if isinstance(known, ActivationNode) and known.kind == "power":
            pending.append(known.source)
        elif isinstance(known, LinearNode) and all(_factor(operator) for _, operator in known.terms):
            pending += known.sources
    return found


def polynomial(builder: NetworkBuilder, node: int, base: int) -> Polynomial | None:
    """``node`` as a polynomial of the value of node ``base``; None where it is none, or where that takes too long to tell."""
    return _Expansion(builder, base).of(node)


class _Expansion:
    """Polynomials of one base, by node: each is looked at once, and not more of them than make sense."""

    def __init__(self, builder: NetworkBuilder, base: int) -> None:
        self._nodes, self._base = builder.nodes, base
        self._known: dict[int, Polynomial | None] = {base: {1: Factor.of(1)}}

    def of(self, node: int) -> Polynomial | None:
        if node < self._base or len(self._known) > _MOST_NODES:
            return self._known.get(node)
        if node not in self._known:
            self._known[node] = None  # counts while its sources are looked at
            self._known[node] = self._made(self._nodes[node])
        return self._known[node]

    def _made(self, node: Node) -> Polynomial | None:
        if isinstance(node, ActivationNode) and node.kind == "power" and np.ptp(node.parameters[0]) == 0.0:
            inner = self.of(node.source)
            return None if inner is None or len(inner) != 1 else _power(inner, int(node.parameters[0, 0]))
        if not isinstance(node, LinearNode) or node.bias_error is not None or np.ptp(node.bias) != 0.0:
            return None
        total: dict[int, Factor] = {0: Factor.of(node.bias[0])} if node.bias[0] else {}
        for source, operator in node.terms:
            factor, inner = _factor(operator), self.of(source)
            if factor is None or inner is None:
                return None
            for n, coefficient in inner.items():
                own = coefficient.times(factor)
                if n in total and (own.roundings or total[n].roundings):
                    return None
                total[n] = Factor(total[n].value + own.value) if n in total else own
        return total


def times(a: Polynomial, b: Polynomial) -> Polynomial | None:
    """The product, where one is a single power; None for others, and for exponents that are too large."""
    if min(len(a), len(b)) != 1 or max(a) + max(b) > LARGEST_EXPONENT:
        return None
    return {m + n: f.times(g) for m, f in a.items() for n, g in b.items()}


def _power(inner: Polynomial, n: int) -> Polynomial | None:
    ((m, factor),) = inner.items()
    return {m * n: Factor(factor.value**n, n * factor.roundings)} if m * n <= LARGEST_EXPONENT else None


def _factor(operator: LinearOperator) -> Factor | None:
    """The number that the operator multiplies every value by."""
    if isinstance(operator, Identity):
        return Factor.of(1)
    if isinstance(operator, Diagonal) and (operator.scale == operator.scale[0]).all():
        return Factor.of(operator.scale[0], operator.roundings)
    return None
