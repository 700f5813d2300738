"""Exact evaluation of networks: rational arithmetic for piecewise linear ones, 240-bit arithmetic for the others.

What a bound is measured against must be right itself: values and derivatives at exactly given points, without float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray

from distverify.network.graph import Network
from distverify.network.nodes import ActivationNode, InputNode, LinearNode

MP = mpmath.MPContext()
MP.prec = 240

PIECEWISE_LINEAR = frozenset({"relu", "leaky_relu", "clip", "hard_sigmoid"})
# Of rational numbers, rational ones.
RATIONAL = PIECEWISE_LINEAR | {"hard_swish", "power", "reciprocal", "signum", "heaviside", "floor", "nearest"}
# Fraction or mpf: whatever can be added, multiplied and compared without rounding that matters.
Number = Any


def to_mp(x: float | Fraction) -> Number:
    """``x`` in 240 bits (floats: exactly)."""
    return MP.mpf(x.numerator) / x.denominator if isinstance(x, Fraction) else MP.mpf(float(x))


def _log1p(e: Number) -> Number:
    return e - e * e / 2 if e < MP.mpf(2) ** -80 else MP.log(1 + e)


def _expm1(x: Number) -> Number:
    return x + x * x / 2 if abs(x) < MP.mpf(2) ** -120 else MP.expm1(x)


def _logistic(x: Number) -> Number:
    e = MP.exp(-abs(x))
    return 1 / (1 + e) if x >= 0 else e / (1 + e)


def _tanh(x: Number) -> Number:
    t = _expm1(-2 * abs(x))
    return (-t if x >= 0 else t) / (2 + t)


def _mish_gate(x: Number) -> Number:
    e = MP.exp(-abs(x))
    n = e * (e + 2) if x <= 0 else (1 + 2 * e)
    return n / (n + 2) if x <= 0 else n / (n + 2 * e * e)


def _mish_slope(x: Number) -> Number:
    e = MP.exp(-abs(x))
    w = e * (e + 2) + 2 if x <= 0 else 1 + 2 * e + 2 * e * e
    return _mish_gate(x) + 4 * x * (1 + e) * (e if x <= 0 else e * e) / (w * w)


def _normal_cdf(x: Number) -> Number:
    # Far out the value stands in for something closer to 0 that no float64 can tell from it.
    if x < -10000:
        return MP.mpf(10) ** -5000
    return 1 - MP.mpf(10) ** -5000 if x > 10000 else MP.erfc(-x / MP.sqrt(2)) / 2


def _gelu_argument(x: Number) -> Number:
    return 2 * MP.sqrt(2 / MP.pi) * (x + MP.mpf("0.044715") * x**3)


def value(kind: str, x: Number, p0: float = 0.0, p1: float = 0.0) -> Number:
    """s(x): of Fractions for piecewise linear kinds, of ``mpf`` for all; parameters as in the activation table."""
    if kind in ("relu", "leaky_relu"):
        return x if x >= 0 else _like(p0, x) * x
    if kind == "clip":
        return min(max(x, _like(p0, x)), _like(p1, x))
    if kind == "hard_sigmoid":
        return min(max(_like(p0, x) * x + _like(p1, x), _like(0.0, x)), _like(1.0, x))
    if kind == "hard_swish":
        return x * min(max(x / 6 + _like(0.5, x), _like(0.0, x)), _like(1.0, x))
    if kind == "power":
        return x ** int(p0)
    if kind == "positive_power":
        return MP.mpf(x) ** MP.mpf(p0)
    if kind == "gelu_cubic":
        return x * _logistic(2 * (MP.mpf(p0) * x + MP.mpf(p1) * x**3))
    if kind in ("reciprocal", "signum", "heaviside", "floor", "nearest"):
        return _of_rationals(kind, x)
    if kind in ("elu", "selu"):
        return MP.mpf(p1) * (x if x >= 0 else MP.mpf(p0) * _expm1(x))
    return {
        "sigmoid": _logistic,
        "tanh": _tanh,
        "arctan": MP.atan,
        "softplus": lambda z: max(z, MP.mpf(0)) + _log1p(MP.exp(-abs(z))),
        "silu": lambda z: z * _logistic(z),
        "mish": lambda z: z * _mish_gate(z),
        "gelu": lambda z: z * _normal_cdf(z),
        "gelu_tanh": lambda z: z * _logistic(_gelu_argument(z)),
        "softsign": lambda z: z / (1 + abs(z)),
        "sin": MP.sin,
        "erf": MP.erf,
        "exp": MP.exp,
        "log": MP.log,
    }[kind](x)


def _of_rationals(kind: str, x: Number) -> Number:
    if kind == "reciprocal":
        return 1 / x
    if kind == "signum":
        return _like(float((x > 0) - (x < 0)), x)
    if kind == "heaviside":
        return _like(float(x > 0), x)
    below = math.floor(x) if isinstance(x, Fraction) else MP.floor(x)
    if kind == "floor":
        return _like(below, x)
    rest = x - below
    odd = int(below) % 2
    return _like(below + (rest > 0.5 or (rest == 0.5 and odd)), x)


def slope(kind: str, x: Number, p0: float = 0.0, p1: float = 0.0) -> Number:
    """s'(x); at a kink the slope to the right."""
    zero = _like(0.0, x)
    if kind in ("relu", "leaky_relu"):
        return _like(1.0, x) if x >= 0 else _like(p0, x)
    if kind == "clip":
        return _like(1.0, x) if p0 <= x < p1 else zero
    if kind == "hard_sigmoid":
        t = _like(p0, x) * x + _like(p1, x)
        inside = 0 <= t < 1 if p0 > 0 else 0 < t <= 1
        return _like(p0, x) if inside else zero
    if kind == "hard_swish":
        return zero if x < -3 else _like(1.0, x) if x >= 3 else (2 * x + 3) / _like(6.0, x)
    if kind == "power":
        return int(p0) * x ** (int(p0) - 1)
    if kind == "positive_power":
        return MP.inf if x == 0 and p0 < 1 else MP.mpf(p0) * MP.mpf(x) ** (MP.mpf(p0) - 1)
    if kind == "reciprocal":
        return -1 / (x * x)
    if kind == "gelu_cubic":
        t = 2 * (MP.mpf(p0) * x + MP.mpf(p1) * x**3)
        return _logistic(t) + x * _bell(t) * 2 * (MP.mpf(p0) + 3 * MP.mpf(p1) * x * x)
    if kind in ("signum", "heaviside", "floor", "nearest"):
        return zero
    if kind in ("elu", "selu"):
        return MP.mpf(p1) * (1 if x >= 0 else MP.mpf(p0) * MP.exp(x))
    return _SMOOTH_SLOPES[kind](x)


def _gelu_tanh_slope(x: Number) -> Number:
    t = _gelu_argument(x)
    inner = 2 * MP.sqrt(2 / MP.pi) * (1 + 3 * MP.mpf("0.044715") * x * x)
    return _logistic(t) + x * _logistic(t) * _logistic(-t) * inner


def _bell(x: Number) -> Number:
    e = MP.exp(-abs(x))
    return e / (1 + e) ** 2


_SMOOTH_SLOPES: dict[str, Callable[[Number], Number]] = {
    "sigmoid": _bell,
    "tanh": lambda x: 4 * _bell(2 * x),
    "arctan": lambda x: 1 / (1 + x * x),
    "softplus": _logistic,
    "silu": lambda x: _logistic(x) + x * _bell(x),
    "mish": _mish_slope,
    "gelu": lambda x: _normal_cdf(x) + x * MP.exp(-min(x * x, MP.mpf(10) ** 9) / 2) / MP.sqrt(2 * MP.pi),
    "gelu_tanh": _gelu_tanh_slope,
    "softsign": lambda x: 1 / (1 + abs(x)) ** 2,
    "sin": MP.cos,
    "exp": MP.exp,
    "log": lambda x: 1 / x,
    "erf": lambda x: 2 * MP.exp(-min(x * x, MP.mpf(10) ** 9)) / MP.sqrt(MP.pi),
}


def _like(p: float, x: Number) -> Number:
    return Fraction(p) if isinstance(x, Fraction) else MP.mpf(p)


class ExactNetwork:
    """The same network in exact arithmetic: Fractions where every activation is piecewise linear, else ``mpf``."""

    def __init__(self, network: Network) -> None:
        self.network = network
        kinds = {n.kind for n in network.nodes if isinstance(n, ActivationNode)}
        self.rational = kinds <= RATIONAL
        self.convert: Callable[[Any], Number] = Fraction if self.rational else to_mp
        self._weights = {
            i: [self._sparse(t.operator.pull(np.eye(n.size))) for t in n.terms]
            for i, n in enumerate(network.nodes)
            if isinstance(n, LinearNode)
        }

    def _sparse(self, matrix: NDArray[np.float64]) -> list[list[tuple[int, Number]]]:
        return [[(j, self.convert(float(w))) for j, w in enumerate(row) if w != 0.0] for row in matrix]

    def values(self, x: Sequence[Fraction]) -> list[list[Number]]:
        """Every node's value."""
        values: list[list[Number]] = []
        for i, node in enumerate(self.network.nodes):
            if isinstance(node, InputNode):
                values.append([self.convert(v) for v in x])
            elif isinstance(node, LinearNode):
                z = [self.convert(float(b)) for b in node.bias]
                for term, matrix in zip(node.terms, self._weights[i], strict=True):
                    a = values[term.source]
                    z = [total + sum(w * a[j] for j, w in row) for total, row in zip(z, matrix, strict=True)]
                values.append(z)
            else:
                p = node.parameters
                values.append([value(node.kind, z, p[0, k], p[1, k]) for k, z in enumerate(values[node.source])])
        return values

    def __call__(self, x: Sequence[Fraction]) -> list[Number]:
        """The outputs."""
        return self.values(x)[self.network.output]

    def jacobian(self, x: Sequence[Fraction], rows: NDArray[np.float64] | None = None) -> list[list[Number]]:
        """The Jacobian of ``rows @ f``, row by row; at kinks the slope to the right."""
        values, nodes, output = self.values(x), self.network.nodes, self.network.output
        combined = np.eye(self.network.output_size) if rows is None else rows
        return [self._row([self.convert(float(c)) for c in row], values, nodes, output) for row in combined]

    def _row(self, row: list[Number], values: list[list[Number]], nodes: Sequence[Any], output: int) -> list[Number]:
        zero = self.convert(0.0)
        y = [[zero] * n.size for n in nodes]
        y[output] = row
        for i in range(output, 0, -1):
            node = nodes[i]
            if isinstance(node, LinearNode):
                for term, matrix in zip(node.terms, self._weights[i], strict=True):
                    for r, weights in enumerate(matrix):
                        if y[i][r] != 0:
                            for j, w in weights:
                                y[term.source][j] += y[i][r] * w
            else:
                p = node.parameters
                for r, z in enumerate(values[node.source]):
                    if y[i][r] != 0:
                        y[node.source][r] += y[i][r] * slope(node.kind, z, p[0, r], p[1, r])
        return y[0]
