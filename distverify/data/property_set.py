"""Which property files a run verifies: some files, or those that a VNN-COMP instance list names for the model."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distverify.data.selection import select_samples
from distverify.data.vnnlib.property import Property, digest, is_property_file, load_property
from distverify.errors import DataError

_NETWORKS = (".onnx", ".onnx.gz")
# Of the format, which newer lists begin their lines with.
_VERSION = re.compile(r"v?\d{1,3}(\.\d{1,3})*", re.IGNORECASE)
_LARGEST_LIST = 16 * 2**20
_LONGEST_LINE = 10_000
# A header and comments may come before the first instance.
_LINES_LOOKED_AT = 50


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
    time_limits : dict index -> float
        Seconds, of those that have one.
    """

    properties: tuple[Property, ...]
    indices: NDArray[np.int64]
    name: str
    time_limits: Mapping[int, float] = field(default_factory=dict)

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
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        return any(_instance(stream.readline(_LONGEST_LINE)) is not None for _ in range(_LINES_LOOKED_AT))


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
        Of an instance list, the lines count that name a network of ``model``'s file name; its time limits go with them.
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
    seconds: list[float | None] = [None] * len(files)
    if len(files) == 1 and is_instance_list(files[0]):
        listed = _listed(files[0], model)
        files, seconds = [file for file, _ in listed], [limit for _, limit in listed]
    other = [f for f in files if not is_property_file(f)]
    if other:
        kind = "an instance list, which stands alone" if is_instance_list(other[0]) else "no property file"
        raise DataError(f"{other[0]}: is {kind}; give .vnnlib files, or one data set, or one list")
    indices = select_samples(samples, len(files))
    chosen = tuple(load_property(files[i], input_size=input_size, output_size=output_size) for i in indices)
    return PropertySet(chosen, indices, name, {int(i): s for i in indices if (s := seconds[i]) is not None})


@dataclass(frozen=True)
class Instance:
    """A line of an instance list.

    Attributes
    ----------
    network, property : str
        Paths, from the list's folder.
    seconds : float or None
        Its time limit.
    """

    network: str
    property: str
    seconds: float | None


def read_instances(path: Path) -> list[tuple[int, Instance]]:
    """The lines of an instance list, each with its number; blank lines, comments and a header are passed over.

    Raises
    ------
    DataError
        A list that is too large, or a line that is no instance.
    """
    if path.stat().st_size > _LARGEST_LIST:
        raise DataError(f"{path}: is larger than {_LARGEST_LIST >> 20} MiB; no instance list is")
    instances: list[tuple[int, Instance]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        instance = _instance(text)
        if instance is not None:
            instances.append((number, instance))
        elif instances or ".onnx" in text or ".vnnlib" in text:
            raise DataError(
                f"{path}: line {number} is not NETWORK.onnx,PROPERTY.vnnlib,SECONDS (one network); mend or remove it"
            )
    return instances


def _instance(line: str) -> Instance | None:
    """``[v1,]NETWORK.onnx,PROPERTY.vnnlib[,SECONDS]``; None for another line."""
    if len(line) >= _LONGEST_LINE or line.lstrip().startswith("#"):
        return None
    fields = [field.strip().strip("\"'").strip() for field in line.split(",")]
    if len(fields) > 2 and _VERSION.fullmatch(fields[0]):
        del fields[0]
    if not (2 <= len(fields) <= 3 and fields[0].lower().endswith(_NETWORKS) and is_property_file(fields[1])):
        return None
    try:
        seconds = float(fields[2]) if len(fields) == 3 and fields[2] else None
    except ValueError:
        return None
    if seconds is not None and not seconds > 0.0:
        return None
    return Instance(fields[0], fields[1], seconds)


def _listed(path: Path, model: str) -> list[tuple[Path, float | None]]:
    """The property files that an instance list names for ``model``, in its folder or below, and their time limits."""
    folder = path.parent.resolve()
    files: list[tuple[Path, float | None]] = []
    networks = set()
    for number, instance in read_instances(path):
        name = Path(instance.network).name
        networks.add(name)
        if name.removesuffix(".gz") != model.removesuffix(".gz"):
            continue
        try:
            target = (folder / instance.property).resolve()
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: line {number} names no file ({error}); mend or remove it") from None
        if not target.is_relative_to(folder):
            raise DataError(f"{path}: line {number} names {instance.property}, which lies outside of the list's folder")
        compressed = target.with_name(target.name + ".gz")
        there = os.path.exists  # of a name that cannot be one, too
        found = compressed if not there(target) and there(compressed) else target
        files.append((found, instance.seconds))
    if not files:
        known = ", ".join(sorted(networks)[:5])
        raise DataError(f"{path}: names no property for {model} (networks there: {known}); give the model's own list")
    return files
