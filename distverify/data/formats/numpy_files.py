"""NumPy's files: ``.npz`` archives, and ``.npy`` files of one array."""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from distverify.data.array_source import AnyArray, ArraySource, Indices, Sources
from distverify.data.formats.rows import require_x, runs
from distverify.data.memory import check_expansion, check_memory
from distverify.errors import DataError


@contextlib.contextmanager
def open_npz(path: Path) -> Iterator[Sources]:
    with zipfile.ZipFile(path) as archive:
        names = [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]
        yield {name: _npz_source(archive, f"{path}: {name}", f"{name}.npy") for name in require_x(path, names)}


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
            for start, stop in runs(indices[order]):
                file.seek(header + row * int(indices[order[start]]))
                content = file.read(row * (stop - start))
                if len(content) != row * (stop - start):
                    raise DataError(f"{what}: the file ends early; it is damaged")
                rows[order[start:stop]] = np.frombuffer(content, np.uint8).reshape(stop - start, row)
            file.read(1)  # at its end the checksum is compared
        return rows.view(dtype).reshape(len(indices), *shape[1:])

    return ArraySource(shape, dtype, read)


def npy_source(path: Path) -> ArraySource:
    """The array of a ``.npy`` file, read by rows.

    Raises
    ------
    DataError
        Python objects, or another length than the header declares.
    """
    with path.open("rb") as file:
        shape, fortran, dtype = _npy_header(file, str(path))
        header = file.tell()
    needed, there = math.prod(shape) * dtype.itemsize, path.stat().st_size - header
    if needed != there:
        raise DataError(f"{path}: shape {shape} of {dtype} needs {needed} bytes, the file has {there}; it is damaged")

    def read(indices: Indices) -> AnyArray:
        check_memory(str(path), math.prod(shape[1:]) * dtype.itemsize * len(indices))
        if not needed:
            return np.empty((len(indices), *shape[1:]), dtype)
        mapped = np.memmap(path, dtype, "r", header, shape, order="F" if fortran else "C")
        return np.asarray(mapped[indices])

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
