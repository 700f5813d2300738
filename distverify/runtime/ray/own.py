"""A Ray of our own: its folder is nobody else's, and gone when the run has ended, however it ended; other machines do not reach it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

_PREFIX = "distverify-ray-"
_LOCK = "lock"
_SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_LONGEST_BASE = 24  # characters: sockets in the folder have paths of at most 107, of which Ray's own names take 75
_TRIES = 20  # to remove the folder while Ray's processes still end
_PAUSE = 0.1  # seconds


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that only this user can enter, for Ray's session, token and sockets; it goes with the context.

    What a killed run has left is removed as well: a lock, which the system opens when its holder ends, tells the two apart.
    """
    base = Path(tempfile.gettempdir())
    if len(str(base)) > _LONGEST_BASE and os.access("/tmp", os.W_OK | os.X_OK):
        base = Path("/tmp")
    for left in base.glob(f"{_PREFIX}*"):
        _remove_if_left(left)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))  # mode 0700; Ray gives everybody access to what is inside
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        for _ in range(_TRIES):
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(_PAUSE)
        os.close(lock)


@contextmanager
def on_loopback() -> Iterator[None]:
    """A Ray that is started in the context listens on this machine's loopback addresses only.

    That is what Ray does by default on macOS and Windows, by a switch that it reads when it starts; on Linux its processes would
    listen on all addresses. A user who has set the switch's variable has decided.
    """
    constants = import_module("ray._private.ray_constants")
    switch = "ENABLE_RAY_CLUSTER"
    before = getattr(constants, switch, None)
    if before is None or _SWITCH in os.environ:
        yield
        return
    setattr(constants, switch, False)
    try:
        yield
    finally:
        setattr(constants, switch, before)


def _remove_if_left(folder: Path) -> None:
    with suppress(OSError):
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
