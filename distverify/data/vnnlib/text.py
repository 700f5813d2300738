"""The text of a VNN-LIB file: its commands, as lists of words.

Nearly all of a file are declarations and bounds of single inputs. Those are found by one regular expression and never become
lists; what remains is read in general, within a budget.
"""

from __future__ import annotations

import gzip
import re
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

Expression: TypeAlias = "str | list[Expression]"

VARIABLE = re.compile(r"([XY])_(\d{1,8})")
NUMBER = re.compile(r"[+-]?(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,3})?")

LARGEST_FILE = 32 * 2**20
_DEEPEST = 64
_MOST_WORDS = 2**20
_SECONDS = 6.0  # of processor time; real files take milliseconds

_COMMENT = re.compile(r";[^\n]*")
_WORD = re.compile(r"[()]|[^\s()]+")
# (assert (<= X_0 0.5)) or (declare-const X_0 Real), wherever it stands: that it is no part of something else is seen by
# what is left in its place.
_SIMPLE = re.compile(
    r"\(\s*(?:assert\s*\(\s*(<=|>=)\s+(X_\d{1,8})\s+([+-]?[0-9.][0-9.eE+-]*)\s*\)\s*\)"
    r"|declare-const\s+([XY]_\d{1,8})\s+Real\s*\))"
)
_GROUPS = 4
_PLACE = "\0"
_PLACES = re.compile(r"(?:\0\s*)+")


class Unreadable(Exception):
    """What is wrong, without the file's name."""


class Budget:
    """Processor time for one file."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._end = time.thread_time() + seconds

    def check(self) -> None:
        """Give up when it is spent.

        Raises
        ------
        Unreadable
        """
        if time.thread_time() > self._end:
            raise Unreadable(f"takes longer than {self._seconds:g} s to read; give a simpler property")


@dataclass(frozen=True)
class Commands:
    """What a file says.

    Attributes
    ----------
    declared : set of str
        By simple declarations.
    sides, variables, numbers : list of str
        Of the bounds of single inputs: ``<=`` or ``>=``, the input, the number.
    others : iterator of list
        All other commands.
    budget : Budget
        That reading ``others`` takes from.
    """

    declared: set[str]
    sides: list[str]
    variables: list[str]
    numbers: list[str]
    others: Iterator[list[Expression]]
    budget: Budget


def read_text(path: Path) -> str:
    """The text of a file, plain or gzipped.

    Raises
    ------
    Unreadable
    """
    try:
        with path.open("rb") as raw:
            stream = gzip.GzipFile(fileobj=raw) if path.suffix.lower() == ".gz" else raw
            content = stream.read(LARGEST_FILE + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise Unreadable(f"cannot be read ({getattr(error, 'strerror', None) or error}); check the path") from None
    if len(content) > LARGEST_FILE:
        raise Unreadable(f"is larger than {LARGEST_FILE >> 20} MiB; give a smaller property")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("is no text file; give a VNN-LIB file") from None
    if _PLACE in text:
        raise Unreadable("is no text file; give a VNN-LIB file")
    return text


def read_commands(text: str) -> Commands:
    """The commands of a file; ``text`` without zero characters."""
    if ";" in text:
        text = _COMMENT.sub("", text)
    parts = _SIMPLE.split(text)
    step = _GROUPS + 1
    rest = _PLACES.sub(_PLACE + " ", f" {_PLACE} ".join(parts[::step]))
    sides, variables, numbers, declared = (parts[k::step] for k in range(1, step))
    budget = Budget()
    return Commands(
        set(filter(None, declared)), [s for s in sides if s], [v for v in variables if v], [n for n in numbers if n],
        _expressions(rest, budget), budget,
    )  # fmt: skip


def _expressions(text: str, budget: Budget) -> Iterator[list[Expression]]:
    """The top-level lists of a text, where a place stands for commands that are known."""
    stack: list[list[Expression]] = []
    for k, found in enumerate(_WORD.finditer(text)):
        word = found[0]
        if k >= _MOST_WORDS:
            raise Unreadable(f"has more than {_MOST_WORDS} words beside bounds of inputs; give a simpler property")
        if not k % 4096:
            budget.check()
        if word == "(":
            if len(stack) >= _DEEPEST:
                raise Unreadable(f"is nested deeper than {_DEEPEST} levels")
            stack.append([])
        elif word == ")":
            if not stack:
                raise Unreadable("has a closing parenthesis too many")
            done = stack.pop()
            if stack:
                stack[-1].append(done)
            else:
                yield done
        elif word == _PLACE:
            if stack:
                raise Unreadable("has a command within another one; give a VNN-LIB 1.0 file")
        elif stack:
            stack[-1].append(word)
        else:
            raise Unreadable(f"has {word[:40]!r} outside of any parenthesis; give a VNN-LIB 1.0 file")
    if stack:
        raise Unreadable("ends inside a parenthesis; it is cut off")
