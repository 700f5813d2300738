"""Shards: one immutable file per committed work unit. The folder listing of shards is a run's journal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from distverify.errors import ResultError
from distverify.results.blocks import Place, block_places, blocks
from distverify.results.files import create_variable, stored_dtype, write_atomically
from distverify.results.manifest import Manifest
from distverify.results.schema import Variable, encode_message, variables_for
from distverify.status import COMPUTED, OK, UNDECIDED, WITHOUT_VALUE
from distverify.work import Payload, WorkUnit

FINISHED = -1
_KEPT_BYTES = 1 << 18  # of a shard whose values stay in memory until it is merged


@dataclass(frozen=True, eq=False)
class Rows:
    """What the rows of a file are.

    Attributes
    ----------
    positions : int64 [rows]
        Of the samples in the run, increasing.
    attempts : int32 [rows]
        Of several rows for one sample the highest attempt counts.
    """

    positions: NDArray[np.int64]
    attempts: NDArray[np.int32]

    @classmethod
    def of(cls, unit: WorkUnit, attempt: int) -> Rows:
        """All samples of ``unit``, of one attempt."""
        return cls(np.arange(unit.start, unit.stop), np.full(unit.size, attempt, dtype=np.int32))

    @property
    def count(self) -> int:
        return len(self.positions)


@dataclass(frozen=True, eq=False)
class Shard:
    """A file with samples of the run.

    Attributes
    ----------
    path : Path
    rows : Rows
    level : int
        0: one unit, as it was committed. Above: so often were its rows merged from other files. FINISHED: the finished
        file of an earlier run whose failed samples are tried again, of attempt 0.
    values : dict name -> array, or None
        What a small file that was just written holds, to merge it without reading it.
    """

    path: Path
    rows: Rows
    level: int = 0
    values: Payload | None = None


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
    kept: Payload | None = {} if sum(v.nbytes for v in payload.values()) <= _KEPT_BYTES else None
    with write_atomically(path, path.with_name(path.name + ".tmp")) as (file, check):
        for name in sorted(variables):
            variable, values = variables[name], payload[name]
            dataset = create_variable(file, variable, values.shape)
            digest.update(name.encode())
            for where in block_places(values.shape, dataset.dtype.itemsize):
                block = _stored(variable, values[where], without_value[where[0]])
                dataset[where] = block
                digest.update(block.view(np.uint8).data)
                if kept is not None:  # so small, it is one block
                    kept[name] = block.copy()
                check()
        file.attrs["run_id"] = manifest.run_id
        file.attrs["unit"] = np.array([unit.start, unit.stop], dtype=np.int64)
        file.attrs["attempt"] = np.int64(attempt)
        file.attrs["checksum"] = digest.hexdigest()
    return Shard(path, Rows.of(unit, attempt), values=kept)


def checksum(
    file: h5py.File, names: Iterable[str], each: Callable[[str, Place, NDArray[np.generic]], None] | None = None
) -> str:
    """SHA-256 of these arrays of a file, in the order of their names; ``each`` sees every block: name, where, values."""
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(name.encode())
        for where, block in blocks(file[name], 0, len(file[name])):
            digest.update(np.ascontiguousarray(block).view(np.uint8).data)
            if each is not None:
                each(name, where, block)
    return digest.hexdigest()


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


def _listed(what: str, names: list[str]) -> str:
    return f"{what}: {', '.join(names)}; " if names else ""
