"""The activation table, and evaluating its rows.

To add an activation: a row in ``ACTIVATIONS``, of a function that is registered here by its columns; see
:mod:`~distverify.kernels.activation`. Everything that bounds need follows from the columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from distverify.kernels import formulas
from distverify.kernels.activation import Curved, Parameter, PiecewiseLinear, Stepped, complete, register
from distverify.kernels.jit import helper, i8, kernel, readonly, void, writable
from distverify.kernels.table import (
    PERIOD,
    PIECES,
    ROWS,
    STEPS,
    TURN,
    TURN_ERROR,
    TURNS,
    column,
    integer,
    number,
    slope_at,
    value,
)

__all__ = [
    "ACTIVATIONS", "MAX_BREAKS", "PARAMETER_ROWS", "Activation", "activate", "breakpoints", "slope_at", "slopes", "value",
]  # fmt: skip

PARAMETER_ROWS = 2
_P0, _P1 = Parameter.FIRST, Parameter.SECOND

LEAKY = register(
    PiecewiseLinear(value=formulas.leaky, slope=formulas.leaky_slope, turns=(0.0,), pieces=((_P0, 0.0), (1.0, 0.0)))
)
CLIP = register(
    PiecewiseLinear(
        value=formulas.clip,
        slope=formulas.clip_slope,
        turns=(_P0, _P1),
        pieces=((0.0, _P0), (1.0, 0.0), (0.0, _P1)),
    )
)
HARD_SIGMOID = register(
    PiecewiseLinear(
        value=formulas.hard_sigmoid,
        slope=formulas.hard_sigmoid_slope,
        turns=(formulas.hard_sigmoid_left, formulas.hard_sigmoid_right),
        pieces=(
            (0.0, formulas.hard_sigmoid_first),
            (_P0, formulas.hard_sigmoid_middle),
            (0.0, formulas.hard_sigmoid_last),
        ),
        turn_error=4.0 * 2.0**-53,
        noise=(formulas.hard_sigmoid_noise, 0.0),
    )
)
SIGMOID = register(
    Curved(value=formulas.sigmoid, slope=formulas.sigmoid_slope, turns=(0.0,), steepness=(0.0, 0.25), bend=0.125)
)
TANH = register(Curved(value=formulas.tanh, slope=formulas.tanh_slope, turns=(0.0,), steepness=(0.0, 1.0), bend=2.0))
ARCTAN = register(
    Curved(value=formulas.arctan, slope=formulas.arctan_slope, turns=(0.0,), steepness=(0.0, 1.0), bend=2.0)
)
SOFTPLUS = register(Curved(value=formulas.softplus, slope=formulas.softplus_slope, steepness=(0.0, 1.0), bend=0.0963))
ELU = register(Curved(value=formulas.elu, slope=formulas.elu_slope, turns=(0.0,), bend=formulas.elu_bend))
# Slopes that are a difference of larger terms.
SILU = register(
    Curved(
        value=formulas.silu,
        slope=formulas.silu_slope,
        bend=0.3082,
        turns=(-formulas.SILU_TURN, formulas.SILU_TURN),
        slope_noise=(1.0, 0.0),
    )
)
HARD_SWISH = register(
    Curved(value=formulas.hard_swish, slope=formulas.hard_swish_slope, turns=(-3.0, 3.0), slope_noise=(1.0, 0.0))
)
MISH = register(
    Curved(
        value=formulas.mish,
        slope=formulas.mish_slope,
        turns=(formulas.MISH_LEFT_TURN, formulas.MISH_RIGHT_TURN),
        slope_noise=(1.0, 0.0),
    )
)
GELU = register(
    Curved(
        value=formulas.gelu,
        slope=formulas.gelu_slope,
        bend=0.7787,
        turns=(-formulas.SQRT2, formulas.SQRT2),
        slope_noise=(1.0, 0.0),
    )
)
GELU_TANH = register(
    Curved(
        value=formulas.gelu_tanh,
        slope=formulas.gelu_tanh_slope,
        bend=0.7767,
        turns=(-formulas.GELU_TANH_TURN, formulas.GELU_TANH_TURN),
        slope_noise=(1.0, 0.0),
    )
)
SOFTSIGN = register(
    Curved(value=formulas.softsign, slope=formulas.softsign_slope, turns=(0.0,), steepness=(0.0, 1.0), bend=6.0)
)
SIN = register(
    Curved(
        value=formulas.sin,
        slope=formulas.sin_slope,
        bend=1.0,
        period=math.pi,
        steepness=(-1.0, 1.0),
        band=(0.0, -1.0, 1.0),
        slope_noise=(1.0, 0.0),
    )
)
# Rounding of the slope's argument grows with the square.
ERF = register(
    Curved(
        value=formulas.erf,
        slope=formulas.erf_slope,
        bend=2.2568,
        turns=(0.0,),
        steepness=(0.0, formulas.ERF_STEEPEST),
        slope_noise=(1.0, 0.0),
    )
)
GELU_CUBIC = register(
    Curved(
        value=formulas.gelu_cubic,
        slope=formulas.gelu_cubic_slope,
        bend=formulas.gelu_cubic_bend,
        turns=(formulas.gelu_cubic_left, formulas.gelu_cubic_right),
        noise=(0.0, 1.0),
        slope_noise=(1.0, 0.0),
    )
)
# Functions that grow past all numbers, or that exist on one side of 0 only.
EXP = register(
    Curved(
        value=formulas.exp,
        slope=formulas.exp_slope,
        steepness=(0.0, math.inf),
        band=(0.0, 0.0, math.inf),
        domain=(-math.inf, 690.0),
        small_arguments=0.0,
    )
)
LOG = register(
    Curved(
        value=formulas.log,
        slope=formulas.log_slope,
        steepness=(0.0, math.inf),
        domain=(1e-290, 1e290),
        small_arguments=0.0,
    )
)
RECIPROCAL = register(
    Curved(
        value=formulas.reciprocal,
        slope=formulas.reciprocal_slope,
        steepness=(-math.inf, 0.0),
        domain=(1e-150, math.inf),
        mirrored=True,
        small_arguments=0.0,
    )
)
POWER = register(
    Curved(
        value=formulas.power,
        slope=formulas.power_slope,
        turns=(0.0,),
        bend=formulas.power_bend,
        domain=(formulas.minus_power_reach, formulas.power_reach),
        small_arguments=0.0,
    )
)
POSITIVE_POWER = register(
    Curved(
        value=formulas.power,
        slope=formulas.power_slope,
        domain=(formulas.positive_power_low, formulas.positive_power_high),
        small_arguments=0.0,
    )
)
SIGN = register(Stepped(value=formulas.sign, slope=formulas.flat, band=(0.0, -1.0, 1.0)))
STEP = register(Stepped(value=formulas.step, slope=formulas.flat, band=(0.0, 0.0, 1.0)))
FLOOR = register(Stepped(value=formulas.floor, slope=formulas.flat, band=(1.0, -1.0, 0.0)))
NEAREST = register(Stepped(value=formulas.nearest, slope=formulas.flat, band=(1.0, -0.5, 0.5)))


@dataclass(frozen=True)
class Activation:
    """An activation by its name: a registered function, and its parameters with their defaults, in the order of the rows."""

    function: int
    parameters: Mapping[str, float] = field(default_factory=dict)

    @property
    def code(self) -> int:
        """By which compiled kernels know the function."""
        return complete(self.function)

    @property
    def piecewise_linear(self) -> bool:
        """Whether it is straight between its turns."""
        return bool(ROWS[self.function][PIECES] > 0)

    @property
    def exact_turns(self) -> bool:
        """Whether its turns are float64 numbers, known without error."""
        return bool(ROWS[self.function].view(np.float64)[TURN_ERROR] == 0.0)

    @property
    def continuous(self) -> bool:
        """Whether it has no jumps; otherwise there are no derivatives."""
        return bool(ROWS[self.function][STEPS] == 0)


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
    "hard_swish": Activation(HARD_SWISH),
    "mish": Activation(MISH),
    "gelu": Activation(GELU),
    "gelu_tanh": Activation(GELU_TANH),
    "softsign": Activation(SOFTSIGN),
    "sin": Activation(SIN),
    "erf": Activation(ERF),
    "gelu_cubic": Activation(
        GELU_CUBIC, {"scale": math.sqrt(2.0 / math.pi), "cubic": 0.044715 * math.sqrt(2.0 / math.pi)}
    ),
    "exp": Activation(EXP),
    "log": Activation(LOG),
    "reciprocal": Activation(RECIPROCAL),
    "power": Activation(POWER, {"exponent": 2.0}),
    "positive_power": Activation(POSITIVE_POWER, {"exponent": 0.5}),
    "signum": Activation(SIGN),
    "heaviside": Activation(STEP),
    "floor": Activation(FLOOR),
    "nearest": Activation(NEAREST),
}

# Turns inside an interval that are told apart; with more of them only what holds on the whole line is used.
_MOST_TURNS = 6
# Length of the scratch memory that the helpers below and the relaxations take.
MAX_BREAKS = 16
# So far out, in periods, multiples of a period are known too badly.
_FARTHEST_PERIOD = 2.0**25


@helper
def breakpoints(code, l, u, p0, p1, out):
    """Points inside (l, u) where the slope jumps or turns, ascending, into ``out``; their number, or -1 for too many."""
    n = 0
    period = number(code, PERIOD)
    if period > 0.0:
        if u - l > (_MOST_TURNS - 2) * period or max(abs(l), abs(u)) > _FARTHEST_PERIOD * period:
            return -1
        first = math.floor(l / period)
        for k in range(_MOST_TURNS + 2):
            turn = (first + k) * period
            if l < turn < u:
                out[n] = turn
                n += 1
    else:
        for k in range(integer(code, TURNS)):
            turn = column(code, TURN + 2 * k, p0, p1)
            if l < turn < u:
                out[n] = turn
                n += 1
    return n


@kernel(void(i8, readonly(2), readonly(2), writable(2)))
def _fill_values(code, x, parameters, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = value(code, x[i, j], parameters[0, j], parameters[1, j])


Floats = NDArray[np.float64]


def activate(code: int, x: Floats, parameters: Floats) -> Floats:
    """s(x) for ``x`` float64 [N, n], elementwise."""
    if code == LEAKY:
        # The same numbers, and nothing to compile or load for small networks.
        return np.where(x >= 0.0, x, parameters[0] * x)
    x = np.ascontiguousarray(x)
    out = np.empty_like(x)
    _fill_values(code, x, parameters, out)
    return out


@kernel(void(i8, readonly(2), readonly(2), writable(2)))
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
