"""The activation table: value, slope and breakpoints of every activation.

To add an activation: a row in ``ACTIVATIONS``, a branch in ``value``, in ``slope_at`` and (if its slope is not monotone)
in ``breakpoints``. All that bounds need follows from these three by the general rules of ``relaxations.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numba import types
from numpy.typing import NDArray

from distverify.kernels.jit import helper, i8, kernel, readonly, writable

PARAMETER_ROWS = 2

# Codes by which compiled kernels know an activation.
LEAKY, CLIP, HARD_SIGMOID, SIGMOID, TANH, ARCTAN, SOFTPLUS, ELU, SILU, GELU, GELU_TANH, SOFTSIGN, SIN, ERF = range(14)
LAST_PIECEWISE_LINEAR = HARD_SIGMOID


@dataclass(frozen=True)
class Activation:
    """One row of the table: the kernels' code, and the parameters with their defaults, in the order of the parameter rows."""

    code: int
    parameters: Mapping[str, float] = field(default_factory=dict)


ACTIVATIONS: Mapping[str, Activation] = {
    "relu": Activation(LEAKY),
    "leaky_relu": Activation(LEAKY, {"slope": 0.01}),
    "prelu": Activation(LEAKY, {"slope": 0.25}),
    "identity": Activation(LEAKY, {"slope": 1.0}),
    "clip": Activation(CLIP, {"lo": -1.0, "hi": 1.0}),
    "hardtanh": Activation(CLIP, {"lo": -1.0, "hi": 1.0}),
    "relu6": Activation(CLIP, {"lo": 0.0, "hi": 6.0}),
    "hard_sigmoid": Activation(HARD_SIGMOID, {"alpha": 0.2, "beta": 0.5}),
    "sigmoid": Activation(SIGMOID),
    "tanh": Activation(TANH),
    "arctan": Activation(ARCTAN),
    "softplus": Activation(SOFTPLUS),
    "elu": Activation(ELU, {"alpha": 1.0, "gamma": 1.0}),
    "selu": Activation(ELU, {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875}),
    "silu": Activation(SILU),
    "gelu": Activation(GELU),
    "gelu_tanh": Activation(GELU_TANH),
    "softsign": Activation(SOFTSIGN),
    "sin": Activation(SIN),
    "erf": Activation(ERF),
}

TINY = 1e-300
# The math library's functions are trusted to 4 units in the last place; with the few operations around them every value and
# slope below is good to NUDGE units relative to the magnitudes that enter it.
NUDGE = 16.0 * 2.0**-53
HUGE = 1e300
MAX_BREAKS = 6
_SQRT2 = math.sqrt(2.0)
_INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)
_TWO_BY_SQRT_PI = 2.0 / math.sqrt(math.pi)
_GELU_A = math.sqrt(2.0 / math.pi)
_GELU_B = 0.044715
_GELU_FAR = 50.0  # where its distance to ReLU is far below the smallest double
# Where the slopes of SiLU and of the tanh form of GELU turn (roots of the second derivative; both are even functions).
_SILU_TURN = 2.3993572805154677
_GELU_TANH_TURN = 1.4185040087908284


@helper
def _logistic(x):
    if x >= 0.0:
        return 1.0 / (1.0 + math.exp(-x))
    e = math.exp(x)
    return e / (1.0 + e)


@helper
def value(code, x, p0, p1):
    if code == LEAKY:
        return x if x >= 0.0 else p0 * x
    if code == CLIP:
        return min(max(x, p0), p1)
    if code == HARD_SIGMOID:
        return min(max(p0 * x + p1, 0.0), 1.0)
    if code == SIGMOID:
        return _logistic(x)
    if code == TANH:
        return math.tanh(x)
    if code == ARCTAN:
        return math.atan(x)
    if code == SOFTPLUS:
        return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
    if code == ELU:
        return p1 * x if x >= 0.0 else p1 * (p0 * math.expm1(x))
    if code == SILU:
        return x * _logistic(x)
    if code == GELU:
        return 0.5 * x * math.erfc(-x / _SQRT2)
    if code == GELU_TANH:
        if abs(x) > _GELU_FAR:
            return max(x, 0.0)
        return x * _logistic(2.0 * _GELU_A * (x + _GELU_B * x * x * x))
    if code == SOFTSIGN:
        return x / (1.0 + abs(x))
    if code == ERF:
        return math.erf(x)
    return math.sin(x)


@helper
def slope_at(code, x, side, p0, p1):
    """s'(x); at a kink the limit from the left (side < 0) or from the right."""
    if code == LEAKY:
        return 1.0 if x > 0.0 or (x == 0.0 and side > 0) else p0
    if code == CLIP:
        inside = (x > p0 or (x == p0 and side > 0)) and (x < p1 or (x == p1 and side < 0))
        return 1.0 if inside else 0.0
    if code == HARD_SIGMOID:
        t = p0 * x + p1
        rising = side * p0 > 0.0
        inside = (t > 0.0 or (t == 0.0 and rising)) and (t < 1.0 or (t == 1.0 and not rising))
        return p0 if inside else 0.0
    if code == SIGMOID:
        e = math.exp(-abs(x))
        return e / ((1.0 + e) * (1.0 + e))
    if code == TANH:
        e = math.exp(-2.0 * abs(x))
        return 4.0 * e / ((1.0 + e) * (1.0 + e))
    if code == ARCTAN:
        return 1.0 / (1.0 + x * x)
    if code == SOFTPLUS:
        return _logistic(x)
    if code == ELU:
        return p1 if x > 0.0 or (x == 0.0 and side > 0) else p1 * (p0 * math.exp(x))
    if code == SILU:
        s = _logistic(x)
        return s + x * s * _logistic(-x)
    if code == GELU:
        return 0.5 * math.erfc(-x / _SQRT2) + x * _INV_SQRT_2PI * math.exp(-0.5 * x * x)
    if code == GELU_TANH:
        if abs(x) > _GELU_FAR:
            return 1.0 if x > 0.0 else 0.0
        t = 2.0 * _GELU_A * (x + _GELU_B * x * x * x)
        s = _logistic(t)
        return s + x * s * _logistic(-t) * 2.0 * _GELU_A * (1.0 + 3.0 * _GELU_B * x * x)
    if code == SOFTSIGN:
        return 1.0 / ((1.0 + abs(x)) * (1.0 + abs(x)))
    if code == ERF:
        return _TWO_BY_SQRT_PI * math.exp(-x * x)
    return math.cos(x)


@helper
def breakpoints(code, l, u, p0, p1, out):
    """Points inside (l, u) where the slope jumps or turns, ascending, into ``out``; their number, or -1 for too many."""
    n = 0
    if (
        code == LEAKY
        or code == ELU
        or code == SIGMOID
        or code == TANH
        or code == ARCTAN
        or code == SOFTSIGN
        or code == ERF
    ):
        out[0] = 0.0
        n = 1
    elif code == CLIP:
        out[0], out[1] = p0, p1
        n = 2
    elif code == HARD_SIGMOID:
        if p0 != 0.0:
            out[0], out[1] = min(-p1 / p0, (1.0 - p1) / p0), max(-p1 / p0, (1.0 - p1) / p0)
            n = 2
    elif code == SILU or code == GELU or code == GELU_TANH:
        turn = _SQRT2 if code == GELU else (_SILU_TURN if code == SILU else _GELU_TANH_TURN)
        out[0], out[1] = -turn, turn
        n = 2
    elif code == SIN:
        if u - l > (MAX_BREAKS - 2) * math.pi or max(abs(l), abs(u)) > 1e8:
            return -1
        first = math.ceil(l / math.pi)
        while n < MAX_BREAKS and (first + n) * math.pi < u:
            out[n] = (first + n) * math.pi
            n += 1
    inside = 0
    for i in range(n):
        if l < out[i] < u:
            out[inside] = out[i]
            inside += 1
    return inside


@kernel(types.void(i8, readonly(2), readonly(2), writable(2)))
def _fill_values(code, x, parameters, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = value(code, x[i, j], parameters[0, j], parameters[1, j])


Floats = NDArray[np.float64]


def activate(code: int, x: Floats, parameters: Floats) -> Floats:
    """s(x) for ``x`` float64 [N, n], elementwise."""
    x = np.ascontiguousarray(x)
    out = np.empty_like(x)
    _fill_values(code, x, parameters, out)
    return out


@kernel(types.void(i8, readonly(2), readonly(2), writable(2)))
def _fill_slopes(code, x, parameters, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = slope_at(code, x[i, j], 1, parameters[0, j], parameters[1, j])


def slopes(code: int, x: Floats, parameters: Floats) -> Floats:
    """s'(x) for ``x`` float64 [N, n], elementwise; at a kink the slope to the right."""
    x = np.ascontiguousarray(x)
    out = np.empty_like(x)
    _fill_slopes(code, x, parameters, out)
    return out
