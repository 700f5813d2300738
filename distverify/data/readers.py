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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from distverify.data.memory import check_memory
from distverify.errors import DataError

Indices = NDArray[np.int64]
AnyArray = NDArray[Any]


@dataclass(frozen=True)
class ArraySource:
    """An array that is not read yet.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
    read : callable (distinct indices int64 [n]) -> array [n, ...]
        Reads the chosen rows, in that order.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[Indices], AnyArray]

    def bytes(self, rows: int) -> int:
        """Memory for ``rows`` rows of this array."""
        return rows * math.prod(self.shape[1:]) * self.dtype.itemsize


Sources = Mapping[str, ArraySource]


@contextlib.contextmanager
def open_arrays(path: str | os.PathLike[str]) -> Iterator[Sources]:
    """The arrays ``x`` and (if there are labels) ``y`` of a data file, readable while the context is open.

    Parameters
    ----------
    path : str or path
        ``.npz``, ``.h5``, ``.hdf5`` or ``.csv``.

    Raises
    ------
    DataError
        No such file, an unknown kind of file, a damaged one, one without ``x``.
    """
    file = Path(path)
    opener = _OPENERS.get(file.suffix.lower())
    if opener is None:
        raise DataError(f"{path}: unknown kind of data file; give one of {', '.join(_OPENERS)}")
    try:
        mode = file.stat().st_mode
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}); check the path") from None
    if not stat.S_ISREG(mode):
        raise DataError(f"{path}: not a regular file; give a data file")
    try:
        with opener(file) as sources:
            yield sources
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
    declared = archive.getinfo(member).file_size - header
    if needed != declared:
        raise DataError(
            f"{what}: shape {shape} of {dtype} needs {needed} bytes, the file has {declared}; it is damaged"
        )

    def read(indices: Indices) -> AnyArray:
        check_memory(what, needed)
        with archive.open(member) as file:
            file.seek(header)
            content = file.read(needed)
        if len(content) != needed:
            raise DataError(f"{what}: the file ends early; it is damaged")
        array = np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
        return array[indices]

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
        order = np.argsort(indices)
        ascending = indices[order]
        rows = np.empty((len(indices), *dataset.shape[1:]), dataset.dtype)
        # One slice per run of neighbours: HDF5 reads those fast, and lists of points slowly.
        edges = [0, *(np.flatnonzero(np.diff(ascending) != 1) + 1).tolist(), len(indices)]
        for start, stop in itertools.pairwise(edges):
            rows[order[start:stop]] = dataset[int(ascending[start]) : int(ascending[stop - 1]) + 1]
        return rows

    source = ArraySource(dataset.shape, dataset.dtype, read)
    return source


# -- CSV ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _open_csv(path: Path) -> Iterator[Sources]:
    # A value takes at least two characters, and eight bytes once read.
    check_memory(str(path), 8 * path.stat().st_size)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path}: is no text file; give lines of numbers, the label first") from None
    rows = [line for line in lines if line.strip()]
    if rows and _is_header(rows[0]):
        del rows[0]
    if not rows:
        raise DataError(f"{path}: holds no line of numbers; give lines of numbers, the label first")
    try:
        table = np.loadtxt(rows, delimiter=",", comments=None, ndmin=2)
    except ValueError as error:
        raise DataError(f"{path}: is no table of numbers ({error}); give lines such as 7,0.1,0.2") from None
    if table.shape[1] < 2:
        raise DataError(f"{path}: has one column; give the label first, then the features, separated by commas")
    yield {"x": _in_memory(table[:, 1:]), "y": _in_memory(table[:, 0])}


def _is_header(line: str) -> bool:
    """Whether no field is a number; a line with some numbers is a damaged row, not to be passed over."""
    for value in line.split(","):
        with contextlib.suppress(ValueError):
            float(value)
            return False
    return True


def _in_memory(array: AnyArray) -> ArraySource:
    return ArraySource(array.shape, array.dtype, lambda indices: array[indices])


_OPENERS = {".npz": _open_npz, ".h5": _open_hdf5, ".hdf5": _open_hdf5, ".csv": _open_csv}
