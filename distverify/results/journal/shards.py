"""Shards: one immutable file per committed work unit. The folder listing of shards is a run's journal."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from distverify.errors import ResultError
from distverify.results.files import chunk_shape, create_variable, open_to_read, stored_dtype, write_atomically
from distverify.results.layout import read_root
from distverify.results.manifest import Manifest
from distverify.results.schema import Variable, encode_message, variables_for
from distverify.status import COMPUTED, OK, UNDECIDED, WITHOUT_VALUE
from distverify.work import Payload, WorkUnit

BASE_NAME = "finished.h5"
_NAME = re.compile(r"(\d{8,})-(\d{8,})\.(\d+)\.h5")
_BLOCK_BYTES = 1 << 25


@dataclass(frozen=True)
class Shard:
    """A file with the samples ``unit``; of several with the same sample the highest attempt counts.

    The finished file of an earlier run whose failed samples are tried again is the shard of attempt 0.
    """

    path: Path
    unit: WorkUnit
    attempt: int


def shard_name(unit: WorkUnit, attempt: int) -> str:
    """File name of a shard; it sorts by position."""
    return f"{unit.start:08d}-{unit.stop:08d}.{attempt}.h5"


def write_shard(folder: Path, unit: WorkUnit, attempt: int, payload: Payload, manifest: Manifest) -> Shard:
    """Write one shard: after return it survives a power cut, before it does not exist.

    Raises
    ------
    ResultError
        If the payload does not fit the manifest, or the file cannot be written.
    """
    variables = _checked(unit, payload, manifest)
    without_value = np.isin(payload["status"], WITHOUT_VALUE)
    path = folder / shard_name(unit, attempt)
    digest = hashlib.sha256()
    with write_atomically(path, path.with_name(path.name + ".tmp")) as (file, check):
        for name in sorted(variables):
            variable, values = variables[name], payload[name]
            dataset = create_variable(file, variable, values.shape)
            digest.update(name.encode())
            for where in block_places(values.shape, dataset.dtype.itemsize):
                block = _stored(variable, values[where], without_value[where[0]])
                dataset[where] = block
                digest.update(block.view(np.uint8).data)
                check()
        file.attrs["run_id"] = manifest.run_id
        file.attrs["unit"] = np.array([unit.start, unit.stop], dtype=np.int64)
        file.attrs["attempt"] = np.int64(attempt)
        file.attrs["checksum"] = digest.hexdigest()
    return Shard(path, unit, attempt)


def find_shards(folder: Path, manifest: Manifest, problems: list[str]) -> Iterator[tuple[Shard, NDArray[np.int8]]]:
    """All usable shards of a journal with their samples' status, oldest attempt first, one at a time.

    A file that is truncated, corrupted or of another run is moved aside (suffix ``.bad``), so that its
    samples are computed again, and told of in ``problems``. Every byte is read once (about 1 GB/s when the disk
    allows it).
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.endswith(".h5")]
    for name in sorted(names, key=_age):
        path = folder / name
        try:
            found = _verified(path, manifest)
        except (ResultError, OSError, KeyError, ValueError, RuntimeError) as error:
            os.replace(path, path.with_name(path.name + ".bad"))
            reason = error if isinstance(error, ResultError) else f"damaged ({error})"
            problems.append(f"{path.name}: {reason}; moved aside as {path.name}.bad, its samples are computed again")
        else:
            yield found


def _age(name: str) -> tuple[int, int, int]:
    match = _NAME.fullmatch(name)
    return (int(match[3]), int(match[1]), int(match[2])) if match else (0, 0, 0)


def blocks(dataset: h5py.Dataset, start: int, stop: int) -> Iterator[tuple[tuple[slice, ...], NDArray[np.generic]]]:
    """The rows ``start:stop`` in blocks of bounded memory, however long one row is: where, and the values."""
    for rows, *rest in block_places((stop - start, *dataset.shape[1:]), dataset.dtype.itemsize):
        where = (slice(start + rows.start, start + rows.stop), *rest)
        yield where, dataset[where]


def block_places(shape: tuple[int, ...], itemsize: int, limit: int = _BLOCK_BYTES) -> Iterator[tuple[slice, ...]]:
    """Places that cover an array once, in C order, each whole along the last axes and within ``limit`` bytes."""
    steps = chunk_shape(shape, itemsize, limit)
    ranges = [range(0, length, step) for length, step in zip(shape, steps, strict=True)]
    for corner in itertools.product(*ranges):
        yield tuple(slice(at, min(at + step, n)) for at, step, n in zip(corner, steps, shape, strict=True))


def _checked(unit: WorkUnit, payload: Payload, manifest: Manifest) -> dict[str, Variable]:
    """The variables by name, after a look that the payload holds exactly these, in their shapes and dtypes."""
    variables = {v.name: v for v in variables_for(manifest.settings)}
    if not 0 <= unit.start < unit.stop <= manifest.samples:
        raise ResultError(f"unit: got {unit}, outside of the run's {manifest.samples} samples")
    if set(payload) != set(variables):
        missing, unknown = sorted(set(variables) - set(payload)), sorted(set(payload) - set(variables))
        raise ResultError(
            f"payload of {unit}: {_listed('missing', missing)}{_listed('not of this run', unknown)}"
            "a payload holds exactly what the settings ask for"
        )
    sizes = {**manifest.sizes, "sample": unit.size}
    for name, array in payload.items():
        _check_array(unit, variables[name], array, sizes)
    status = payload["status"].astype(np.int8)
    if not np.isin(status, (*COMPUTED, *WITHOUT_VALUE)).all():
        raise ResultError(f"payload of {unit}: status must be {OK} to {UNDECIDED}, got {sorted(set(status.tolist()))}")
    return variables


def _check_array(unit: WorkUnit, variable: Variable, values: NDArray[np.generic], sizes: Mapping[str, int]) -> None:
    if values.shape != variable.shape(sizes):
        raise ResultError(
            f"payload of {unit}: {variable.name} has shape {values.shape}, expected {variable.shape(sizes)} "
            f"({', '.join(variable.dims)})"
        )
    if variable.dtype[0] != "S" and not np.can_cast(values.dtype, variable.dtype, "same_kind"):
        raise ResultError(f"payload of {unit}: {variable.name} has dtype {values.dtype}, expected {variable.dtype}")


def _stored(variable: Variable, values: NDArray[np.generic], without_value: NDArray[np.bool_]) -> NDArray[np.generic]:
    """A block of ``values`` as it is stored, C order; copied only where something changes."""
    if variable.dtype[0] == "S":
        return np.array([encode_message(str(text)) for text in values], dtype=stored_dtype(variable))
    block = np.ascontiguousarray(values, dtype=variable.dtype)
    # Workers have no NaN for integers.
    if variable.dtype.startswith("int") and variable.name not in ("label", "status") and without_value.any():
        block = block.copy()
        block[without_value] = variable.fill
    return block


def _verified(path: Path, manifest: Manifest) -> tuple[Shard, NDArray[np.int8]]:
    with open_to_read(path) as file:
        verified = _verified_base if path.name == BASE_NAME else _verified_shard
        return verified(path, file, manifest), np.asarray(file["status"][:], dtype=np.int8)


def _verified_base(path: Path, file: h5py.File, manifest: Manifest) -> Shard:
    provenance = read_root(file)
    if provenance is None or provenance["run_id"] != manifest.run_id:
        raise ResultError("foreign: it belongs to another run")
    unit = WorkUnit(0, manifest.samples)
    _check_shapes(file, unit, manifest)
    return Shard(path, unit, 0)


def _verified_shard(path: Path, file: h5py.File, manifest: Manifest) -> Shard:
    name = _NAME.fullmatch(path.name)
    if name is None or file.attrs.get("run_id") != manifest.run_id:
        raise ResultError("foreign: it belongs to another run")
    unit, attempt = WorkUnit(int(name[1]), int(name[2])), int(name[3])
    if file.attrs["unit"].tolist() != [unit.start, unit.stop] or int(file.attrs["attempt"]) != attempt:
        raise ResultError("foreign: its header tells of another unit than its name")
    if not 0 <= unit.start < unit.stop <= manifest.samples:
        raise ResultError(f"foreign: {unit} of a run with {manifest.samples} samples")
    _check_shapes(file, unit, manifest)
    names = sorted(v.name for v in variables_for(manifest.settings))
    if file.attrs["checksum"] != _checksum((n, (b for _, b in blocks(file[n], 0, unit.size))) for n in names):
        raise ResultError("corrupted: the checksum does not match")
    return Shard(path, unit, attempt)


def _check_shapes(file: h5py.File, unit: WorkUnit, manifest: Manifest) -> None:
    sizes = {**manifest.sizes, "sample": unit.size}
    for variable in variables_for(manifest.settings):
        dataset = file[variable.name]
        if dataset.shape != variable.shape(sizes) or dataset.dtype != np.dtype(variable.dtype):
            raise ResultError(f"foreign: {variable.name} is {dataset.dtype} {dataset.shape}")


def _checksum(arrays: Iterable[tuple[str, Iterable[NDArray[np.generic]]]]) -> str:
    digest = hashlib.sha256()
    for name, parts in arrays:
        digest.update(name.encode())
        for part in parts:
            digest.update(np.ascontiguousarray(part).view(np.uint8).data)
    return digest.hexdigest()


def _listed(what: str, names: list[str]) -> str:
    return f"{what}: {', '.join(names)}; " if names else ""
