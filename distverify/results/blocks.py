"""Arrays of any size, read in blocks of bounded memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import h5py
import numpy as np
from numpy.typing import NDArray

from distverify.results.files import chunk_shape

_BLOCK_BYTES = 1 << 25
Place = tuple[slice, ...]


def blocks(dataset: h5py.Dataset, start: int, stop: int) -> Iterator[tuple[Place, NDArray[np.generic]]]:
    """The rows ``start:stop`` in blocks of bounded memory, however long one row is: where, and the values."""
    for rows, *rest in block_places((stop - start, *dataset.shape[1:]), dataset.dtype.itemsize):
        where = (slice(start + rows.start, start + rows.stop), *rest)
        yield where, dataset[where]


def block_places(shape: tuple[int, ...], itemsize: int, limit: int = _BLOCK_BYTES) -> Iterator[Place]:
    """Places that cover an array once, in C order, each whole along the last axes and within ``limit`` bytes."""
    steps = chunk_shape(shape, itemsize, limit)
    ranges = [range(0, length, step) for length, step in zip(shape, steps, strict=True)]
    for corner in itertools.product(*ranges):
        yield tuple(slice(at, min(at + step, n)) for at, step, n in zip(corner, steps, shape, strict=True))
