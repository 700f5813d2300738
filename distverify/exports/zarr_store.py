"""A result as a Zarr store, which xarray opens (``xarray.open_zarr``): the same arrays, dimensions and attributes."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distverify.errors import ResultError
from distverify.results.blocks import block_places
from distverify.results.files import chunk_shape
from distverify.results.reader import Result
from distverify.results.schema import all_variables, attributes

_DIMENSIONS = "_ARRAY_DIMENSIONS"  # by which xarray finds them in stores of version 2
_CHUNK_BYTES = 1 << 20


def write_zarr(path: Path, result: Result, names: Sequence[str] | None, rows: NDArray[np.int64]) -> list[str]:
    """Write a store of Zarr's version 2, which every version of Zarr reads; coordinates come along.

    Raises
    ------
    ResultError
        zarr is not installed.
    """
    try:
        zarr = importlib.import_module("zarr")
    except ImportError as error:
        raise ResultError("export: zarr is not installed; pip install zarr (or 'distverify[zarr]')") from error
    dims, sizes = result.dims, result.sizes | {"sample": len(rows)}
    chosen = list(dims) if names is None else list(dict.fromkeys(names))
    chosen += [axis for name in chosen for axis in dims[name] if axis not in chosen]
    chosen = list(dict.fromkeys(chosen))
    variables = {v.name: v for v in all_variables(result.settings)}
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    for name in chosen:
        shape = tuple(sizes[axis] for axis in dims[name])
        first = result.read(name, np.s_[:1])
        array = group.create_array(
            name, shape=shape, dtype=first.dtype if first.dtype.kind != "U" else "<U256",
            chunks=chunk_shape(shape, max(1, first.dtype.itemsize), _CHUNK_BYTES),
        )  # fmt: skip
        array.attrs.update(attributes(variables[name]) | {_DIMENSIONS: list(dims[name])})
        by_sample = dims[name][:1] == ("sample",)
        for first_rows, *rest in block_places(shape, max(1, first.dtype.itemsize)):
            place = (first_rows, *rest)
            if not by_sample:
                array[place] = result.read(name, place)
                continue
            wanted = rows[first_rows]
            order = np.argsort(wanted)
            block = np.empty((len(wanted), *(r.stop - r.start for r in rest)), array.dtype)
            block[order] = result.read(name, (wanted[order], *rest))
            array[place] = block
    told = {k: v for k, v in result.attrs.items() if isinstance(v, str | int | float)}
    group.attrs.update(told | {"provenance": json.dumps(result.provenance)})
    zarr.consolidate_metadata(group.store)
    return chosen
