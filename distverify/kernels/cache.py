"""Where compiled kernels are kept: beside the kernels, in the user's cache, or else in a private folder for temporary files."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from numba import config


def ensure_cache_folder() -> None:
    """Let Numba find a folder to keep compiled kernels in; it refuses to compile where it finds none.

    Numba's own choices are the variable NUMBA_CACHE_DIR, the folder of the source, and the user's cache. Where none of them can
    be written (a container with another user, an installation of root's without a home) a folder of this user's takes their place.
    """
    if config.CACHE_DIR:
        return
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if _writable(Path(__file__).parent / "__pycache__") or _writable(Path(home) / "numba"):
        return
    config.CACHE_DIR = str(_private_folder())


def _writable(folder: Path) -> bool:
    """Whether files can be made in ``folder``, or it can be made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _private_folder() -> Path:
    """The user's own, kept from run to run; Numba unpickles what it finds, so it must not be another user's."""
    folder = Path(tempfile.gettempdir()) / f"distverify-numba-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="distverify-numba-"))
