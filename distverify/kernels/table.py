"""The activation table's memory: rows of columns that compiled kernels read by an activation's code.

The rows lie outside the compiled code, and the functions among their columns are called by address. So kernels are compiled once
for all activations, and one that nobody knew of when they were compiled is a row more.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from distverify.kernels.jit import at_start, f8, helper, i8, instruction, prepared

_WIDTH = 64
_SYMBOL = "distverify_activation_rows"
ROWS = np.zeros((128, _WIDTH), dtype=np.int64)


@at_start
def _share_rows() -> None:
    from llvmlite import binding

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
        from numba import cfunc

        made = cfunc(signature.make(), cache=True, error_model="numpy")(prepared(function))
        _COMPILED[function, signature] = made
    return int(_COMPILED[function, signature].address)


def _whole() -> Any:
    from llvmlite import ir

    return ir.IntType(64)


def _double() -> Any:
    from llvmlite import ir

    return ir.DoubleType()


def _load(builder: Any, arguments: Any, type_: Any) -> Any:
    from llvmlite import ir

    rows = builder.module.globals.get(_SYMBOL)
    if rows is None:
        rows = ir.GlobalVariable(builder.module, ir.IntType(64), _SYMBOL)
        rows.linkage = "external"
    place = builder.add(builder.mul(arguments[0], ir.Constant(ir.IntType(64), _WIDTH)), arguments[1])
    return builder.load(builder.gep(builder.bitcast(rows, type_.as_pointer()), [place]))


@instruction
def integer(typing, code, slot):
    """The integer in a slot of the row ``code``."""

    def generate(context, builder, signature, arguments):
        return _load(builder, arguments, _whole())

    return i8(i8, i8).make(), generate


@instruction
def number(typing, code, slot):
    """The number in a slot of the row ``code``."""

    def generate(context, builder, signature, arguments):
        return _load(builder, arguments, _double())

    return f8(i8, i8).make(), generate


def _call(builder: Any, arguments: Any, types: list[Any]) -> Any:
    from llvmlite import ir

    pointer = builder.inttoptr(arguments[0], ir.FunctionType(_double(), types).as_pointer())
    return builder.call(pointer, arguments[1:])


@instruction
def value(typing, code, x, p0, p1):
    """s(x) of the row ``code``."""

    def generate(context, builder, signature, arguments):
        place = _load(builder, [arguments[0], _whole()(VALUE)], _whole())
        return _call(builder, [place, *arguments[1:]], [_double()] * 3)

    return f8(i8, f8, f8, f8).make(), generate


@instruction
def slope_at(typing, code, x, side, p0, p1):
    """s'(x) of the row ``code``; at a kink the limit from the left (side < 0) or from the right."""

    def generate(context, builder, signature, arguments):
        place = _load(builder, [arguments[0], _whole()(SLOPE)], _whole())
        types = [_double(), _whole(), _double(), _double()]
        return _call(builder, [place, *arguments[1:]], types)

    return f8(i8, f8, i8, f8, f8).make(), generate


@instruction
def _call_column(typing, place, p0, p1):
    def generate(context, builder, signature, arguments):
        return _call(builder, arguments, [_double()] * 2)

    return f8(i8, f8, f8).make(), generate


@helper
def column(code, slot, p0, p1):
    """The column at ``slot`` of the row ``code``, for a neuron with parameters p0, p1."""
    kind = integer(code, slot)
    if kind == CONSTANT:
        return number(code, slot + 1)
    if kind == 0:
        return p0
    return p1 if kind == 1 else _call_column(kind, p0, p1)
