"""Option values as they are typed: lists of numbers, sets of names, amounts of memory. Each function raises a ValueError that
says what came and what to write.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path


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


def interval_or_file(text: str) -> tuple[float, float] | Path:
    """``LO,HI``, or the name of a file that holds a lower and an upper row."""
    path = Path(text)
    return path if path.suffix.lower() in (".npy", ".csv", ".txt") else interval(text)


def per_channel(text: str) -> float | tuple[float, ...]:
    """One number, or one for each channel."""
    values = numbers(text)
    return values[0] if len(values) == 1 else values


def per_feature(text: str) -> tuple[float, ...] | Path:
    """Numbers with commas between them, or the name of a file that holds one per feature."""
    path = Path(text)
    return path if path.suffix.lower() in (".npy", ".csv", ".txt") else numbers(text)


def perturbation(families: tuple[str, ...]) -> Callable[[str], str]:
    """A reader of one of ``families``, or of ``linear:FILE``."""

    def family(text: str) -> str:
        kind, colon, file = text.partition(":")
        if text in families or (kind == "linear" and colon and file):
            return text
        raise ValueError(f"got {text!r}; write {', '.join(families)}, or linear:FILE with a matrix")

    return family


def names(text: str) -> tuple[str, ...] | Path:
    """Names with commas between them, or the name of a .txt file with one in a line."""
    path = Path(text)
    return path if path.suffix.lower() == ".txt" else tuple(name.strip() for name in text.split(","))


def yes_or_no(text: str) -> bool:
    """``text`` as True or False."""
    if text not in ("yes", "no"):
        raise ValueError(f"got {text!r}; write yes or no")
    return text == "yes"


def at_least(least: int) -> Callable[[str], int]:
    """A reader of whole numbers from ``least`` on."""

    def whole(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise ValueError(f"got {text!r}; write a whole number of at least {least}")
        return value

    return whole


def share(text: str) -> float:
    """A number of at least 0 and below 1."""
    values = numbers(text)
    if len(values) != 1 or not 0.0 <= values[0] < 1.0:
        raise ValueError(f"got {text!r}; write a number of at least 0 and below 1")
    return values[0]


def labels(text: str) -> dict[str, str]:
    """``zone=a,gpu=none``: names with values."""
    found: dict[str, str] = {}
    for piece in text.split(","):
        name, equals, value = (word.strip() for word in piece.partition("="))
        if not (name and equals and value) or name in found:
            raise ValueError(f"got {text!r}; write NAME=VALUE, several with commas between, each name once")
        found[name] = value
    return found


def part_of(text: str) -> tuple[int, int]:
    """``I/N``: number and count of parts."""
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ValueError(f"got {text!r}; write I/N, such as 3/8 for the third of eight parts")
    return int(number), int(count)


def part(text: str) -> str:
    """``I/N`` as it is, once it is one."""
    part_of(text)
    return text


def some_of(choices: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """A reader of names out of ``choices``, with commas between them."""

    def names(text: str) -> tuple[str, ...]:
        listed = tuple(piece.strip() for piece in text.split(","))
        for name in listed:
            if name not in choices:
                raise ValueError(f"{name!r} is unknown; choose any of {', '.join(choices)}")
        return listed

    return names


def one_of(choices: tuple[str, ...], of_several: str = "") -> Callable[[str], str]:
    """A reader of one name out of ``choices``; ``of_several`` is said to those who write more than one."""

    def name(text: str) -> str:
        if text in choices:
            return text
        if "," in text and of_several:
            raise ValueError(f"got {text!r}; {of_several}")
        raise ValueError(f"{text!r} is unknown; choose one of {', '.join(choices)}")

    return name


def one_of_or_index(choices: tuple[str, ...]) -> Callable[[str], str | int]:
    """A reader of a name out of ``choices``, or of a class index from 0."""

    def value(text: str) -> str | int:
        if text in choices:
            return text
        if text.isdecimal():
            return int(text)
        raise ValueError(f"got {text!r}; choose {', '.join(choices)}, or a class index from 0")

    return value
