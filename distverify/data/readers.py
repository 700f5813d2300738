"""Arrays in data files that nobody vouches for. Shapes and types are known before any value is read.

No pickles, no links out of the file, and no memory for what a file merely declares.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from distverify.data.array_source import AnyArray, ArraySource, Indices, Sources
from distverify.data.csv_table import open_csv
from distverify.data.memory import check_expansion, check_memory
from distverify.errors import DataError


@contextlib.contextmanager
def open_arrays(path: str | os.PathLike[str], *, input_size: int, labels: bool = True) -> Iterator[Sources]:
    """The arrays ``x`` and (if there are labels) ``y`` of a data file, readable while the context is open.

    Parameters
    ----------
    path : str or path
        ``.npz``, ``.h5``, ``.hdf5`` or ``.csv``.
    input_size : int
        The model's: by it the columns of a table are told apart.
    labels : bool
        Whether ``y`` is wanted.

    Raises
    ------
    DataError
        No such file, an unknown kind of file, a damaged one, one without ``x``.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix not in _KINDS:
        raise DataError(f"{path}: unknown kind of data file; give one of {', '.join(_KINDS)}")
    try:
        mode = file.stat().st_mode
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}); check the path") from None
    if not stat.S_ISREG(mode):
        raise DataError(f"{path}: not a regular file; give a data file")
    try:
        table = suffix not in _BINARY
        opened = open_csv(file, input_size=input_size, labels=labels) if table else _BINARY[suffix](file)
        with opened as sources:
            yield {name: source for name, source in sources.items() if name == "x" or labels}
    except DataError:
        raise
    # What the libraries raise on damaged files, while opening or while reading.
    except (
        OSError,
        EOFError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        reason = str(error).strip("'\"") or type(error).__name__
        raise DataError(f"{path}: cannot be read ({reason}); the file is damaged, or no {file.suffix} file") from None


def _runs(ascending: Indices) -> Iterator[tuple[int, int]]:
    """Where runs of neighbours begin and end among ascending indices."""
    edges = [0, *(np.flatnonzero(np.diff(ascending) != 1) + 1).tolist(), len(ascending)]
    return itertools.pairwise(edges)


def _require_x(path: Path, names: list[str]) -> list[str]:
    """Those of "x" and "y" that are there."""
    if "x" not in names:
        found = ", ".join(sorted(names)[:20]) or "none"
        raise DataError(f"{path}: has no array x (found: {found}); store inputs as x [N, ...], labels as y [N]")
    return [name for name in ("x", "y") if name in names]


# -- npz ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _open_npz(path: Path) -> Iterator[Sources]:
    with zipfile.ZipFile(path) as archive:
        names = [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]
        yield {name: _npz_source(archive, f"{path}: {name}", f"{name}.npy") for name in _require_x(path, names)}


def _npz_source(archive: zipfile.ZipFile, what: str, member: str) -> ArraySource:
    with archive.open(member) as file:
        shape, fortran, dtype = _npy_header(file, what)
        header = file.tell()
    needed = math.prod(shape) * dtype.itemsize
    entry = archive.getinfo(member)
    declared = entry.file_size - header
    if needed != declared:
        raise DataError(
            f"{what}: shape {shape} of {dtype} needs {needed} bytes, the file has {declared}; it is damaged"
        )

    def whole(indices: Indices) -> AnyArray:
        check_memory(what, needed)
        check_expansion(what, needed, entry.compress_size)
        with archive.open(member) as file:
            file.seek(header)
            content = file.read(needed)
        if len(content) != needed:
            raise DataError(f"{what}: the file ends early; it is damaged")
        return np.frombuffer(content, dtype).reshape(shape, order="F")[indices]

    def read(indices: Indices) -> AnyArray:
        if (fortran and len(shape) > 1) or not shape or not len(indices):
            return whole(indices)
        row = needed // shape[0]
        check_memory(what, 2 * row * len(indices))
        check_expansion(what, row * (int(indices.max()) + 1), entry.compress_size)
        rows = np.empty((len(indices), row), np.uint8)
        order = np.argsort(indices)
        with archive.open(member) as file:
            for start, stop in _runs(indices[order]):
                file.seek(header + row * int(indices[order[start]]))
                content = file.read(row * (stop - start))
                if len(content) != row * (stop - start):
                    raise DataError(f"{what}: the file ends early; it is damaged")
                rows[order[start:stop]] = np.frombuffer(content, np.uint8).reshape(stop - start, row)
            file.read(1)  # at its end the checksum is compared
        return rows.view(dtype).reshape(len(indices), *shape[1:])

    return ArraySource(shape, dtype, read)


def _npy_header(file: IO[bytes], what: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(file)
        if version not in readers:
            raise DataError(f"{what}: .npy format {version[0]}.{version[1]} is not supported; store plain numbers")
        shape, fortran, dtype = readers[version](file)
    except ValueError as error:
        raise DataError(f"{what}: is no NumPy array ({error}); the file is damaged") from None
    if dtype.hasobject:
        raise DataError(f"{what}: holds Python objects (a pickle), which are never read; store plain numbers")
    if any(d < 0 for d in shape):
        raise DataError(f"{what}: declares shape {shape}; the file is damaged")
    return shape, fortran, dtype


# -- HDF5 --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _open_hdf5(path: Path) -> Iterator[Sources]:
    with h5py.File(path, "r") as file:
        yield {name: _hdf5_source(file, path, name) for name in _require_x(path, list(file))}


def _hdf5_source(file: h5py.File, path: Path, name: str) -> ArraySource:
    what = f"{path}: {name}"
    # Looked at before it is followed: a link may lead to any file that this user can read.
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise DataError(f"{what}: is a link, which is not followed; store the array itself")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise DataError(f"{what}: is no array; store the numbers as a dataset of that name")
    if dataset.external or dataset.is_virtual:
        raise DataError(f"{what}: its values lie in other files, which are not read; store them in this one")
    chunk = math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize

    def read(indices: Indices) -> AnyArray:
        check_memory(what, chunk + source.bytes(len(indices)))
        check_expansion(what, chunk + source.bytes(len(indices)), dataset.id.get_storage_size())
        order = np.argsort(indices)
        ascending = indices[order]
        rows = np.empty((len(indices), *dataset.shape[1:]), dataset.dtype)
        # One slice per run of neighbours: HDF5 reads those fast, and lists of points slowly.
        for start, stop in _runs(ascending):
            rows[order[start:stop]] = dataset[int(ascending[start]) : int(ascending[stop - 1]) + 1]
        return rows

    source = ArraySource(dataset.shape, dataset.dtype, read)
    return source


_BINARY = {".npz": _open_npz, ".h5": _open_hdf5, ".hdf5": _open_hdf5}
_KINDS = (*_BINARY, ".csv")
