"""The folder of a run beside its result file: whose it is, and what in it is ours to remove."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from distverify.errors import ResultError, argument
from distverify.results.files import writing_failed
from distverify.results.journal.lock import LOCK_NAME, DriverLock
from distverify.results.journal.pieces import SUFFIX as PIECE
from distverify.results.journal.views import SUFFIX as VIEW

MANIFEST_NAME = "manifest.json"
_OURS = ("*.tmp", f"*{PIECE}.bad", f"*{PIECE}", f"*{VIEW}", "*.h5.bad", "*.h5", MANIFEST_NAME, LOCK_NAME)


def folder_of(output: Path) -> Path:
    """The folder of the run that writes ``output``."""
    return output.with_name(output.name + ".parts")


def lock_place(output: Path) -> DriverLock:
    """The lock of the folder, which is made if it is not there.

    Raises
    ------
    ResultError
        If the place cannot hold a result, or another driver holds it.
    """
    if output.is_dir():
        raise ResultError(
            f"{output}: is a folder; name the result file, for instance {argument('output', output / 'result.h5')}"
        )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        return DriverLock(folder_of(output))
    except (FileExistsError, NotADirectoryError) as error:
        raise ResultError(
            f"{error.filename}: is a file where a folder is needed; choose another {argument('output')}"
        ) from error
    except OSError as error:
        raise writing_failed(output, error) from error


def link_finished(output: Path, base: Path) -> None:
    """Give the finished file a second name among the shards, so that readers never miss it."""
    try:
        os.link(output, base)
    except OSError:  # no hard links here
        try:
            os.replace(output, base)
        except OSError as error:
            raise writing_failed(base, error) from error


def holds_nothing(folder: Path) -> bool:
    """Whether nothing is in it but our lock."""
    return [path.name for path in folder.iterdir()] == [LOCK_NAME]


def leave(folder: Path) -> None:
    """Remove a folder with nothing in it but our lock; one that somebody has removed is gone already."""
    with suppress(FileNotFoundError):
        if holds_nothing(folder):
            clear(folder)


def clear(folder: Path, *, keep_lock: bool = False) -> None:
    """Remove what is ours; a file of somebody else stays, and so does the folder then.

    Raises
    ------
    ResultError
        If something cannot be removed.
    """
    # In this order: shards without a manifest would be nobody's, and the lock guards all of it.
    names = [p for pattern in _OURS for p in folder.glob(pattern)]
    try:
        for path in names:
            if not (keep_lock and path.name == LOCK_NAME):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise ResultError(f"{folder}: cannot be removed ({error.strerror}); remove it by hand") from error
    if not keep_lock:
        with suppress(OSError):  # not empty: somebody's file, or the next driver's lock
            folder.rmdir()
