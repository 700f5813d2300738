"""Where compiled kernels are kept, and of which sources they are.

They are kept beside the kernels, in the user's cache, or else in a private folder for temporary files. A kernel's code holds that of
the helpers it calls, from whatever file: what was compiled is of all sources in this folder, and any change of one makes all stale.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from functools import cache
from pathlib import Path
from typing import Any


@cache
def source_stamp() -> str:
    """Hash of all kernels' sources."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def keep(dispatcher: Any) -> Any:
    """``dispatcher``, a function under Numba that nothing is compiled of yet, with its code kept on disk for these sources.

    Numba's own stamp is of the function's file alone: a helper that was changed in another one would go unnoticed, and a bound could be
    that of an older version.
    """
    dispatcher.enable_caching()
    file = dispatcher._cache._cache_file
    file._source_stamp = (*file._source_stamp, source_stamp())
    return dispatcher


def ensure_cache_folder() -> None:
    """Let Numba find a folder to keep compiled kernels in; it refuses to compile where it finds none.

    Numba's own choices are the variable NUMBA_CACHE_DIR, the folder of the source, and the user's cache. Where none of them can
    be written (a container with another user, an installation of root's without a home) a folder of this user's takes their place.
    """
    from numba import config

    if config.CACHE_DIR:
        return
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if _writable(Path(__file__).parent / "__pycache__") or _writable(Path(home) / "numba"):
        return
    config.CACHE_DIR = str(_private_folder())


def kernel_folder() -> Path:
    """Where compiled kernels are kept."""
    from numba import config

    if config.CACHE_DIR:
        return Path(config.CACHE_DIR)
    own = Path(__file__).parent / "__pycache__"
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return own if _writable(own) else Path(home) / "numba"


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
