"""One driver per output: an advisory lock that the operating system releases when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path

from distverify.errors import ResultError, argument

LOCK_NAME = "lock"
_MOST_TRIES = 100  # to make a folder that is gone again: some file systems (/proc) never take one
_PAUSE = 0.005  # seconds


class DriverLock:
    """The exclusive lock of a parts folder, held from construction until :meth:`release`.

    Parameters
    ----------
    folder : Path
        Created if missing.

    Raises
    ------
    ResultError
        If another driver holds it, or the file system cannot lock.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_NAME
        self._fd = self._acquire(folder)
        holder = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, holder.encode(), 0)

    def _acquire(self, folder: Path) -> int:
        tries = 0
        while True:
            try:
                folder.mkdir(exist_ok=True)
                fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except FileNotFoundError:
                tries += 1
                if not folder.parent.is_dir() or tries == _MOST_TRIES:
                    raise
                time.sleep(_PAUSE)
                continue  # the previous holder has just finished and removed the folder
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_current(fd):
                    return fd
                os.close(fd)  # the previous holder has removed the file in between
            except BlockingIOError as error:
                holder = os.pread(fd, 4096, 0)
                os.close(fd)
                raise ResultError(
                    f"{folder}: {_held_by(holder)}; wait for it, or choose another {argument('output')}"
                ) from error
            except OSError as error:
                os.close(fd)
                raise ResultError(
                    f"{folder}: its file system cannot lock files ({error.strerror}), so a second run on "
                    "the same output could not be kept out; choose one on a local disk, or mount the share "
                    "with locks (NFS: version 4, or a running lockd; Lustre: option flock)"
                ) from error

    def _is_current(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(fd))
        except FileNotFoundError:
            return False

    @property
    def held(self) -> bool:
        return self._fd >= 0

    def release(self) -> None:
        """Let others in; again is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _held_by(holder: bytes) -> str:
    try:
        data = json.loads(holder)
        return f"another run writes there (process {data['pid']} on {data['host']})"
    except (ValueError, KeyError, TypeError):
        return "another run writes there"
