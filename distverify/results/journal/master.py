"""The virtual master: the result file of a run that goes on, a view of what is committed when it is written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t

from distverify.results.digest import sign
from distverify.results.files import stored_dtype, stored_fill, write_atomically
from distverify.results.journal.coverage import Segment
from distverify.results.layout import describe_dataset, write_coordinates, write_root
from distverify.results.manifest import Manifest
from distverify.results.schema import Variable, variables_for

_SECONDS_PER_MAPPING = 25e-6  # measured: 18 with 2,000 segments, 27 with 100,000


def write_master(output: Path, parts: Path, manifest: Manifest, segments: Iterable[Segment]) -> None:
    """Replace ``output`` by a view of ``segments``.

    HDF5 finds the files next to the master, so both may be moved together. :func:`mapping_seconds` tells what it costs.

    Parameters
    ----------
    output, parts : Path
        The result and the folder of the shards, in one folder.
    manifest : Manifest
    segments : iterable of Segment
        Disjoint; samples outside of all read as fill values.

    Raises
    ------
    ResultError
        If the file cannot be written.
    """
    # HDF5 takes "%b" in the name of a source for a block number.
    folder = parts.name.replace("%", "%%")
    mapped = [(s.start, s.stop, s.row, s.shard.rows.count, f"{folder}/{s.shard.path.name}".encode()) for s in segments]
    with write_atomically(output, parts / "master.tmp") as (file, _):
        write_coordinates(file, manifest)
        for variable in variables_for(manifest.settings):
            _create_view(file, variable, manifest, mapped)
            describe_dataset(file, variable, manifest)
        write_root(file, manifest, end=None)
        sign(file)


def mapping_seconds(manifest: Manifest, segments: int) -> float:
    """About how much longer :func:`write_master` takes for so many segments more."""
    return segments * len(variables_for(manifest.settings)) * _SECONDS_PER_MAPPING


def _create_view(
    file: h5py.File, variable: Variable, manifest: Manifest, mapped: list[tuple[int, int, int, int, bytes]]
) -> None:
    """``h5py.File.create_virtual_dataset`` from its parts, which takes an eighth of the time."""
    dtype = stored_dtype(variable)
    shape = variable.shape(manifest.sizes)
    rest = shape[1:]
    zeros = (0,) * len(rest)
    properties = h5p.create(h5p.DATASET_CREATE)
    fill = stored_fill(variable)
    if fill is not None:
        properties.set_fill_value(np.asarray([fill], dtype=dtype))
    target = h5s.create_simple(shape)
    for start, stop, at, size, path in mapped:
        target.select_hyperslab((start, *zeros), (stop - start, *rest))
        source = h5s.create_simple((size, *rest))
        source.select_hyperslab((at, *zeros), (stop - start, *rest))
        properties.set_virtual(target, path, variable.name.encode(), source)
    target.select_all()
    h5d.create(file.id, variable.name.encode(), h5t.py_create(dtype, logical=True), target, properties)
