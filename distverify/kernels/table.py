"""The activation table's memory: rows of columns that compiled kernels read by an activation's code.

The rows lie outside the compiled code, and the functions among their columns are called by address. So kernels are compiled once
for all activations, and one that nobody knew of when they were compiled is a row more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import cfunc
from numba.extending import intrinsic

from distverify.kernels.jit import f8, helper, i8

_WIDTH = 64
_SYMBOL = "distverify_activation_rows"
ROWS = np.zeros((128, _WIDTH), dtype=np.int64)
binding.add_symbol(_SYMBOL, ROWS.ctypes.data)

# Slots of a row. Addresses of functions; counts;
VALUE, SLOPE, TURNS, PIECES = range(4)
# numbers;
PERIOD, FLATTEST, STEEPEST, DRIFT, BELOW, ABOVE, TURN_ERROR, SMALL_ARGUMENTS = range(4, 12)
# and columns, of two slots each: what kind, and a constant.
NOISE, NOISE_FAR, SLOPE_NOISE, SLOPE_NOISE_FAR = 12, 14, 16, 18
MAX_TURNS = 4
TURN, PIECE_SLOPE, PIECE_INTERCEPT, BEND, DOMAIN_LOW, DOMAIN_HIGH = 20, 28, 38, 48, 50, 52
# Two integers more.
MIRRORED, STEPS = 54, 55
# Kinds of columns besides the first parameter (0), the second (1), and the address of a function of both.
CONSTANT = -1

VALUE_SIGNATURE = f8(f8, f8, f8)
SLOPE_SIGNATURE = f8(f8, i8, f8, f8)
COLUMN_SIGNATURE = f8(f8, f8)

_COMPILED: dict[tuple[Any, Any], Any] = {}


def address(function: Any, signature: Any) -> int:
    """Of ``function`` as machine code, with the project's options; compiled once per installation, on first use."""
    if (function, signature) not in _COMPILED:
        _COMPILED[function, signature] = cfunc(signature, cache=True, error_model="numpy")(function)
    return int(_COMPILED[function, signature].address)


def _load(builder: Any, arguments: Any, type_: ir.Type) -> Any:
    rows = builder.module.globals.get(_SYMBOL)
    if rows is None:
        rows = ir.GlobalVariable(builder.module, ir.IntType(64), _SYMBOL)
        rows.linkage = "external"
    place = builder.add(builder.mul(arguments[0], ir.Constant(ir.IntType(64), _WIDTH)), arguments[1])
    return builder.load(builder.gep(builder.bitcast(rows, type_.as_pointer()), [place]))


@intrinsic
def integer(typing, code, slot):
    """The integer in a slot of the row ``code``."""

    def generate(context, builder, signature, arguments):
        return _load(builder, arguments, ir.IntType(64))

    return i8(i8, i8), generate


@intrinsic
def number(typing, code, slot):
    """The number in a slot of the row ``code``."""

    def generate(context, builder, signature, arguments):
        return _load(builder, arguments, ir.DoubleType())

    return f8(i8, i8), generate


def _call(builder: Any, arguments: Any, types: list[ir.Type]) -> Any:
    pointer = builder.inttoptr(arguments[0], ir.FunctionType(ir.DoubleType(), types).as_pointer())
    return builder.call(pointer, arguments[1:])


@intrinsic
def value(typing, code, x, p0, p1):
    """s(x) of the row ``code``."""

    def generate(context, builder, signature, arguments):
        place = _load(builder, [arguments[0], ir.Constant(ir.IntType(64), VALUE)], ir.IntType(64))
        return _call(builder, [place, *arguments[1:]], [ir.DoubleType()] * 3)

    return f8(i8, f8, f8, f8), generate


@intrinsic
def slope_at(typing, code, x, side, p0, p1):
    """s'(x) of the row ``code``; at a kink the limit from the left (side < 0) or from the right."""

    def generate(context, builder, signature, arguments):
        place = _load(builder, [arguments[0], ir.Constant(ir.IntType(64), SLOPE)], ir.IntType(64))
        types = [ir.DoubleType(), ir.IntType(64), ir.DoubleType(), ir.DoubleType()]
        return _call(builder, [place, *arguments[1:]], types)

    return f8(i8, f8, i8, f8, f8), generate


@intrinsic
def _call_column(typing, place, p0, p1):
    def generate(context, builder, signature, arguments):
        return _call(builder, arguments, [ir.DoubleType()] * 2)

    return f8(i8, f8, f8), generate


@helper
def column(code, slot, p0, p1):
    """The column at ``slot`` of the row ``code``, for a neuron with parameters p0, p1."""
    kind = integer(code, slot)
    if kind == CONSTANT:
        return number(code, slot + 1)
    if kind == 0:
        return p0
    return p1 if kind == 1 else _call_column(kind, p0, p1)
