"""HDF5 files with arrays ``x`` and ``y``: no links, no values in other files."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from distverify.data.array_source import AnyArray, ArraySource, Indices, Sources
from distverify.data.formats.rows import require_x, runs
from distverify.data.memory import check_expansion, check_memory
from distverify.errors import DataError


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[Sources]:
    with h5py.File(path, "r") as file:
        yield {name: _hdf5_source(file, path, name) for name in require_x(path, list(file))}


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
        for start, stop in runs(ascending):
            rows[order[start:stop]] = dataset[int(ascending[start]) : int(ascending[stop - 1]) + 1]
        return rows

    source = ArraySource(dataset.shape, dataset.dtype, read)
    return source
