"""The options as keyword arguments: what a type checker accepts of those who call the Python functions.

A test keeps the names in step with the fields of the dataclasses, which hold the values once they are checked.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Required, TypedDict

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class SettingsKeywords(TypedDict, total=False):
    """Of :class:`distverify.settings.Settings`."""

    norm: float
    eps: Sequence[float] | float
    compute: Collection[str] | None
    method: str
    layer_bounds: str
    targets: str | int
    clip: tuple[float, float] | None
    feature_eps: ArrayLike | str | os.PathLike[str] | None
    domain: tuple[float, float] | tuple[ArrayLike, ArrayLike] | str | os.PathLike[str] | None
    perturbation: str | ArrayLike | None
    march_evaluations: int
    march_tolerance: float
    landscape_outputs: str
    eps_units: str
    direction: str
    nodes: int
    precision: str
    arithmetic: str


class InputsKeywords(TypedDict, total=False):
    """Of :class:`distverify.options.run.Inputs`."""

    scale: float | None
    mean: float | Sequence[float] | None
    std: float | Sequence[float] | None
    preprocessing: str | os.PathLike[str] | Mapping[str, Any] | None
    layout: str
    model_layout: str | None
    batch_axis: bool | None
    input_names: Sequence[str] | str | os.PathLike[str] | None
    output_names: Sequence[str] | str | os.PathLike[str] | None
    samples: str | None
    part: str | None
    no_labels: bool
    features: str | None


class WorkersKeywords(TypedDict, total=False):
    """Of :class:`distverify.options.run.Workers`."""

    executor: str
    address: str | None
    cpus_per_actor: float
    max_actors: int | None
    memory_per_actor: int | None
    time_limit: float | None
    label_selector: Mapping[str, str] | None
    runtime_env: str | os.PathLike[str] | Mapping[str, Any] | None


class DivisionKeywords(TypedDict, total=False):
    """Of :class:`distverify.options.run.Division`."""

    samples_per_unit: int | None
    pieces_per_sample: int | None


class OutputKeywords(TypedDict, total=False):
    """Of :class:`distverify.options.run.Output`."""

    output: Required[str | os.PathLike[str]]
    retry_failed: bool
    overwrite: bool
    name: str | None


class EstimateKeywords(SettingsKeywords, InputsKeywords):
    """What :func:`distverify.estimate` takes."""


class CertifyKeywords(SettingsKeywords, InputsKeywords, WorkersKeywords, DivisionKeywords, OutputKeywords):
    """What :func:`distverify.certify` takes."""
