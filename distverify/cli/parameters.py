"""Option values as they are typed on the command line: lists of numbers, sets of names, targets."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from distverify.settings import COMPUTE, METHODS, TARGETS

T = TypeVar("T")
COMMAND_LINE = "distverify.command_line"  # key in click's meta dictionary


def numbers(text: str) -> tuple[float, ...]:
    """``0.005,0.01``: finite numbers with commas between them.

    Raises
    ------
    ValueError
        Naming the piece that is not a number.
    """
    values = []
    for piece in text.split(","):
        try:
            value = float(piece)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(f"{piece.strip()!r} in {text!r} is not a finite number; write numbers such as 0.005,0.01")
        values.append(value)
    return tuple(values)


def positive(text: str) -> float:
    """One finite number above 0."""
    values = numbers(text)
    if len(values) != 1 or not values[0] > 0:
        raise ValueError(f"got {text!r}; write one number above 0")
    return values[0]


def memory(text: str) -> int:
    """Bytes: a number with K, M, G or T (powers of 1000), such as 4G; a B may follow."""
    short = text.strip().upper().removesuffix("B")
    power = "KMGT".find(short[-1:]) + 1 if short else 0
    try:
        value = float(short[:-1] if power else short) * 1000.0**power
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 1.0):
        raise ValueError(f"got {text!r}; write an amount of memory such as 4G or 500M")
    return int(value)


def radii(text: str) -> tuple[float, ...]:
    """Numbers, or ``logspace:START:STOP:COUNT``: COUNT radii, 10**START to 10**STOP (numpy.logspace)."""
    kind, colon, rest = text.partition(":")
    if not colon:
        return numbers(text)
    parts = rest.split(":")
    remedy = "write logspace:START:STOP:COUNT, such as logspace:-3:-1:20 for 20 radii from 0.001 to 0.1"
    if kind != "logspace" or len(parts) != 3:
        raise ValueError(f"got {text!r}; {remedy}")
    try:
        start, stop, count = float(parts[0]), float(parts[1]), int(parts[2])
    except ValueError:
        raise ValueError(f"{rest!r} is not two exponents and a whole number; {remedy}") from None
    if count < 1 or not all(abs(e) <= 300 for e in (start, stop)):
        raise ValueError(f"{rest!r} is out of range: COUNT starts at 1, exponents lie within -300 and 300; {remedy}")
    import numpy as np  # not at the top: `--help` and `--version` must not wait for it

    return tuple(float(v) for v in np.logspace(start, stop, count))


def interval(text: str) -> tuple[float, float]:
    """``LO,HI`` with LO < HI."""
    values = numbers(text)
    if len(values) != 2 or not values[0] < values[1]:
        raise ValueError(f"got {text!r}; write LO,HI with LO < HI, such as 0,1")
    return values[0], values[1]


def per_channel(text: str) -> float | tuple[float, ...]:
    """One number, or one for each channel."""
    values = numbers(text)
    return values[0] if len(values) == 1 else values


def computed(text: str) -> tuple[str, ...]:
    """Names out of :data:`distverify.settings.COMPUTE`, with commas between them."""
    names = tuple(piece.strip() for piece in text.split(","))
    for name in names:
        if name not in COMPUTE:
            raise ValueError(f"{name!r} is unknown; choose any of {', '.join(COMPUTE)}")
    return names


def method(text: str) -> str:
    """A name out of :data:`distverify.settings.METHODS`."""
    if text in METHODS:
        return text
    if "," in text:
        raise ValueError(f"got {text!r}; a result file holds one method: run once for each, with its own -o")
    raise ValueError(f"{text!r} is unknown; choose one of {', '.join(METHODS)}")


def per_feature(text: str) -> tuple[float, ...]:
    """Numbers with commas between them, or the name of a file that holds one per feature."""
    if Path(text).suffix.lower() in (".npy", ".csv", ".txt"):
        from distverify.data.vector import load_vector

        return tuple(load_vector(text).tolist())
    return numbers(text)


def target(text: str) -> str | int:
    """A rule out of :data:`distverify.settings.TARGETS`, or a class index from 0."""
    if text in TARGETS:
        return text
    if text.isdecimal():
        return int(text)
    raise ValueError(f"got {text!r}; choose {', '.join(TARGETS)}, or a class index from 0")


def option_value(
    parse: Callable[[str], T],
) -> Callable[[click.Context, click.Parameter, str | None], T | None]:
    """A click callback made of one of the functions above; its ValueError becomes the usage error's text."""

    def callback(ctx: click.Context, param: click.Parameter, value: str | None) -> T | None:
        if value is None:
            return None
        try:
            return parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from error

    return callback


def command_line(ctx: click.Context) -> str | None:
    """The command as it was typed, for the result's provenance."""
    typed = ctx.meta.get(COMMAND_LINE)
    return None if typed is None else str(typed)
