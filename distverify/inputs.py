"""What a run works on, made of what users name: the network, and samples or properties; checked before anything starts."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distverify.data.axis_names import axis_names
from distverify.data.dataset import Dataset, dataset_from_arrays, load_dataset
from distverify.data.family import check_family
from distverify.data.image_layout import arrange_images, order_by
from distverify.data.labels import NO_LABEL
from distverify.data.plausible import find_implausible
from distverify.data.preprocessing import read_preprocessing
from distverify.data.property_set import is_instance_list, load_properties
from distverify.data.readers import name_of
from distverify.data.remote import is_remote, local_copy
from distverify.data.selection import feature_factors
from distverify.data.sequences import is_sequence_of_samples, read_samples
from distverify.data.vnnlib.property import Property, is_property_file
from distverify.errors import DataError, ModelError, SettingsError, argument
from distverify.network.archive import is_archive, read_archive
from distverify.network.graph import Network
from distverify.network.normalisation import apply_normalisation, mean_and_std
from distverify.network.onnx.importer import load_onnx
from distverify.network.torch_import import is_module, load_torch
from distverify.options.option import options_of
from distverify.options.rules import ARRAYS, FILE, PROPERTIES
from distverify.options.run import Inputs
from distverify.quantities import catalogue
from distverify.region import domain_box
from distverify.settings import Settings

Model: TypeAlias = "Network | str | os.PathLike[str]"
Data: TypeAlias = "ArrayLike | str | os.PathLike[str] | Sequence[Any] | None"

_log = logging.getLogger(__name__)

# Larger lists of means would not fit an HDF5 attribute.
_RECORDED = 64
NO_DATA = f"data: is missing; give samples, or a box that stands for all inputs ({argument('domain')})"
# What stands for data where there is only a domain: its middle.
OF_DOMAIN = "the middle of the domain"
# Which samples and features were chosen, and what they are called, stands elsewhere.
_CHOSEN = ("samples", "part", "features", "input_names", "output_names")


@dataclass(frozen=True, eq=False)
class Prepared:
    """Network and samples, ready for any command.

    Attributes
    ----------
    network : Network
        Of raw inputs: normalisation is folded in, unless radii are in normalised units.
    model : str
        The network's name, for people.
    data : Dataset
        The samples in the network's order; of properties a point of each one's first box.
    digest : str
        Of the samples or properties.
    settings : Settings
        With a factor of eps for every feature of this network, where some are asked for.
    described : dict
        How the data were brought to the model, for the provenance.
    properties : dict index -> Property
        Empty for a data set.
    time_limits : dict index -> float
        Seconds for each property that came with some.
    names : tuple of str
        Of the property files, one per sample; empty for a data set.
    warnings : tuple of str
        What is allowed but hardly meant.
    axis_names : dict "input" or "output" -> tuple of str
        What inputs and outputs are called, where that is said.
    part : dict
        What these samples are a part of; empty for a whole run.
    """

    network: Network
    model: str
    data: Dataset
    digest: str
    settings: Settings
    described: dict[str, Any]
    properties: Mapping[int, Property] = field(default_factory=dict)
    time_limits: Mapping[int, float] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    axis_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    part: Mapping[str, Any] = field(default_factory=dict)

    def take(self, positions: NDArray[np.int64]) -> Prepared:
        """Some of the samples, by position, under the same indices."""
        chosen = self.data.select(positions)
        names = tuple(self.names[p] for p in positions) if self.names else ()
        return replace(self, data=chosen, digest=chosen.digest, names=names)


def prepare(
    model: Model, x: Data, y: ArrayLike | None, inputs: Inputs, settings: Settings, factors: Any = None
) -> Prepared:
    """The network, and the samples or properties, by one way for every command.

    Parameters
    ----------
    model, x, y : see :func:`distverify.certify`
    inputs : Inputs
    settings : Settings
    factors : array_like [D] or path, optional
        One factor of eps per feature, as the user gave it.

    Raises
    ------
    ModelError, DataError, SettingsError
    """
    inputs = preprocessed(inputs)
    network, name = prepare_network(model, inputs, settings)
    return prepare_samples(network, name, x, y, inputs, settings, factors)


def prepare_network(model: Model, inputs: Inputs, settings: Settings) -> tuple[Network, str]:
    """The network of raw inputs (of normalised ones if radii are in those units), and its name for people."""
    if isinstance(model, Network):
        if inputs.batch_axis is not None:
            raise SettingsError("batch_axis: is for model files; give it to load_network")
        network, name = model, "network"
    elif isinstance(model, str | os.PathLike):
        network, name = load_network(model, batch_axis=inputs.batch_axis), name_of(model)
    else:
        raise ModelError(f"model: got {type(model).__name__}; give a Network or the path of an ONNX file")
    inputs = preprocessed(inputs)
    if _normalised(inputs) and settings.eps_units == "raw":
        means, deviations = _mean_and_std(inputs)
        network = apply_normalisation(network, means, deviations, layout=inputs.model_layout)
    return network.in_precision(settings.precision), name


def prepare_samples(
    network: Network, model: str, x: Data, y: ArrayLike | None, inputs: Inputs, settings: Settings, factors: Any = None
) -> Prepared:
    """The samples or properties for a network of :func:`prepare_network`."""
    inputs = preprocessed(inputs)
    size = settings.inputs_of(network.input_size)
    chosen = feature_factors(size, factors, inputs.features)
    if chosen is not None:
        settings = replace(settings, feature_eps=chosen)
    described = _describe(network, inputs)
    called = axis_names(size, network.output_size, inputs, settings)  # refused before anything is read
    paths = property_paths(x)
    if paths:
        found = load_properties(
            paths, model=model, input_size=network.input_size, output_size=network.output_size, samples=inputs.samples
        )
        centres = found.centres(network.input_size)
        data = Dataset(centres, np.full(len(centres), NO_LABEL), found.indices, found.name, (network.input_size,))
        properties = dict(zip(found.indices.tolist(), found.properties, strict=True))
        return Prepared(
            network, model, data, found.digest, settings, described, properties, found.time_limits, found.names,
            axis_names=called,
        )  # fmt: skip
    box = None if settings.domain is None else domain_box(settings.domain, network.input_size)
    if x is None:
        if box is None:
            raise SettingsError(NO_DATA)
        data = dataset_from_arrays(box.x0[None], input_size=network.input_size, output_size=network.output_size)
        data = replace(data, name=OF_DOMAIN)
        return Prepared(network, model, data, data.digest, settings, described, axis_names=called)
    data = _open_dataset(x, y, inputs, network)
    if data.input_names and inputs.layout == "flat" and settings.perturbation is None:
        called = {"input": data.input_names, **called}
    if len(data.class_names) == network.output_size:
        called = {"output": data.class_names, **called}
    if _normalised(inputs) and settings.eps_units != "raw":
        # In normalised units, the data are normalised instead of the network.
        means, deviations = mean_and_std(network, *_mean_and_std(inputs), layout=inputs.model_layout)
        data = replace(data, inputs=np.ascontiguousarray((data.inputs - means) / deviations))
    return Prepared(network, model, data, data.digest, settings, described, axis_names=called)


def preprocessed(inputs: Inputs) -> Inputs:
    """``inputs`` with mean, std and scale as its preprocessing says; of that the size of images is left.

    Raises
    ------
    SettingsError, DataError
    """
    if inputs.preprocessing is None:
        return inputs
    given = inputs.preprocessing
    told = read_preprocessing(given if isinstance(given, Mapping) else local_copy(given))
    values = {name: getattr(told, name) for name in ("mean", "std", "scale") if getattr(told, name) is not None}
    for name in values:
        if getattr(inputs, name) is not None:
            raise SettingsError(
                f"{name}: the preprocessing file says it too ({values[name]}); leave {argument(name)} out"
            )
    rest = None if told.resizing is None else told.resizing.to_json()
    return replace(inputs, preprocessing=rest, **values)


def kind_of(x: object) -> str:
    """Where samples come from, for the rules of options: "arrays", "file" or "properties"."""
    if property_paths(x):
        return PROPERTIES
    return FILE if isinstance(x, str | os.PathLike) else ARRAYS


def property_paths(x: object) -> tuple[str | os.PathLike[str], ...]:
    """The paths that are property files or name some; empty for a data set.

    Raises
    ------
    DataError
        Several paths, none of which is a property file.
    """
    if isinstance(x, str | os.PathLike):
        return (x,) if is_property_file(x) or is_instance_list(x) else ()
    several = isinstance(x, list | tuple) and len(x) > 0 and all(isinstance(item, str | os.PathLike) for item in x)
    if not several:
        return ()
    paths: tuple[str | os.PathLike[str], ...] = tuple(x)  # type: ignore[arg-type]
    if not any(map(is_property_file, paths)):
        listed = ", ".join(map(str, paths[:3])) + (", ..." if len(paths) > 3 else "")
        raise DataError(f"data: got {len(paths)} data sets ({listed}); give one, or several property files (.vnnlib)")
    return paths


def load_network(
    model: str | os.PathLike[str] | Any, example_input: Any = None, *, batch_axis: bool | None = None
) -> Network:
    """Read a network from an ONNX file, one of :meth:`Network.save`, or from a PyTorch module.

    Parameters
    ----------
    model : path or torch.nn.Module
        ``distverify show MODEL`` prints what was read.
    example_input : torch.Tensor [N, ...]
        For a module, and needed there: inputs of the shape that it takes, at least one; it is exported for the first.
    batch_axis : bool, optional
        Of a file: whether the first axis of its input counts samples. By default it does if it has no fixed length, or
        length 1 at the input and 1 or no fixed length at the output.

    Raises
    ------
    ModelError
        The model cannot be read, or has an operator that is not supported (the message names the node).
    SettingsError
        A module without ``example_input`` or with ``batch_axis``, or a path with ``example_input``.
    """
    if is_module(model):
        if example_input is None:
            raise SettingsError("example_input: is missing; give a tensor of the shape that the module takes")
        if batch_axis is not None:
            raise SettingsError("batch_axis: is for model files; a module takes a batch, leave it out")
        return load_torch(model, example_input)
    if not isinstance(model, str | os.PathLike):
        raise ModelError(f"model: got {type(model).__name__}; give the path of an ONNX file, or a torch.nn.Module")
    if example_input is not None:
        raise SettingsError("example_input: is for torch modules; an ONNX file declares its input, leave it out")
    return (read_archive if is_archive(model) else load_onnx)(_at_hand(model), batch_axis=batch_axis)


def _at_hand(model: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """The model's file here."""
    try:
        return local_copy(model) if is_remote(model) else model
    except DataError as error:
        raise ModelError(str(error)) from error


def check_fit(prepared: Prepared) -> Prepared:
    """Refuse before anything starts what every sample would fail on; the same with warnings of what is hardly meant.

    Raises
    ------
    SettingsError, DataError
    """
    network, data, settings = prepared.network, prepared.data, prepared.settings
    comparing = sorted(q.name for q in catalogue.chosen(settings.compute) if q.compares)
    if comparing:
        if network.output_size < 2:
            raise SettingsError(
                f"compute: {comparing[0]} compares classes, and this network has one output; leave {comparing[0]} out"
            )
        if data.regression:
            raise SettingsError(
                f"compute: {comparing[0]} compares classes, and y holds real numbers, targets of a regression; leave "
                f"{comparing[0]} out ({argument('compute', 'lipschitz')}), or take the predicted class for the label "
                f"({argument('no_labels', True)})"
            )
        if isinstance(settings.targets, int) and settings.targets >= network.output_size:
            raise SettingsError(
                f"targets: got class {settings.targets}; the network has 0 to {network.output_size - 1}"
            )
    differentiating = sorted(q.name for q in catalogue.chosen(settings.compute) if q.of_derivatives)
    if differentiating and (jump := network.jump):
        raise SettingsError(
            f"compute: {differentiating[0]} is about derivatives, and this network jumps ({jump}); leave {differentiating[0]} "
            "out, and compute outputs, margins, radius or verified"
        )
    if settings.perturbation is not None:
        check_family(data, network, settings)
    elif settings.clip is not None:
        low, high = settings.clip
        outside = np.flatnonzero((data.inputs < low).any(axis=1) | (data.inputs > high).any(axis=1))
        if outside.size:
            row = data.inputs[outside[0]]
            raise DataError(
                f"clip: {outside.size} samples lie outside [{low:g}, {high:g}], first sample {data.indices[outside[0]]} "
                f"(values {row.min():g} to {row.max():g}); give the data's own range, or {argument('scale')}"
            )
    if prepared.properties:
        return prepared
    warnings = find_implausible(network, data, () if settings.family else settings.eps, prepared.described["scale"])
    if data.regression:
        warnings += (
            "data: y holds real numbers, taken for targets of a regression; bounds are computed without a class",
        )
    if settings.nodes and "outputs" in settings.compute:
        from distverify.analysis.outputs import without_search

        warnings += without_search(network, settings)
    for warning in warnings:
        _log.warning("%s", warning)
    return replace(prepared, warnings=warnings)


def _open_dataset(
    x: ArrayLike | str | os.PathLike[str], y: ArrayLike | None, inputs: Inputs, network: Network
) -> Dataset:
    """The chosen samples, checked against ``network`` and in its order of values."""
    sizes: dict[str, int] = {"input_size": network.input_size, "output_size": network.output_size}
    if isinstance(x, str | os.PathLike):
        resizing = None if inputs.preprocessing is None else read_preprocessing(inputs.preprocessing).resizing
        data = load_dataset(
            x, **sizes, scale=inputs.scale, samples=inputs.samples, labels=not inputs.no_labels, resizing=resizing
        )
    else:
        names: tuple[str, ...] = ()
        layout = "flat"
        if is_sequence_of_samples(x):
            if y is not None:
                raise SettingsError("y: each sample of x has its label already; leave y out")
            held = read_samples(x)
            x, y, names, layout = held.x, held.y, held.classes, held.layout
        data = dataset_from_arrays(x, None if inputs.no_labels else y, **sizes, scale=inputs.scale)
        data = replace(data, class_names=names, layout=layout)
    # What the format fixes needs no option; images that a network takes as one row stay as they are.
    if inputs.layout == "flat" and data.layout != "flat" and len(data.shape) == len(network.input_shape) == 3:
        return arrange_images(
            data, data.layout, network.input_shape, inputs.model_layout or order_by(data, network.input_shape)
        )
    return arrange_images(data, inputs.layout, network.input_shape, inputs.model_layout)


def _normalised(inputs: Inputs) -> bool:
    return inputs.mean is not None or inputs.std is not None


def _mean_and_std(inputs: Inputs) -> tuple[ArrayLike, ArrayLike]:
    return 0.0 if inputs.mean is None else inputs.mean, 1.0 if inputs.std is None else inputs.std


def recorded_inputs(stored: Mapping[str, Any], others: Mapping[str, Any]) -> Inputs:
    """The inputs that a provenance tells of, for the same data again; ``others`` are those that it does not hold."""
    named = [name for name in options_of(Inputs) if name in stored and name not in _CHOSEN]
    return Inputs(**{name: stored[name] for name in named} | dict(others))


def _describe(network: Network, inputs: Inputs) -> dict[str, Any]:
    told = {name: _recorded(getattr(inputs, name)) for name in options_of(Inputs) if name not in _CHOSEN}
    return {"shape": list(network.input_shape), **told, **network.remarks}


def _recorded(value: Any) -> Any:
    """Plain numbers, one or one per channel; anything else as it is."""
    if value is None or isinstance(value, str | bool | Mapping):
        return value
    array = np.asarray(value, dtype=np.float64)
    return None if array.size > _RECORDED else array.tolist()
