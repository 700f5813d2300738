"""What is usable in the folder of a run: its listing is the journal, and every file in it is looked through."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from distverify.errors import ResultError
from distverify.results.files import open_to_read
from distverify.results.incomplete import lacking
from distverify.results.journal.packs import ATTEMPT, POSITION, pack_number
from distverify.results.journal.shards import FINISHED, Rows, Shard, checksum
from distverify.results.layout import read_root
from distverify.results.manifest import Manifest
from distverify.results.schema import variables_for
from distverify.work import WorkUnit

BASE_NAME = "finished.h5"
_SHARD = re.compile(r"(\d{8,})-(\d{8,})\.(\d+)\.h5")


Found = tuple[Shard, NDArray[np.int8], NDArray[np.bool_]]


def find_shards(folder: Path, manifest: Manifest, problems: list[str]) -> Iterator[Found]:
    """All usable shards and packs of a journal with their samples' status, and of which samples something is missing, one at a
    time: packs after what they hold.

    A file that is truncated, corrupted or of another run is moved aside (suffix ``.bad``), so that its
    samples are computed again, and told of in ``problems``. Every byte is read once (about 1 GB/s when the disk
    allows it).
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.endswith(".h5")]
    for name in sorted(names, key=_age):
        path = folder / name
        try:
            usable = _verified(path, manifest)
        except (ResultError, OSError, KeyError, ValueError, RuntimeError) as error:
            os.replace(path, path.with_name(path.name + ".bad"))
            reason = error if isinstance(error, ResultError) else f"damaged ({error})"
            problems.append(f"{path.name}: {reason}; moved aside as {path.name}.bad, its samples are computed again")
        else:
            yield usable


def _age(name: str) -> tuple[int, int, str]:
    number = pack_number(name)
    if number is not None:
        return 1, number, name
    match = _SHARD.fullmatch(name)
    return 0, int(match[3]) if match else 0, name


def _verified(path: Path, manifest: Manifest) -> Found:
    with open_to_read(path) as file:
        if path.name == BASE_NAME:
            shard = _verified_base(path, file, manifest)
        elif pack_number(path.name) is not None:
            shard = _verified_pack(path, file, manifest)
        else:
            shard = _verified_shard(path, file, manifest)
        status = np.asarray(file["status"][:], dtype=np.int8)
        return shard, status, lacking(status, file["message"].asstr()[:])


def _verified_base(path: Path, file: h5py.File, manifest: Manifest) -> Shard:
    provenance = read_root(file)
    if provenance is None or provenance["run_id"] != manifest.run_id:
        raise ResultError("foreign: it belongs to another run")
    _check_shapes(file, manifest.samples, manifest)
    return Shard(path, Rows.of(WorkUnit(0, manifest.samples), 0), FINISHED)


def _verified_shard(path: Path, file: h5py.File, manifest: Manifest) -> Shard:
    name = _SHARD.fullmatch(path.name)
    if name is None or file.attrs.get("run_id") != manifest.run_id:
        raise ResultError("foreign: it belongs to another run")
    unit, attempt = WorkUnit(int(name[1]), int(name[2])), int(name[3])
    if file.attrs["unit"].tolist() != [unit.start, unit.stop] or int(file.attrs["attempt"]) != attempt:
        raise ResultError("foreign: its header tells of another unit than its name")
    if not 0 <= unit.start < unit.stop <= manifest.samples:
        raise ResultError(f"foreign: {unit} of a run with {manifest.samples} samples")
    _check_shapes(file, unit.size, manifest)
    _check_sum(file, {v.name for v in variables_for(manifest.settings)})
    return Shard(path, Rows.of(unit, attempt))


def _verified_pack(path: Path, file: h5py.File, manifest: Manifest) -> Shard:
    if file.attrs.get("run_id") != manifest.run_id:
        raise ResultError("foreign: it belongs to another run")
    rows = Rows(np.asarray(file[POSITION][:], dtype=np.int64), np.asarray(file[ATTEMPT][:], dtype=np.int32))
    _check_shapes(file, rows.count, manifest)
    _check_sum(file, {POSITION, ATTEMPT, *(v.name for v in variables_for(manifest.settings))})
    return Shard(path, rows, int(file.attrs["level"]))


def _check_shapes(file: h5py.File, rows: int, manifest: Manifest) -> None:
    sizes = {**manifest.sizes, "sample": rows}
    for variable in variables_for(manifest.settings):
        dataset = file[variable.name]
        if dataset.shape != variable.shape(sizes) or dataset.dtype != np.dtype(variable.dtype):
            raise ResultError(f"foreign: {variable.name} is {dataset.dtype} {dataset.shape}")


def _check_sum(file: h5py.File, names: Iterable[str]) -> None:
    if file.attrs["checksum"] != checksum(file, names):
        raise ResultError("corrupted: the checksum does not match")
