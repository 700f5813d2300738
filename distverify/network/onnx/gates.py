"""Activations that exporters write out as a product or a quotient of two values: SiLU, GELU, HardSwish, Mish, Softsign."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple, TypeGuard

import numpy as np

from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.operator import Array
from distverify.network.nodes import ActivationNode, Node, Term
from distverify.network.onnx.operation import Operation, Signal
from distverify.network.onnx.polynomials import polynomial
from distverify.network.onnx.scalings import Factor, Scaling, multiples, scalings

_PARAMETER_ROUNDINGS = 2


class _Gate(NamedTuple):
    """``height g(inner v)``, with v g(v) = ``kind``(v): the gate of an activation, applied to the value of node v."""

    kind: str
    v: int
    inner: Factor
    height: Factor = Factor(Fraction(1))


def gated_product(op: Operation, a: Signal, b: Signal) -> Signal | None:
    """x times a gate of x, as exporters write SiLU, GELU, HardSwish and Mish out; None for other products."""
    for x, product in ((a, b), (b, a)):
        factors = multiples(op.builder, x.node)
        for node, (_, scale, offset) in _activations(op, x, product):
            # gelu(z) = z (1 + erf(z / sqrt 2)) / 2
            root = math.sqrt(2.0) if node.kind == "erf" else 1.0
            if node.kind == "tanh" and offset == scale.value and not scale.roundings:
                made = _cubic_gelu(op, x, node.source, scale)
                if made is not None:
                    return made
            if offset != (scale.value if node.kind == "erf" else 0) or (offset and scale.roundings):
                continue
            for gate in _gates(op, node):
                if gate.v in factors and gate.inner.positive:
                    # With x = factor v, the product is factor scale height v g(inner v).
                    outer = factors[gate.v].times(scale).times(gate.height).over(gate.inner)
                    return _scaled(op, Signal(gate.v, x.shape), gate.kind, gate.inner, outer, root)
    return None


def _cubic_gelu(op: Operation, x: Signal, argument: int, scale: Factor) -> Signal | None:
    """scale x (1 + tanh(k v + c v^3)), which with x = f v is 2 scale f v logistic(2 (k v + c v^3)): GELU's tanh form."""
    for v, factor in multiples(op.builder, x.node).items():
        terms = polynomial(op.builder, argument, v)
        if terms is None or set(terms) != {1, 3} or not all(f.positive for f in terms.values()):
            continue
        (linear, lost), (cubic, more) = (terms[n].rounded() for n in (1, 3))
        # What the parameters may be off by is within what the activation's evaluation is granted.
        if max(lost, more) <= _PARAMETER_ROUNDINGS:
            gelu = op.builder.activation(op.name, v, "gelu_cubic", {"scale": linear, "cubic": cubic})
            return multiplied(op, Signal(gelu, x.shape), factor.times(scale).times(Factor.of(2)))
    return None


def _gates(op: Operation, node: ActivationNode) -> Iterator[_Gate]:
    """What ``node`` may be the gate of."""
    nodes, sources = op.builder.nodes, scalings(op.builder, node.source)
    first, second = (_uniform(row) for row in node.parameters)
    for v, inner, offset in sources:
        source = nodes[v]
        if node.kind in ("sigmoid", "erf") and offset == 0:
            yield _Gate("silu" if node.kind == "sigmoid" else "gelu", v, inner)
        elif node.kind == "hard_sigmoid" and offset == 0 and first and second == Fraction(1, 2):
            yield _Gate("hard_swish", v, inner.times(Factor(6 * first)))
        elif node.kind == "clip" and first == 0 and second and 2 * offset == second:
            yield _Gate("hard_swish", v, inner.times(Factor(6 / second)), Factor(second))
        elif node.kind == "tanh" and inner == Factor(Fraction(1)) and offset == 0 and _is_softplus(source):
            yield from (_Gate("mish", u, factor) for u, factor in multiples(op.builder, source.source).items())


def _is_softplus(node: Node) -> TypeGuard[ActivationNode]:
    return isinstance(node, ActivationNode) and node.kind == "softplus"


def _uniform(row: Array) -> Fraction | None:
    """The parameter that all neurons share."""
    return Fraction(float(row[0])) if (row == row[0]).all() else None


def gated_quotient(op: Operation, x: Signal, divisor: Signal) -> Signal | None:
    """x / (1 + |x|), or None: with x = f v and divisor = s |v| + o, that is (f / s) softsign(s v / o)."""
    for node, (_, scale, offset) in _activations(op, x, divisor):
        if node.kind != "leaky_relu" or (node.parameters[0] != -1.0).any() or not scale.positive or offset <= 0:
            continue
        inner = multiples(op.builder, node.source)
        for v, factor in multiples(op.builder, x.node).items():
            if v in inner and inner[v].value != 0:
                steep = scale.times(Factor(abs(inner[v].value), inner[v].roundings))
                return _scaled(op, Signal(v, x.shape), "softsign", steep.over(Factor(offset)), factor.over(steep))
    return None


def _activations(op: Operation, x: Signal, gate: Signal) -> Iterator[tuple[ActivationNode, Scaling]]:
    """The activations of the shape of ``x`` that ``gate`` is a scaling of."""
    for scaling in scalings(op.builder, gate.node) if x.shape == gate.shape else ():
        node = op.builder.nodes[scaling.source]
        if isinstance(node, ActivationNode):
            yield node, scaling


def _scaled(op: Operation, x: Signal, kind: str, inner: Factor, outer: Factor, root: float = 1.0) -> Signal:
    """``root outer s(root inner x)``; ``root``, where it is not 1, is rounded itself."""
    result = multiplied(op, x, inner, root)
    result = Signal(op.builder.activation(op.name, result.node, kind), x.shape)
    return multiplied(op, result, outer, root)


def multiplied(op: Operation, x: Signal, factor: Factor, root: float = 1.0) -> Signal:
    """``root factor x``."""
    value, roundings = factor.rounded()
    if root != 1.0:
        value, roundings = value * root, roundings + 2
    if value == 1.0 and not roundings:
        return x
    return op.linear(x.shape, [Term(x.node, Diagonal(np.full(x.size, value), roundings=roundings))])
