"""What is at the place of a result: nothing, a result of ours, or something that is not ours to touch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from distverify.errors import ResultError
from distverify.results.files import open_to_read
from distverify.results.layout import read_feature_eps, read_root
from distverify.results.manifest import Manifest
from distverify.results.schema import SCHEMA_VERSION
from distverify.status import FAILED, TIMED_OUT


@dataclass(frozen=True, eq=False)
class Existing:
    """A result file of ours.

    Attributes
    ----------
    manifest : Manifest
        Without its plan.
    finished : bool
        False: the virtual master of a run that goes on or was interrupted.
    status : int8 [samples]
        Of a finished result, else empty.
    """

    manifest: Manifest
    finished: bool
    status: NDArray[np.int8]

    @property
    def failed(self) -> int:
        """Samples that a retry would compute again."""
        return int(((self.status == FAILED) | (self.status == TIMED_OUT)).sum())


def identify(output: Path) -> Existing | None:
    """The result at ``output``, or None if nothing is there.

    Raises
    ------
    ResultError
        If something else is there: it is not touched unless the user asks for it.
    """
    if not output.exists():
        return None
    try:
        with open_checked(output) as file:
            return _existing(output, file)
    except ResultError as error:
        raise ResultError(
            f"{error}; it is left alone: choose another output (-o), or replace it (--overwrite)"
        ) from error


def open_checked(path: Path) -> h5py.File:
    """Open a result file of ours, finished or not.

    Raises
    ------
    ResultError
        If it is missing, not readable, truncated, not HDF5, not ours, or of a newer version.
    """
    if not path.exists():
        raise ResultError(f"{path}: no such file; check the name")
    if path.is_dir():
        raise ResultError(f"{path}: is a folder, not a result file; name the .h5 file in it")
    try:
        file = open_to_read(path)
    except OSError as error:
        raise ResultError(f"{path}: {_reason(str(error))}") from error
    try:
        version = file.attrs.get("schema_version")
        if version is None or read_root(file) is None:
            raise ResultError(
                f"{path}: an HDF5 file, but not a result of distverify; give what distverify certify has written"
            )
        if int(version) > SCHEMA_VERSION:
            raise ResultError(
                f"{path}: has schema version {int(version)}, this distverify reads up to {SCHEMA_VERSION}; "
                "upgrade distverify"
            )
    except BaseException:
        file.close()
        raise
    return file


def shards_missing(path: Path, file: h5py.File) -> Path | None:
    """The folder that the virtual master ``file`` at ``path`` looks into, if it is not there; None for a finished file."""
    status = file["status"]
    sources = status.virtual_sources() if status.is_virtual else []
    # As HDF5 does: beside the file itself, not beside a link to it; "%%" stands for "%".
    folders = {path.resolve().parent / Path(s.file_name.replace("%%", "%")).parent for s in sources}
    return next((folder for folder in sorted(folders) if not folder.is_dir()), None)


def _reason(message: str) -> str:
    if "truncated file" in message:
        return "a truncated HDF5 file (an incomplete copy?); copy it again, or compute it afresh"
    if "signature not found" in message:
        return "not an HDF5 file; give a result that distverify certify has written"
    if "unable to lock file" in message:
        return (
            "locked by another program, or on a network file system without locks; close it there, "
            "or set HDF5_USE_FILE_LOCKING=FALSE in the environment"
        )
    if "ermission denied" in message:
        return "cannot be read (permission denied); ask its owner, or copy it"
    return f"cannot be opened ({message})"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn errors of reading data (a damaged block, a truncated shard behind the master) to a ResultError."""
    try:
        yield
    except OSError as error:
        raise ResultError(
            f"{path}: damaged, a block cannot be read ({error}); run the same command again to continue an "
            "interrupted run, which replaces damaged parts, or compute a finished result afresh"
        ) from error


def _existing(path: Path, file: h5py.File) -> Existing:
    provenance = read_root(file)
    assert provenance is not None  # open_checked has looked
    finished = provenance["end"] is not None
    with reading(path):
        manifest = Manifest.from_provenance(provenance, tuple(file["sample"][:].tolist()), read_feature_eps(file))
        # The master shows damaged shards too; they are found one by one when the journal is read.
        status = np.asarray(file["status"][:] if finished else [], dtype=np.int8)
    return Existing(manifest, finished, status)
