"""Which property files a run verifies: some files, or those that a VNN-COMP instance list names for the model."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distverify.data.selection import select_samples
from distverify.data.vnnlib import Property, digest, is_property_file, load_property
from distverify.errors import DataError

_INSTANCE = re.compile(r"[^,]+\.onnx(\.gz)?\s*,\s*[^,]+\.vnnlib(\.gz)?\s*(,[^,]*)?", re.IGNORECASE)
_LARGEST_LIST = 16 * 2**20


@dataclass(frozen=True, eq=False)
class PropertySet:
    """The selected properties.

    Attributes
    ----------
    properties : tuple of Property
    indices : int64 [N]
        Each one's place among the files that were named.
    name : str
        For people.
    """

    properties: tuple[Property, ...]
    indices: NDArray[np.int64]
    name: str

    @property
    def names(self) -> tuple[str, ...]:
        """The files' names."""
        return tuple(p.name for p in self.properties)

    def centres(self, input_size: int) -> NDArray[np.float64]:
        """A point of each property's first box, float64 [N, inputs]; zeros where there is none."""
        points = np.zeros((len(self.properties), input_size))
        for point, item in zip(points, self.properties, strict=True):
            for case in item.cases[:1]:
                point[:] = np.clip(0.5 * case.lower + 0.5 * case.upper, case.lower, case.upper)
        return points

    @property
    def digest(self) -> str:
        """SHA-256 of everything that the properties say."""
        return digest(self.properties)


def is_instance_list(path: str | os.PathLike[str]) -> bool:
    """Whether a .csv file is a VNN-COMP instance list: lines of network, property and time limit."""
    file = Path(path)
    if file.suffix.lower() != ".csv" or not file.is_file():
        return False
    with file.open(encoding="utf-8", errors="replace") as stream:
        return _INSTANCE.fullmatch(stream.readline(10_000).strip()) is not None


def load_properties(
    paths: Sequence[str | os.PathLike[str]],
    *,
    model: str,
    input_size: int,
    output_size: int,
    samples: str | None = None,
) -> PropertySet:
    """Read the chosen property files.

    Parameters
    ----------
    paths : property files, or one VNN-COMP ``instances.csv``
        Of an instance list, the lines count that name a network of ``model``'s file name; its time limits are not used.
    model : str
        The model's file name.
    input_size, output_size : int
    samples : str, optional
        Which of the files, such as "0:100" or "3,7"; all without it.

    Raises
    ------
    DataError
        Files that cannot be read or do not fit the model; see :func:`distverify.data.vnnlib.load_property`.
    """
    files = [Path(p) for p in paths]
    name = files[0].name if len(files) == 1 else f"{len(files)} properties"
    if len(files) == 1 and is_instance_list(files[0]):
        files = _listed(files[0], model)
    other = [f for f in files if not is_property_file(f)]
    if other:
        raise DataError(f"{other[0]}: is no property file; give .vnnlib files, or one data set")
    indices = select_samples(samples, len(files))
    chosen = tuple(load_property(files[i], input_size=input_size, output_size=output_size) for i in indices)
    return PropertySet(chosen, indices, name)


def _listed(path: Path, model: str) -> list[Path]:
    """The property files that an instance list names for ``model``, in its folder or below."""
    if path.stat().st_size > _LARGEST_LIST:
        raise DataError(f"{path}: is larger than {_LARGEST_LIST >> 20} MiB; no instance list is")
    folder = path.parent.resolve()
    lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    found, networks = [], set()
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        if _INSTANCE.fullmatch(line) is None:
            raise DataError(f"{path}: line {number} is not NETWORK.onnx,PROPERTY.vnnlib,SECONDS; mend or remove it")
        network, file = (piece.strip() for piece in line.split(",")[:2])
        networks.add(Path(network).name)
        if Path(network).name.removesuffix(".gz") != model.removesuffix(".gz"):
            continue
        target = (folder / file).resolve()
        if not target.is_relative_to(folder):
            raise DataError(f"{path}: line {number} names {file}, which lies outside of the list's folder")
        compressed = target.with_name(target.name + ".gz")
        found.append(compressed if not target.exists() and compressed.exists() else target)
    if not found:
        known = ", ".join(sorted(networks)[:5])
        raise DataError(f"{path}: names no property for {model} (networks there: {known}); give the model's own list")
    return found
