"""Values and slopes of activations, as functions (x, p0, p1) and (x, side, p0, p1) of one number.

Each is good to a few units in the last place over the whole line, far out too.
"""

from __future__ import annotations

import math

import numpy as np

from distverify.kernels.jit import helper

SQRT2 = math.sqrt(2.0)
_INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)
_TWO_BY_SQRT_PI = 2.0 / math.sqrt(math.pi)
ERF_STEEPEST = math.nextafter(_TWO_BY_SQRT_PI, math.inf)
_GELU_A = math.sqrt(2.0 / math.pi)
_GELU_B = 0.044715
_GELU_FAR = 50.0  # where its distance to ReLU is far below the smallest double
# Where the slopes of SiLU and of the tanh form of GELU turn (roots of the second derivative; both are even functions).
SILU_TURN = 2.3993572805154677
GELU_TANH_TURN = 1.4185040087908284
# And that of Mish, which is not even.
MISH_LEFT_TURN = -2.2563763963607931
MISH_RIGHT_TURN = 1.4905711794854285


# Powers stay below it.
_POWERS_FAR = 1e290


@helper
def logistic(x):
    """1 / (1 + exp(-x))."""
    if x >= 0.0:
        return 1.0 / (1.0 + math.exp(-x))
    e = math.exp(x)
    return e / (1.0 + e)


def leaky(x, p0, p1):
    return x if x >= 0.0 else p0 * x


def leaky_slope(x, side, p0, p1):
    return 1.0 if x > 0.0 or (x == 0.0 and side > 0) else p0


def clip(x, p0, p1):
    return min(max(x, p0), p1)


def clip_slope(x, side, p0, p1):
    inside = (x > p0 or (x == p0 and side > 0)) and (x < p1 or (x == p1 and side < 0))
    return 1.0 if inside else 0.0


def hard_sigmoid(x, p0, p1):
    return min(max(p0 * x + p1, 0.0), 1.0)


def hard_sigmoid_slope(x, side, p0, p1):
    t = p0 * x + p1
    rising = side * p0 > 0.0
    inside = (t > 0.0 or (t == 0.0 and rising)) and (t < 1.0 or (t == 1.0 and not rising))
    return p0 if inside else 0.0


# Columns of the hard sigmoid, clip(p0 x + p1, 0, 1): where it passes 0 and 1, and its pieces.
def hard_sigmoid_left(p0, p1):
    return -math.inf if p0 == 0.0 else min(-p1 / p0, (1.0 - p1) / p0)


def hard_sigmoid_right(p0, p1):
    return math.inf if p0 == 0.0 else max(-p1 / p0, (1.0 - p1) / p0)


def hard_sigmoid_first(p0, p1):
    return 1.0 if p0 < 0.0 else 0.0


def hard_sigmoid_middle(p0, p1):
    return min(max(p1, 0.0), 1.0) if p0 == 0.0 else p1


def hard_sigmoid_last(p0, p1):
    return 0.0 if p0 < 0.0 else 1.0


def hard_sigmoid_noise(p0, p1):
    return 1.0 + abs(p1)


def sigmoid(x, p0, p1):
    return logistic(x)


def sigmoid_slope(x, side, p0, p1):
    e = math.exp(-abs(x))
    return e / ((1.0 + e) * (1.0 + e))


def tanh(x, p0, p1):
    return math.tanh(x)


def tanh_slope(x, side, p0, p1):
    e = math.exp(-2.0 * abs(x))
    return 4.0 * e / ((1.0 + e) * (1.0 + e))


def arctan(x, p0, p1):
    return math.atan(x)


def arctan_slope(x, side, p0, p1):
    return 1.0 / (1.0 + x * x)


def softplus(x, p0, p1):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def softplus_slope(x, side, p0, p1):
    return logistic(x)


def elu(x, p0, p1):
    """p1 x, or p1 p0 (exp(x) - 1) left of 0."""
    return p1 * x if x >= 0.0 else p1 * (p0 * math.expm1(x))


def elu_slope(x, side, p0, p1):
    return p1 if x > 0.0 or (x == 0.0 and side > 0) else p1 * (p0 * math.exp(x))


def elu_bend(p0, p1):
    return abs(p0 * p1) * 1.000001


def silu(x, p0, p1):
    return x * logistic(x)


def silu_slope(x, side, p0, p1):
    s = logistic(x)
    return s + x * s * logistic(-x)


def hard_swish(x, p0, p1):
    """x clip(x / 6 + 1 / 2, 0, 1)."""
    if x <= -3.0:
        return 0.0
    return x if x >= 3.0 else x * (x + 3.0) / 6.0


def hard_swish_slope(x, side, p0, p1):
    if x < -3.0 or (x == -3.0 and side < 0):
        return 0.0
    return 1.0 if x > 3.0 or (x == 3.0 and side > 0) else (2.0 * x + 3.0) / 6.0


# With e = exp(x): tanh(softplus(x)) = n / (n + 2), n = e (e + 2). Right of 0 both are multiplied by exp(-2 x).
def mish(x, p0, p1):
    """x tanh(softplus(x))."""
    e = math.exp(-abs(x))
    if x <= 0.0:
        n = e * (e + 2.0)
        return x * (n / (n + 2.0))
    return x * ((1.0 + 2.0 * e) / (1.0 + 2.0 * e + 2.0 * e * e))


def mish_slope(x, side, p0, p1):
    e = math.exp(-abs(x))
    if x <= 0.0:
        n = e * (e + 2.0)
        w = n + 2.0
        return n / w + 4.0 * x * e * (1.0 + e) / (w * w)
    w = 1.0 + 2.0 * e + 2.0 * e * e
    return (1.0 + 2.0 * e) / w + 4.0 * x * (1.0 + e) * e * e / (w * w)


def gelu(x, p0, p1):
    return 0.5 * x * math.erfc(-x / SQRT2)


def gelu_slope(x, side, p0, p1):
    return 0.5 * math.erfc(-x / SQRT2) + x * _INV_SQRT_2PI * math.exp(-0.5 * x * x)


def gelu_tanh(x, p0, p1):
    if abs(x) > _GELU_FAR:
        return max(x, 0.0)
    return x * logistic(2.0 * _GELU_A * (x + _GELU_B * x * x * x))


def gelu_tanh_slope(x, side, p0, p1):
    if abs(x) > _GELU_FAR:
        return 1.0 if x > 0.0 else 0.0
    t = 2.0 * _GELU_A * (x + _GELU_B * x * x * x)
    s = logistic(t)
    return s + x * s * logistic(-t) * 2.0 * _GELU_A * (1.0 + 3.0 * _GELU_B * x * x)


# x logistic(u) with u = 2 (p0 x + p1 x^3): GELU's tanh form with constants of its own, p0 > 0 and p1 >= 0.
def gelu_cubic(x, p0, p1):
    far = 2.0 * abs(x) * (p0 + (p1 * x) * x)
    return max(x, 0.0) if far > 745.0 else x * logistic(math.copysign(far, x))


def gelu_cubic_slope(x, side, p0, p1):
    far = 2.0 * abs(x) * (p0 + (p1 * x) * x)
    if far > 745.0:
        return 1.0 if x > 0.0 else 0.0
    s, e = logistic(math.copysign(far, x)), math.exp(-far)
    return s + x * (e / ((1.0 + e) * (1.0 + e))) * 2.0 * (p0 + 3.0 * p1 * x * x)


@helper
def _gelu_cubic_root(p0, p1):
    """Where the slope turns, x > 0: (1 + 2 s) / (1 + s)^2 = p0 x tanh(p0 x + p1 x^3) with s = 3 x^2 p1 / p0; left falls, right grows."""
    low, high = 0.0, 2.0 / p0
    for _ in range(100):
        x = 0.5 * (low + high)
        s = 3.0 * p1 / p0 * x * x
        if (1.0 + 2.0 * s) / ((1.0 + s) * (1.0 + s)) > p0 * x * math.tanh(p0 * x + p1 * x * x * x):
            low = x
        else:
            high = x
    return high


def gelu_cubic_left(p0, p1):
    return -_gelu_cubic_root(p0, p1)


def gelu_cubic_right(p0, p1):
    return _gelu_cubic_root(p0, p1)


def gelu_cubic_bend(p0, p1):
    """Known near GELU's own constants, up to a factor of the argument: |s'''''| <= 1.2202 p0^2 where p1 = 0.0702 p0^3."""
    own = _GELU_B / (_GELU_A * _GELU_A)
    return 1.23 * p0 * p0 if abs(p1 / (p0 * p0 * p0) - own) < 1e-5 else math.inf


def softsign(x, p0, p1):
    return x / (1.0 + abs(x))


def softsign_slope(x, side, p0, p1):
    return 1.0 / ((1.0 + abs(x)) * (1.0 + abs(x)))


def sin(x, p0, p1):
    return math.sin(x)


def sin_slope(x, side, p0, p1):
    return math.cos(x)


def erf(x, p0, p1):
    return math.erf(x)


def erf_slope(x, side, p0, p1):
    return _TWO_BY_SQRT_PI * math.exp(-x * x)


def exp(x, p0, p1):
    return math.exp(x)


def exp_slope(x, side, p0, p1):
    return math.exp(x)


def log(x, p0, p1):
    return math.log(x)


def log_slope(x, side, p0, p1):
    return 1.0 / x


def reciprocal(x, p0, p1):
    return 1.0 / x


def reciprocal_slope(x, side, p0, p1):
    return -1.0 / (x * x)


# x to the power p0: a whole number >= 2, or any number where x > 0.
def power(x, p0, p1):
    return math.pow(x, p0)


def power_slope(x, side, p0, p1):
    exponent = p0 - 1.0
    slope, rest = p0 * math.pow(x, exponent), p0 - (exponent + 1.0)
    return slope if rest == 0.0 or x <= 0.0 else slope * (1.0 + rest * math.log(x))


def power_reach(p0, p1):
    return math.pow(_POWERS_FAR, 1.0 / p0)


def minus_power_reach(p0, p1):
    return -math.pow(_POWERS_FAR, 1.0 / p0)


def power_bend(p0, p1):
    if p0 == 2.0:
        return 0.0
    return 6.0 if p0 == 3.0 else math.inf


def positive_power_low(p0, p1):
    return 0.0 if p0 > 0.0 else max(1.0 / _POWERS_FAR, math.pow(_POWERS_FAR, 1.0 / p0))


def positive_power_high(p0, p1):
    return math.pow(_POWERS_FAR, 1.0 / p0) if p0 > 1.0 else _POWERS_FAR


def sign(x, p0, p1):
    if x == 0.0:
        return 0.0
    return 1.0 if x > 0.0 else -1.0


def step(x, p0, p1):
    return 1.0 if x > 0.0 else 0.0


def floor(x, p0, p1):
    return float(np.floor(x))


def nearest(x, p0, p1):
    """The nearest whole number, of two the even one."""
    return float(np.rint(x))


def flat(x, side, p0, p1):
    return 0.0
