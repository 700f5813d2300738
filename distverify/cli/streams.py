"""Standard streams that cannot do harm: closed, on a full disk, or with a reader that has gone."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO, cast


def open_missing() -> None:
    """Put the null device where a standard stream is closed; else the next file that is opened would take its place."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    if sys.stdout is None:
        sys.stdout = _writer(1)
    if sys.stderr is None:
        sys.stderr = _writer(2)


def keep_apart(aside: int) -> None:
    """Let only this program's own text reach stderr; what libraries in C write there goes to the descriptor ``aside``."""
    sys.stderr.flush()
    sys.stderr = _writer(os.dup(2))
    os.dup2(aside, 2)


def tolerate_losses() -> None:
    """From now on text that stdout or stderr do not take is dropped: a run's results are in its file, and it goes on."""
    sys.stdout, sys.stderr = (cast("TextIO", _Tolerant(stream)) for stream in (sys.stdout, sys.stderr))


class _Tolerant:
    """A text stream that drops what cannot be written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._drop()

    def _drop(self) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())  # also for what is still in the buffer
        os.close(null)
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _writer(number: int) -> TextIO:
    return open(number, "w", buffering=1, errors="backslashreplace", closefd=False)  # lives as long as we do
