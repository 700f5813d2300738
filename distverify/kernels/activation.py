"""What bounds need to know of an activation: the columns of the activation table.

Three kinds of rows. A :class:`PiecewiseLinear` one lists its straight pieces; a :class:`Curved` one gives its value and slope as
functions, and where its slope turns; a :class:`Stepped` one is constant between jumps. All lines and ranges follow from these by
general rules, in ``piecewise.py`` and ``relaxations.py``, which know no activation by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from distverify.kernels import table
from distverify.kernels.jit import before_next_call


class Parameter(IntEnum):
    """A column that is one of a neuron's own parameters."""

    FIRST = 0
    SECOND = 1


# A constant, a parameter, or a function (p0, p1) -> float, which is compiled.
Column = float | Parameter | Callable[[float, float], float]
Slots = Iterator[tuple[int, Column]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Function:
    """A row of the table.

    Attributes
    ----------
    value : function (x, p0, p1) -> s(x)
        Compiled; good to a few units in the last place of its value, and to ``noise``. A named function of a module, so that
        its compiled code can be kept.
    slope : function (x, side, p0, p1) -> s'(x)
        At a kink the limit from the left (side < 0) or the right.
    turns : tuple of Column
        Where the slope turns or jumps, ascending; infinite where there is no such place.
    noise, slope_noise : (a, b), each a Column
        What rounding in ``value`` and ``slope`` may come to besides their own size, a + b |x|, in units of the few roundings
        that are always allowed. For values it counts from min(1, |x|).
    """

    value: Callable[[float, float, float], float]
    slope: Callable[[float, int, float, float], float]
    turns: tuple[Column, ...] = ()
    noise: tuple[Column, Column] = (0.0, 0.0)
    slope_noise: tuple[Column, Column] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if len(self.turns) > table.MAX_TURNS:
            raise ValueError(f"turns: got {len(self.turns)}; a row has room for {table.MAX_TURNS}")

    def columns(self) -> Slots:
        """Slots of columns, with what they hold."""
        slots = table.NOISE, table.NOISE_FAR, table.SLOPE_NOISE, table.SLOPE_NOISE_FAR
        yield from zip(slots, (*self.noise, *self.slope_noise), strict=True)
        yield from ((table.DOMAIN_LOW, -math.inf), (table.DOMAIN_HIGH, math.inf))
        yield from ((table.TURN + 2 * k, turn) for k, turn in enumerate(self.turns))

    def counts(self) -> dict[int, int]:
        """Slots of integers."""
        return {table.TURNS: len(self.turns)}

    def numbers(self) -> dict[int, float]:
        """Slots of plain numbers."""
        limits = {table.FLATTEST: -math.inf, table.STEEPEST: math.inf, table.BELOW: -math.inf, table.ABOVE: math.inf}
        return {**limits, table.SMALL_ARGUMENTS: 1.0}


@dataclass(frozen=True, eq=False, kw_only=True)
class PiecewiseLinear(Function):
    """Straight pieces that meet at the turns: continuous in exact arithmetic.

    Attributes
    ----------
    pieces : tuple of (slope, intercept), each a Column
        One more than ``turns``: s(x) = slope x + intercept, exactly.
    turn_error : float
        Relative error of the turns. Unless it is 0, ``noise`` bounds |slope x turn| for any two of them.
    """

    pieces: tuple[tuple[Column, Column], ...]
    turn_error: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.pieces) != len(self.turns) + 1:
            raise ValueError(f"pieces: got {len(self.pieces)} with {len(self.turns)} turns; give one more than turns")

    def columns(self) -> Slots:
        """See :class:`Function`."""
        yield from super().columns()
        yield table.BEND, 0.0
        for k, (slope, intercept) in enumerate(self.pieces):
            yield table.PIECE_SLOPE + 2 * k, slope
            yield table.PIECE_INTERCEPT + 2 * k, intercept

    def counts(self) -> dict[int, int]:
        """See :class:`Function`."""
        return {**super().counts(), table.PIECES: len(self.pieces)}

    def numbers(self) -> dict[int, float]:
        """See :class:`Function`."""
        return {**super().numbers(), table.TURN_ERROR: self.turn_error}


@dataclass(frozen=True, eq=False, kw_only=True)
class Curved(Function):
    """A function that is convex or concave between two of its turns.

    Attributes
    ----------
    period : float
        Not 0: there is a turn at every multiple of it. Then ``steepness`` and ``band`` must be finite.
    steepness : (lo, hi)
        Of the slope on the whole line.
    band : (drift, lo, hi)
        lo <= s(x) - drift x <= hi on the whole line.
    bend : Column
        An upper bound of |s'''| between two turns; infinite: none is known, and slopes are intervals to every method.
    domain : (lo, hi), each a Column
        Over an interval that is not within it only ``steepness`` and ``band`` are used: the function does not exist there,
        leaves the range of numbers, or grows on past all that can be looked at.
    mirrored : bool
        Whether the domain's mirror image is one too.
    small_arguments : float
        How much of min(1, |x|) counts as noise of values: 0 where they are good relative to their own size.
    """

    period: float = 0.0
    steepness: tuple[float, float] = (-math.inf, math.inf)
    band: tuple[float, float, float] = (0.0, -math.inf, math.inf)
    bend: Column = math.inf
    domain: tuple[Column, Column] = (-math.inf, math.inf)
    mirrored: bool = False
    small_arguments: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.period and not all(map(math.isfinite, (*self.steepness, *self.band))):
            raise ValueError(
                f"period: got {self.period} with steepness {self.steepness} and band {self.band}; give finite ones, "
                "which are all that is used of a wide interval"
            )

    def columns(self) -> Slots:
        """See :class:`Function`."""
        yield from super().columns()
        yield table.BEND, self.bend
        yield from zip((table.DOMAIN_LOW, table.DOMAIN_HIGH), self.domain, strict=True)

    def counts(self) -> dict[int, int]:
        """See :class:`Function`."""
        return {**super().counts(), table.MIRRORED: int(self.mirrored)}

    def numbers(self) -> dict[int, float]:
        """See :class:`Function`."""
        slots = table.FLATTEST, table.STEEPEST, table.DRIFT, table.BELOW, table.ABOVE
        own = {table.PERIOD: self.period, table.SMALL_ARGUMENTS: self.small_arguments}
        return {**own, **dict(zip(slots, (*self.steepness, *self.band), strict=True))}


@dataclass(frozen=True, eq=False, kw_only=True)
class Stepped(Function):
    """A function that jumps upwards, and is constant between the jumps: exact in floating point.

    Attributes
    ----------
    band : (drift, lo, hi)
        lo <= s(x) - drift x <= hi on the whole line, exactly; drift 0 or 1.
    """

    band: tuple[float, float, float]

    def columns(self) -> Slots:
        """See :class:`Function`."""
        yield from super().columns()
        yield table.BEND, math.inf

    def counts(self) -> dict[int, int]:
        """See :class:`Function`."""
        return {**super().counts(), table.STEPS: 1}

    def numbers(self) -> dict[int, float]:
        """See :class:`Function`."""
        band = dict(zip((table.DRIFT, table.BELOW, table.ABOVE), self.band, strict=True))
        return {**super().numbers(), table.FLATTEST: 0.0, **band}


_REGISTERED: list[Function] = []
_COMPLETE: set[int] = set()


def register(function: Function) -> int:
    """Add a row to the table; its code, by which kernels know it."""
    code = len(_REGISTERED)
    if code == table.ROWS.shape[0]:
        raise ValueError(f"function: the table is full, it holds {code} rows")
    _REGISTERED.append(function)
    row = table.ROWS[code]
    numbers = row.view(np.float64)
    for slot, count in function.counts().items():
        row[slot] = count
    for slot, value in function.numbers().items():
        numbers[slot] = value
    for slot, column in function.columns():
        row[slot] = column if isinstance(column, Parameter) else table.CONSTANT
        if not callable(column) and not isinstance(column, Parameter):
            numbers[slot + 1] = column
    return code


def complete(code: int) -> int:
    """``code``; the functions of its row are compiled, and in the table, before a kernel is called again."""
    if code not in _COMPLETE:
        _COMPLETE.add(code)
        before_next_call(lambda: _compile_columns(code))
    return code


def _compile_columns(code: int) -> None:
    function, row = _REGISTERED[code], table.ROWS[code]
    row[table.VALUE] = table.address(function.value, table.VALUE_SIGNATURE)
    row[table.SLOPE] = table.address(function.slope, table.SLOPE_SIGNATURE)
    for slot, column in function.columns():
        if callable(column):
            row[slot] = table.address(column, table.COLUMN_SIGNATURE)
