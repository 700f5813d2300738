"""Standard streams that cannot do harm: closed, on a full disk, or with a reader that has gone."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any, TextIO, cast

from distverify.errors import ResultError


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


def tell_losses() -> None:
    """From now on text that stdout does not take is an error of ours, for it is what a command is given for; not that its reader has gone.

    What stderr does not take is dropped: the exit status says it too.
    """
    sys.stdout, sys.stderr = cast("TextIO", _Telling(sys.stdout)), cast("TextIO", _Tolerant(sys.stderr))


class _Tolerant:
    """A text stream that drops what cannot be written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())  # also for what is still in the buffer
        os.close(null)
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Telling(_Tolerant):
    """The same, but what cannot be written is an error, unless nobody reads it."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lost: ResultError | None = None

    def write(self, text: str) -> int:
        if self._lost is not None:  # whoever only tried whether one can write here has not told
            raise self._lost
        return super().write(text)

    def _drop(self, error: OSError) -> None:
        super()._drop(error)
        if error.errno != errno.EPIPE:
            self._lost = ResultError(
                f"stdout: cannot be written ({error.strerror or error}); make room, or write to another place"
            )
            raise self._lost


def _writer(number: int) -> TextIO:
    return open(number, "w", buffering=1, errors="backslashreplace", closefd=False)  # lives as long as we do
