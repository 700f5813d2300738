"""Opening HDF5 files to read, and writing whole ones that appear at once or not at all."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from distverify.errors import ResultError
from distverify.results.schema import Variable

# Readable by netCDF-C, PyTables and xarray; "latest" is not.
_LIBVER = ("v110", "v110")
# Holds what describes all arrays of a usual result.
_PAGE_BYTES = 1 << 16
_READ_BYTES = 1 << 18
# Below HDF5's chunk cache, so that neighbouring units can fill one chunk without reading it back from disk.
_CHUNK_BYTES = 1 << 18


def open_to_read(path: Path) -> h5py.File:
    """Open as other programs do by default: with HDF5's lock, which tells the driver of a run that its view is in use;
    without it on disks that have no locks.

    Raises
    ------
    OSError
        As h5py does.
    """
    try:
        return h5py.File(path, "r", page_buf_size=_READ_BYTES)
    except OSError as error:
        # A lock that is not to be had; or somebody in this process has the file open without.
        if "lock" not in str(error):
            raise
        return h5py.File(path, "r", locking=False, page_buf_size=_READ_BYTES)


@contextmanager
def write_atomically(
    path: Path, temporary: Path, paged: bool = False
) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """A new HDF5 file that takes its place at ``path`` when the block ends well; until then ``path`` is
    untouched.

    Parameters
    ----------
    path, temporary : Path
        On one file system; ``temporary`` is removed when the block fails.
    paged : bool
        Metadata in pages of its own, which a reader far away fetches with a few reads.

    Yields
    ------
    file : h5py.File
    check : callable () -> None
        Raises the ResultError below as soon as something could not be written; for long writers, to stop
        early.

    Raises
    ------
    ResultError
        If the file cannot be written (disk full, quota, permission, input/output error).
    """
    try:
        sink = _Sink(temporary)
    except OSError as error:
        raise writing_failed(path, error) from error

    def check() -> None:
        if sink.error is not None:
            raise writing_failed(path, sink.error) from sink.error

    try:
        try:
            paging = {"fs_strategy": "page", "fs_page_size": _PAGE_BYTES} if paged else {}
            with h5py.File(sink, "w", libver=_LIBVER, **paging) as file:
                yield file, check
        except Exception:
            check()  # whatever HDF5 said after a failed write, the write is the reason
            raise
        check()
        try:
            sink.sync()
            os.replace(temporary, path)
            sync_folder(path.parent)
        except OSError as error:
            raise writing_failed(path, error) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        sink.close()


@contextmanager
def write_bytes_atomically(path: Path) -> Iterator[Callable[[bytes | memoryview], object]]:
    """What writes to a new file of any format, with the same guarantees as :func:`write_atomically`.

    Raises
    ------
    ResultError
        If the file cannot be written; nothing of it is left then.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with io.BufferedWriter(io.FileIO(temporary, "w")) as file:
            yield file.write
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise writing_failed(path, error) from error
        raise


def write_text_atomically(path: Path, text: str) -> None:
    """Write a small text file with the same guarantees as :func:`write_atomically`."""
    with write_bytes_atomically(path) as write:
        write(text.encode())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to; it takes the name ``path`` when the block ends well.

    For what is made from results, not for results themselves: nothing is forced to the disk.

    Raises
    ------
    ResultError
        If the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise ResultError(
            f"{path}: cannot be written ({error.strerror or error}); choose another place, or make room"
        ) from error
    finally:
        with suppress(OSError):
            shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()


def writing_failed(path: Path, error: OSError) -> ResultError:
    """The error for ``path``, with its cause and the way out."""
    return ResultError(
        f"{path}: cannot be written ({error.strerror or error}); everything committed before is kept: "
        "make room or repair the folder, then run the same command to continue"
    )


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def stored_dtype(variable: Variable) -> np.dtype[Any]:
    """The h5py dtype of ``variable``."""
    dtype = np.dtype(variable.dtype)
    return h5py.string_dtype("utf-8", dtype.itemsize) if dtype.kind == "S" else dtype


def stored_fill(variable: Variable) -> float | int | None:
    """The HDF5 fill value of ``variable``; None is HDF5's own, for text the empty one."""
    return None if isinstance(variable.fill, bytes) else variable.fill


def create_variable(file: h5py.File, variable: Variable, shape: tuple[int, ...]) -> h5py.Dataset:
    """An empty, chunked, checksummed dataset; text is also compressed, for it is mostly padding."""
    dtype = stored_dtype(variable)
    return file.create_dataset(
        variable.name,
        shape=shape,
        dtype=dtype,
        chunks=chunk_shape(shape, dtype.itemsize),
        fillvalue=stored_fill(variable),
        fletcher32=True,
        compression="gzip" if dtype.kind == "S" else None,
    )


def chunk_shape(shape: tuple[int, ...], itemsize: int, limit: int = _CHUNK_BYTES) -> tuple[int, ...]:
    """The largest block within ``limit`` bytes that is whole along the last axes: a matrix stays together."""
    chunk: list[int] = []
    room = max(1, limit // itemsize)
    for length in reversed(shape):
        chunk.append(max(1, min(length, room)))
        room = max(1, room // chunk[-1])
    return tuple(reversed(chunk))


class _Sink:
    """A file for h5py that keeps the first error of a write instead of raising it.

    HDF5 2.0 crashes the process (segmentation fault) when it closes a file after a failed write, for instance
    on a full disk. So HDF5 is let to finish into nothing, and the caller looks at ``error`` afterwards.
    """

    def __init__(self, path: Path) -> None:
        self._file = io.FileIO(path, "w+")
        self.error: OSError | None = None

    def read(self, size: int = -1) -> bytes | None:
        return self._file.read(size)

    def readinto(self, buffer: bytearray) -> int | None:
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def truncate(self, size: int | None = None) -> int:
        if self.error is None:
            try:
                self._file.truncate(size)
            except OSError as error:
                self.error = error
        return size or 0

    def write(self, data: bytes | memoryview) -> int:
        view = memoryview(data)
        rest = view
        while self.error is None and rest:
            try:
                rest = rest[self._file.write(rest) :]
            except OSError as error:
                self.error = error
        return len(view)

    def flush(self) -> None:
        """Nothing is buffered here."""

    def sync(self) -> None:
        """Everything is on the disk after return."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
