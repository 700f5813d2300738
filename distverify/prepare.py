"""What a run works on, made of what users name: network, samples, executor; checked before anything starts."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from distverify.data.dataset import Dataset, dataset_from_arrays, load_dataset
from distverify.data.image_layout import arrange_images
from distverify.data.property_set import is_instance_list
from distverify.data.selection import select_samples
from distverify.data.vnnlib import is_property_file
from distverify.errors import DataError, ModelError, SettingsError
from distverify.network.graph import Network
from distverify.network.normalisation import apply_normalisation, channel_layout, mean_and_std
from distverify.network.onnx.importer import load_onnx
from distverify.network.torch_import import is_module, load_torch
from distverify.runtime.job import Executor
from distverify.runtime.serial import SerialExecutor
from distverify.settings import COMPUTE, PROPERTY, Settings

EXECUTORS = ("ray", "serial")


def load_network(model: str | os.PathLike[str] | Any, example_input: Any = None) -> Network:
    """Read a network from an ONNX file, or from a PyTorch module.

    Parameters
    ----------
    model : path or torch.nn.Module
        ``distverify show MODEL`` prints what was read.
    example_input : torch.Tensor [N, ...]
        For a module, and needed there: inputs of the shape that it takes, at least one; it is exported for the first.

    Raises
    ------
    ModelError
        The model cannot be read, or has an operator that is not supported (the message names the node).
    SettingsError
        A module without ``example_input``, or a path with one.
    """
    if is_module(model):
        if example_input is None:
            raise SettingsError("example_input: is missing; give a tensor of the shape that the module takes")
        return load_torch(model, example_input)
    if not isinstance(model, str | os.PathLike):
        raise ModelError(f"model: got {type(model).__name__}; give the path of an ONNX file, or a torch.nn.Module")
    if example_input is not None:
        raise SettingsError("example_input: is for torch modules; an ONNX file declares its input, leave it out")
    return load_onnx(model)


def describe_inputs(
    network: Network, scale: float | None, mean: float | Sequence[float] | None, std: float | Sequence[float] | None,
    layout: str,
) -> dict[str, Any]:  # fmt: skip
    """How the data were brought to the model, for the provenance: what the functions below were told."""
    told = {"scale": scale, "mean": _recorded(mean), "std": _recorded(std), "layout": layout}
    return {"shape": list(network.input_shape), **told}


def _recorded(values: float | Sequence[float] | None) -> Any:
    """Plain numbers, one or one per channel; one per feature would not fit an HDF5 attribute."""
    array = np.asarray(values if values is not None else np.nan, dtype=np.float64)
    return None if values is None or array.size > 64 else array.tolist()


def choose_executor(
    name: str, address: str | None, cpus_per_actor: float, max_actors: int | None, time_limit: float | None,
    memory_per_actor: int | None = None,
) -> Executor:  # fmt: skip
    """The executor of that name; refuses what it would ignore."""
    if name not in EXECUTORS:
        raise SettingsError(f"executor: got {name!r}; choose {', '.join(EXECUTORS)}")
    if name == "ray":
        from distverify.runtime.ray.executor import RayExecutor

        return RayExecutor(address, cpus_per_actor, max_actors, time_limit, memory_per_actor)
    given = {
        "address": address, "max_actors": max_actors, "time_limit": time_limit, "memory_per_actor": memory_per_actor,
    }  # fmt: skip
    ignored = [k for k, v in given.items() if v is not None] + (["cpus_per_actor"] if cpus_per_actor != 1 else [])
    if ignored:
        raise SettingsError(
            f"{', '.join(ignored)}: only the ray executor uses this; leave it out, or choose executor='ray'"
        )
    return SerialExecutor()


def open_network(
    model: Network | str | os.PathLike[str], mean: float | Sequence[float] | None, std: float | Sequence[float] | None
) -> tuple[Network, str]:
    """The network of raw inputs, normalisation folded in, and its name for people."""
    if isinstance(model, Network):
        network, name = model, "network"
    elif isinstance(model, str | os.PathLike):
        network, name = load_network(model), Path(model).name
    else:
        raise ModelError(f"model: got {type(model).__name__}; give a Network or the path of an ONNX file")
    if mean is None and std is None:
        return network, name
    means, deviations = 0.0 if mean is None else mean, 1.0 if std is None else std
    return apply_normalisation(network, means, deviations, layout=channel_layout(network.input_shape)), name


def open_dataset(
    x: ArrayLike | str | os.PathLike[str], y: ArrayLike | None, scale: float | None, samples: str | None, network: Network,
    layout: str = "flat",
) -> Dataset:  # fmt: skip
    """The chosen samples, checked against ``network`` and in its order of values."""
    if isinstance(x, str | os.PathLike):
        if y is not None:
            raise SettingsError("y: got labels beside the path of a data file; labels come from the file, leave y out")
        data = load_dataset(
            x, input_size=network.input_size, output_size=network.output_size, scale=scale, samples=samples
        )
    elif scale is not None or samples is not None:
        raise SettingsError("scale, samples: are for data files; divide and slice the array x itself")
    else:
        data = dataset_from_arrays(x, y, input_size=network.input_size, output_size=network.output_size)
    return arrange_images(data, layout, network.input_shape)


def property_paths(x: object) -> tuple[str | os.PathLike[str], ...]:
    """The paths that are property files or name some; empty for a data set."""
    if isinstance(x, str | os.PathLike):
        return (x,) if is_property_file(x) or is_instance_list(x) else ()
    several = isinstance(x, list | tuple) and len(x) > 0 and all(isinstance(item, str | os.PathLike) for item in x)
    return tuple(x) if several else ()  # type: ignore[arg-type]


def chosen_compute(compute: Collection[str] | None, paths: Sequence[object]) -> tuple[str, ...]:
    if paths:
        refuse_beside_properties([] if compute is None else ["compute"])
        return (PROPERTY,)
    if compute is not None and PROPERTY in compute:
        raise SettingsError(
            f"compute: got {PROPERTY}, which is for property files (.vnnlib); choose any of {', '.join(COMPUTE)}"
        )
    return ("lipschitz", "radius") if compute is None else tuple([compute] if isinstance(compute, str) else compute)


def refuse_beside_properties(names: Sequence[str]) -> None:
    if names:
        raise SettingsError(
            f"{', '.join(names)}: property files say what is verified, and where; leave {', '.join(names)} out"
        )


def chosen_factors(network: Network, feature_eps: ArrayLike | None, features: str | None) -> tuple[float, ...] | None:
    """``feature_eps`` on ``features``, 0 on all others."""
    size = network.input_size
    if feature_eps is None and features is None:
        return None
    factors = np.ones(size) if feature_eps is None else np.asarray(feature_eps, dtype=np.float64).reshape(-1)
    if factors.size != size:
        raise SettingsError(
            f"feature_eps: got {factors.size} values; the network takes {size} features, give one for each"
        )
    if features is not None:
        free = np.zeros(size, dtype=bool)
        free[select_samples(features, size, "feature")] = True
        factors = np.where(free, factors, 0.0)
    return tuple(factors.tolist())


def normalise_data(
    data: Dataset, network: Network, mean: float | Sequence[float] | None, std: float | Sequence[float] | None
) -> Dataset:
    """The samples in normalised units, for a network without folded normalisation."""
    means, deviations = mean_and_std(
        network, 0.0 if mean is None else mean, 1.0 if std is None else std, layout=channel_layout(network.input_shape)
    )
    return replace(data, inputs=np.ascontiguousarray((data.inputs - means) / deviations))


def check_fit(network: Network, data: Dataset, settings: Settings) -> None:
    """Refuse before anything starts what every sample would fail on."""
    comparing = [name for name in ("margins", "radius", "verified") if name in settings.compute]
    if comparing:
        if network.output_size < 2:
            raise SettingsError(
                f"compute: {comparing[0]} compares classes, and this network has one output; leave {comparing[0]} out"
            )
        if isinstance(settings.targets, int) and settings.targets >= network.output_size:
            raise SettingsError(
                f"targets: got class {settings.targets}; the network has 0 to {network.output_size - 1}"
            )
    if settings.clip is not None:
        low, high = settings.clip
        outside = np.flatnonzero((data.inputs < low).any(axis=1) | (data.inputs > high).any(axis=1))
        if outside.size:
            row = data.inputs[outside[0]]
            raise DataError(
                f"clip: {outside.size} samples lie outside [{low:g}, {high:g}], first sample {data.indices[outside[0]]} "
                f"(values {row.min():g} to {row.max():g}); give the data's own range, or --scale"
            )
