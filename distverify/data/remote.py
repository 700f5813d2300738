"""Files elsewhere, by any URL that fsspec knows (s3://, gs://, https://, ...): copied once, to a folder of the user's cache.

A copy belongs to a URL and to what the store says of the file's version, so a file that was replaced is copied again. The
folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from distverify.errors import DataError

# A protocol, or a chain of them; a single letter would be a drive of Windows.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::[A-Za-z][A-Za-z0-9+.-]+)*://")
CACHE = "DISTVERIFY_CACHE"


def is_remote(path: object) -> bool:
    """Whether ``path`` is a URL."""
    return isinstance(path, str) and _URL.match(path) is not None


def cache_folder() -> Path:
    """Where copies are kept: DISTVERIFY_CACHE, else the folder distverify in the user's cache."""
    if own := os.environ.get(CACHE):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "distverify"


def local_copy(path: str | os.PathLike[str]) -> Path:
    """The file itself, or the copy of a file or folder elsewhere.

    Raises
    ------
    DataError
        fsspec or what it needs for the protocol is not installed; the file is not there, or cannot be read.
    """
    if not is_remote(path):
        return Path(path)
    url = str(path)
    try:
        core = importlib.import_module("fsspec.core")
    except ImportError as error:
        raise DataError(f"{url}: fsspec is not installed; pip install fsspec (or 'distverify[remote]')") from error
    try:
        system, place = core.url_to_fs(url)
        if "file" in (system.protocol if isinstance(system.protocol, tuple) else (system.protocol,)):
            return Path(place)
        return _copied(system, place, url)
    except ImportError as error:
        raise DataError(f"{url}: {str(error).rstrip('.')}; pip install it, or copy the file yourself") from error
    except FileNotFoundError:
        raise DataError(f"{url}: no such file; check the URL") from None
    except DataError:
        raise
    except Exception as error:  # of any kind: each store has its own
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(f"{url}: cannot be read ({reason}); check the URL and your rights") from error


def _copied(system: Any, place: str, url: str) -> Path:
    folder = bool(system.isdir(place))
    if folder:
        inside = system.find(place, detail=True)
        version = sorted((name, str(info.get("size")), str(system.ukey(name))) for name, info in inside.items())
    else:
        version = [(place, str(system.info(place).get("size")), str(system.ukey(place)))]
    key = hashlib.sha256(repr((url, version)).encode()).hexdigest()[:32]
    name = place.rstrip("/").rpartition("/")[2] or "data"
    kept = cache_folder() / key
    if (kept / name).exists():
        return kept / name
    kept.parent.mkdir(parents=True, exist_ok=True)
    # Whole or not at all: a copy that was interrupted must not be taken for the file.
    temporary = Path(tempfile.mkdtemp(prefix=".copying-", dir=kept.parent))
    try:
        system.get(place, str(temporary / name), recursive=folder)
        try:
            temporary.rename(kept)
        except OSError:
            if not (kept / name).exists():  # else another process has been faster
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return kept / name
