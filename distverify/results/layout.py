"""What the virtual master and the finished file have in common: coordinates, attributes, dimension scales."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from distverify.errors import SettingsError
from distverify.network.normalisation import channel_layout
from distverify.options.option import default_text
from distverify.results.manifest import Manifest
from distverify.results.schema import (
    AXIS_NAMES,
    COORDINATES,
    FEATURE_EPS,
    IMAGE_AXES,
    MESSAGE_BYTES,
    PERTURBATION,
    PROPERTY_NAME,
    Variable,
    attributes,
    encode_message,
    in_norm,
)  # fmt: skip

ROOT = (
    "Conventions",
    "title",
    "schema_version",
    "distverify_version",
    "provenance",
    "history",
    "source",
    "references",
)  # attributes of ours
_TOLD_BYTES = 1_000  # of each of the others
_REFERENCES = (
    "Zhang, Zhang, Hsieh (2019), RecurJac, arXiv:1810.11783; Zhang et al. (2018), CROWN, arXiv:1811.00866; Weng et al. (2018), Fast-Lin "
    "and Fast-Lip, arXiv:1804.09699; docs/MATH.md of distverify"
)
# What is told of a sample whatever became of it.
_STANDING_ALONE = ("status", "message", "label", "property")
_ATTRIBUTE_BYTES = 59_000  # HDF5 takes 64 KB for all attributes of the root together
_UNITS_BYTES = 16_000  # an attribute of a variable, beside others
_UNIT = re.compile(r"\[([^\[\]]*)\]\s*$")  # the last brackets of a name
_EPS_COMMENT = {
    "raw": "in units of the data, after scaling and before mean and std",
    "normalised": "in units of the normalised data, after mean and std",
}


def write_coordinates(file: h5py.File, manifest: Manifest) -> None:
    """The coordinates as netCDF-style dimension scales; one without length (no eps given) is left out."""
    values: dict[str, NDArray[np.generic]] = {
        "sample": np.array(manifest.indices, dtype=np.int64),
        "output": np.arange(manifest.output_size, dtype=np.int64),
        "input": np.arange(manifest.input_size, dtype=np.int64),
        "feature": np.arange(manifest.features, dtype=np.int64),
        "eps": np.array(manifest.settings.eps, dtype=np.float64),
    }
    for variable in COORDINATES:
        if values[variable.name].size:
            dataset = file.create_dataset(variable.name, data=values[variable.name])
            dataset.make_scale(variable.name)
            dataset.attrs.update(attributes(variable))
            if variable.name == "eps":
                dataset.attrs["comment"] = _EPS_COMMENT[manifest.settings.eps_units]
                dataset.attrs["norm"] = default_text(manifest.settings.norm)
    if manifest.settings.feature_eps is not None:
        file.create_dataset(FEATURE_EPS.name, data=np.array(manifest.settings.feature_eps))
        describe_dataset(file, FEATURE_EPS, manifest)
    if manifest.settings.family == "linear":
        file.create_dataset(PERTURBATION.name, data=np.array(manifest.settings.perturbation))
        describe_dataset(file, PERTURBATION, manifest)
    if manifest.names:
        _write_names(file, PROPERTY_NAME, manifest.names, manifest)
    for axis, places in _image_axes(manifest).items():
        file.create_dataset(IMAGE_AXES[axis].name, data=places)
        describe_dataset(file, IMAGE_AXES[axis], manifest)
    for axis, names in manifest.axis_names.items():
        _write_names(file, AXIS_NAMES[axis], names, manifest)
        units = [match[1] if (match := _UNIT.search(name)) else "" for name in names]
        text = json.dumps(units, ensure_ascii=False)
        if any(units) and len(text.encode()) <= _UNITS_BYTES:
            file[AXIS_NAMES[axis].name].attrs["units_of_each"] = text


def _image_axes(manifest: Manifest) -> dict[str, NDArray[np.int64]]:
    """Where each input stands in the image that the network takes; empty where it takes none, or nothing tells."""
    inputs = manifest.environment.get("inputs", {})
    shape = tuple(int(n) for n in inputs.get("shape", ()))
    if len(shape) not in (2, 3) or math.prod(shape) != manifest.input_size:
        return {}
    axes: tuple[str, ...] = ("row", "column")
    if len(shape) == 3:
        try:
            layout = channel_layout(shape, inputs.get("model_layout"))
        except SettingsError:
            return {}
        axes = ("channel", *axes) if layout == "chw" else (*axes, "channel")
    places = np.unravel_index(np.arange(manifest.input_size), shape)
    return dict(zip(axes, (np.asarray(place, dtype=np.int64) for place in places), strict=True))


def _write_names(file: h5py.File, variable: Variable, names: Sequence[str], manifest: Manifest) -> None:
    values = np.array([encode_message(name) for name in names], dtype=variable.dtype)
    file.create_dataset(variable.name, data=values.astype(h5py.string_dtype("utf-8", MESSAGE_BYTES)))
    describe_dataset(file, variable, manifest)


def describe_dataset(file: h5py.File, variable: Variable, manifest: Manifest) -> None:
    """Attach the dimension scales and the attributes of a dataset that exists."""
    dataset = file[variable.name]
    for axis, name in enumerate(variable.dims):
        dataset.dims[axis].attach_scale(file[name])
    dataset.attrs.update(attributes(variable))
    if in_norm(variable):
        dataset.attrs["norm"] = default_text(manifest.settings.norm)
    if variable.dims[:1] == ("sample",) and variable.name not in _STANDING_ALONE:
        dataset.attrs["ancillary_variables"] = "status"
    beside = [AXIS_NAMES[axis].name for axis in variable.dims if axis in manifest.axis_names]
    if "input" in variable.dims:
        beside += [v.name for v in IMAGE_AXES.values() if v.name in file]
    if beside and variable.name not in (*beside, FEATURE_EPS.name):
        dataset.attrs["coordinates"] = " ".join(beside)
    if variable.dtype == "float64":
        # Integers get none: xarray would turn a status into a float.
        dataset.attrs["_FillValue"] = np.array([variable.fill], dtype=np.float64)
    if variable.flags:
        dataset.attrs["flag_values"] = np.array([value for value, _ in variable.flags], dtype=variable.dtype)


def write_root(file: h5py.File, manifest: Manifest, end: datetime | None) -> None:
    """The root attributes; ``end`` is None while the run goes on."""
    file.attrs["Conventions"] = "CF-1.10"
    file.attrs["title"] = "Certification of a neural network by distverify"
    file.attrs["schema_version"] = np.int64(manifest.schema_version)
    file.attrs["distverify_version"] = manifest.distverify_version
    write_text(file, "provenance", _provenance_text(manifest.provenance(end)))
    command = manifest.environment.get("command") or "distverify.certify, from Python"
    when = manifest.created if end is None else end
    told = {
        "history": f"{when.isoformat(timespec='seconds')} {command}",
        "source": f"distverify {manifest.distverify_version}, network {manifest.model} ({manifest.model_digest[:12]}), "
        f"data {manifest.data} ({manifest.data_digest[:12]})",
        "references": _REFERENCES,
    }
    for name, text in told.items():
        write_text(
            file,
            name,
            text if len(text.encode()) <= _TOLD_BYTES else text.encode()[:_TOLD_BYTES].decode("utf-8", "ignore"),
        )


def write_text(file: h5py.File, name: str, text: str) -> None:
    """A root attribute of fixed length: of a damaged one of variable length HDF5 may never come back."""
    data = text.encode()
    file.attrs.create(name, np.array(data, dtype=h5py.string_dtype("utf-8", len(data))))


def read_text(file: h5py.File, name: str) -> str | None:
    """What :func:`write_text` wrote, None for anything else."""
    value = file.attrs.get(name)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None


def _provenance_text(provenance: dict[str, Any]) -> str:
    """The provenance as JSON that fits an attribute: a long run must not fail at its end by what is told about it."""
    text = json.dumps(provenance)
    if len(text) <= _ATTRIBUTE_BYTES:
        return text
    environment = dict(provenance["environment"])
    left_out: list[str] = []
    for name in sorted(environment, key=lambda name: len(json.dumps(environment[name])), reverse=True):
        del environment[name]
        left_out.append(name)
        text = json.dumps(provenance | {"environment": environment | {"left_out": left_out}})
        if len(text) <= _ATTRIBUTE_BYTES:
            break
    return text


def read_root(file: h5py.File) -> dict[str, object] | None:
    """The provenance of a file of ours, None for any other HDF5 file."""
    text = read_text(file, "provenance")
    if "schema_version" not in file.attrs or text is None:
        return None
    try:
        data = json.loads(text)
    except ValueError:
        return None
    return data if isinstance(data, dict) and "run_id" in data else None
