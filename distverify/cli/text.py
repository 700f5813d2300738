"""How numbers, times and foreign text are written."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """``0.42 s``, ``42 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def per_second(rate: float) -> str:
    """A speed: ``20/s``, ``2.1/s``, ``0.05/s``; slow ones as ``0.5/min`` or ``12/h``."""
    if rate >= 10:
        return f"{rate:,.0f}/s"
    if rate >= 0.05:
        return f"{rate:.2g}/s"
    return f"{60 * rate:.2g}/min" if rate >= 1 / 120 else f"{3600 * rate:.2g}/h"


def count(number: int, noun: str) -> str:
    """``1 sample``, ``2 samples``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def significant(value: float | None) -> str:
    """Four significant digits; a dash where there is no value."""
    return "-" if value is None else f"{value:.4g}"


def printable(text: str) -> str:
    """``text`` without control characters: names and messages out of files must not steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
