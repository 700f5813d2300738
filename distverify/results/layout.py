"""What the virtual master and the finished file have in common: coordinates, attributes, dimension scales."""

from __future__ import annotations

import json
from datetime import datetime

import h5py
import numpy as np
from numpy.typing import NDArray

from distverify.results.manifest import Manifest
from distverify.results.schema import COORDINATES, Variable, attributes
from distverify.runtime.work import STATUS_MEANINGS


def write_coordinates(file: h5py.File, manifest: Manifest) -> None:
    """The coordinates as netCDF-style dimension scales; one without length (no eps given) is left out."""
    values: dict[str, NDArray[np.generic]] = {
        "sample": np.array(manifest.indices, dtype=np.int64),
        "output": np.arange(manifest.output_size, dtype=np.int64),
        "input": np.arange(manifest.input_size, dtype=np.int64),
        "eps": np.array(manifest.settings.eps, dtype=np.float64),
    }
    for variable in COORDINATES:
        if values[variable.name].size:
            dataset = file.create_dataset(variable.name, data=values[variable.name])
            dataset.make_scale(variable.name)
            dataset.attrs.update(attributes(variable))


def describe_dataset(file: h5py.File, variable: Variable) -> None:
    """Attach the dimension scales and the attributes of a dataset that exists."""
    dataset = file[variable.name]
    for axis, name in enumerate(variable.dims):
        dataset.dims[axis].attach_scale(file[name])
    dataset.attrs.update(attributes(variable))
    if variable.dtype == "float64":
        # Integers get none: xarray would turn a status into a float.
        dataset.attrs["_FillValue"] = np.array([variable.fill], dtype=np.float64)
    if variable.name == "status":
        dataset.attrs["flag_values"] = np.arange(len(STATUS_MEANINGS), dtype=np.int8)


def write_root(file: h5py.File, manifest: Manifest, end: datetime | None) -> None:
    """The root attributes; ``end`` is None while the run goes on."""
    file.attrs["Conventions"] = "CF-1.10"
    file.attrs["title"] = "Certification of a neural network by distverify"
    file.attrs["schema_version"] = np.int64(manifest.schema_version)
    file.attrs["distverify_version"] = manifest.distverify_version
    file.attrs["provenance"] = json.dumps(manifest.provenance(end))


def read_root(file: h5py.File) -> dict[str, object] | None:
    """The provenance of a file of ours, None for any other HDF5 file."""
    text = file.attrs.get("provenance")
    if "schema_version" not in file.attrs or not isinstance(text, str):
        return None
    try:
        data = json.loads(text)
    except ValueError:
        return None
    return data if isinstance(data, dict) and "run_id" in data else None
