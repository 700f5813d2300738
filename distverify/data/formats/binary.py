"""Binary files of classic data sets, plain or gzipped: IDX (MNIST and its relatives), CIFAR-10 and CIFAR-100."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from distverify.data.array_source import AnyArray, ArraySource, Indices, Sources
from distverify.data.memory import check_expansion, check_memory
from distverify.errors import DataError

_GZIP = b"\x1f\x8b"
# The third byte of an IDX file: http://yann.lecun.com/exdb/mnist/ (the file formats at its end).
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_AXES = 8
_CIFAR_IMAGE = (3, 32, 32)
_CIFAR_BYTES = 3 * 32 * 32
# https://www.cs.toronto.edu/~kriz/cifar.html: bytes of labels before each image; the last of them is the class.
_CIFAR_LABELS = {1: 10, 2: 100}
_BLOCK = 2**24


def is_idx(path: Path) -> bool:
    """Whether the first bytes are those of an IDX file, gzipped or not."""
    try:
        with _open(path) as file:
            head = file.read(4)
    except (OSError, EOFError):
        return False
    return len(head) == 4 and head[:2] == b"\0\0" and head[2] in _IDX_TYPES and 1 <= head[3] <= _MOST_AXES


def idx_source(path: Path) -> ArraySource:
    """The array of an IDX file.

    Raises
    ------
    DataError
        Another length than the header declares.
    """
    with _open(path) as file:
        head = file.read(4)
        axes = file.read(4 * head[3])
    if len(axes) != 4 * head[3]:
        raise DataError(f"{path}: the file ends early; it is damaged")
    shape = tuple(int(n) for n in np.frombuffer(axes, ">u4"))
    return _source(path, 4 + len(axes), shape, np.dtype(_IDX_TYPES[head[2]]))


def open_idx(path: Path) -> Sources:
    """Images ``x``, and the labels ``y`` of the file beside it that has the usual name, if there is one."""
    found = {"x": idx_source(path)}
    twin = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    if twin != path:
        others = (twin, twin.with_name(twin.name + ".gz"), twin.with_name(twin.name.removesuffix(".gz")))
        there = next((file for file in others if file.is_file() and is_idx(file)), None)
        if there is not None:
            found["y"] = idx_source(there)
    return found


def open_cifar(path: Path) -> Sources:
    """Images ``x`` uint8 [N, 3, 32, 32] and classes ``y`` of a binary batch of CIFAR-10 or CIFAR-100.

    Raises
    ------
    DataError
        A length that is no multiple of their records, or labels that are no classes.
    """
    size = path.stat().st_size if not _zipped(path) else len(_unzipped(path))
    possible = [before for before in _CIFAR_LABELS if size and size % (before + _CIFAR_BYTES) == 0]
    for before in possible:
        records = _source(path, 0, (size // (before + _CIFAR_BYTES), before + _CIFAR_BYTES), np.dtype("u1"))
        labels = records.read(np.arange(records.shape[0]))[:, before - 1]
        if int(labels.max()) < _CIFAR_LABELS[before]:
            return {
                "x": ArraySource(
                    (len(labels), *_CIFAR_IMAGE), records.dtype, _images_of(records, before), layout="chw"
                ),
                "y": ArraySource(labels.shape, labels.dtype, labels.__getitem__),
            }
    raise DataError(
        f"{path}: is no batch of CIFAR-10 or CIFAR-100 in binary form ({size} bytes); its records have 3073 or 3074 bytes"
    )


def _images_of(records: ArraySource, before: int) -> Callable[[Indices], AnyArray]:
    def read(indices: Indices) -> AnyArray:
        return records.read(indices)[:, before:].reshape(-1, *_CIFAR_IMAGE)

    return read


def _source(path: Path, header: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> ArraySource:
    """An array that fills a file from ``header`` on."""
    needed = math.prod(shape) * dtype.itemsize
    zipped = _zipped(path)
    if not zipped and path.stat().st_size != header + needed:
        raise DataError(
            f"{path}: shape {shape} of {dtype} needs {needed} bytes, the file has {path.stat().st_size - header}; it is damaged"
        )

    def read(indices: Indices) -> AnyArray:
        if zipped:
            check_memory(str(path), needed)
            check_expansion(str(path), needed, path.stat().st_size)
            with _open(path) as file:
                content = file.read(header + needed + 1)
            if len(content) != header + needed:
                raise DataError(
                    f"{path}: shape {shape} of {dtype} needs {needed} bytes, the file has another length; it is damaged"
                )
            return np.frombuffer(content, dtype, offset=header).reshape(shape)[indices]
        check_memory(str(path), math.prod(shape[1:]) * dtype.itemsize * len(indices))
        if not needed:
            return np.empty((len(indices), *shape[1:]), dtype)
        return np.asarray(np.memmap(path, dtype, "r", header, shape)[indices])

    return ArraySource(shape, dtype, read)


def _unzipped(path: Path) -> bytes:
    """All of a gzip file whose length nobody declares."""
    parts: list[bytes] = []
    size = 0
    with _open(path) as file:
        while part := file.read(_BLOCK):
            size += len(part)
            check_memory(str(path), 2 * size)
            check_expansion(str(path), size, path.stat().st_size)
            parts.append(part)
    return b"".join(parts)


def _zipped(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def _open(path: Path) -> IO[bytes]:
    if _zipped(path):
        return gzip.open(path)  # type: ignore[return-value]  # it reads as others do
    return path.open("rb")
