"""Nodes that are polynomials of one other node's value, elementwise: followed backwards exactly, through sums, scalings and powers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from distverify.network.graph import NetworkBuilder
from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.identity import Identity
from distverify.network.linear.operator import LinearOperator
from distverify.network.nodes import ActivationNode, LinearNode
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
    """``node`` as a polynomial of the value of node ``base``; None where it is none."""
    if node == base:
        return {1: Factor.of(1)}
    known = builder.nodes[node]
    if node < base:
        return None
    if isinstance(known, ActivationNode) and known.kind == "power" and np.ptp(known.parameters[0]) == 0.0:
        inner = polynomial(builder, known.source, base)
        return None if inner is None or len(inner) != 1 else _power(inner, int(known.parameters[0, 0]))
    if not isinstance(known, LinearNode) or known.bias_error is not None or np.ptp(known.bias) != 0.0:
        return None
    total: dict[int, Factor] = {0: Factor.of(known.bias[0])} if known.bias[0] else {}
    for source, operator in known.terms:
        factor, inner = _factor(operator), polynomial(builder, source, base)
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
