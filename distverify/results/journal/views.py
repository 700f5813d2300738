"""Views: the masters of a run, present and past, as long as a program may read through one.

A program that has opened the master of a run goes on reading through it when a newer one has taken its place, and what HDF5
does not find then, it fills without a word. So no file goes that an open view maps. Every program that opens a view holds
HDF5's lock on it (``flock``, shared; on by default); who gets the exclusive one knows that nobody reads.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import suppress
from pathlib import Path

SUFFIX = ".view"
_NAME = re.compile(r"(\d{8,})\.view")
_POLL_SECONDS = 0.02


class Views:
    """The past masters of the run whose files are in ``folder``, each by a second name of its own.

    Parameters
    ----------
    output, folder : Path
        Of the run. What an earlier driver left in the folder counts.
    """

    def __init__(self, output: Path, folder: Path) -> None:
        self._output = output
        self._folder = folder
        with os.scandir(folder) as entries:
            self._numbers = {int(match[1]) for entry in entries if (match := _NAME.fullmatch(entry.name))}
        self.latest = max(self._numbers, default=0)

    def keep(self) -> None:
        """Give the master at its place a second name, for it is about to be replaced.

        Without hard links on this disk it gets none: readers of past views are then not waited for.
        """
        if len(self._past()) == len(self._numbers):
            with suppress(OSError):
                os.link(self._output, self._path(self.latest + 1))
                self.latest += 1
                self._numbers.add(self.latest)

    def release(self, patience: float = 0.0) -> bool:
        """End the past views that nobody has open, waiting up to ``patience`` seconds for the others; True if all did."""
        deadline = time.monotonic() + patience
        while True:
            for number in self._past():
                if _end(self._path(number)):
                    self._numbers.remove(number)
            if not self._past():
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)

    def unread(self, patience: float = 0.0) -> bool:
        """Whether nobody has the present view open, after waiting up to ``patience`` seconds."""
        deadline = time.monotonic() + patience
        while not _lockable(self._output):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    @property
    def oldest(self) -> int | None:
        """The number of the oldest past view that is still open; None where none is."""
        return min(self._past(), default=None)

    def put_back(self) -> None:
        """Give the latest view its place again, from which it was taken."""
        with suppress(OSError):
            os.link(self._path(self.latest), self._output)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08d}{SUFFIX}"

    def _past(self) -> list[int]:
        return [number for number in sorted(self._numbers) if not self._is_current(number)]

    def _is_current(self, number: int) -> bool:
        try:
            return os.path.samefile(self._path(number), self._output)
        except FileNotFoundError:
            return False


def _lockable(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # it is not there, or nobody may read it
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks on this disk
        return True
    finally:
        os.close(fd)
    return True


def _end(path: Path) -> bool:
    """Remove a view, unless somebody has it open."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink == 1:
            os.ftruncate(fd, 0)  # for who has opened it already, and not locked it yet
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    path.unlink(missing_ok=True)
    return True
