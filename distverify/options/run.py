"""What a run is told beside its settings: how data reach the model, who works, how the work is cut, where it is kept.

Nothing of this changes a number but :class:`Inputs`, whose outcome the digests of model and data stand for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

from distverify.errors import SettingsError
from distverify.options import parse
from distverify.options.option import defaults_of, documented, in_use, option, options_of
from distverify.options.rules import DATA, FILE, PROPERTIES, refuse
from distverify.options.values import check_kinds, path_of, shown

LAYOUTS = ("flat", "chw", "hwc")
MODEL_LAYOUTS = ("chw", "hwc")
EXECUTORS = ("auto", "ray", "serial")
_RAY = {"executor": ("ray", "auto")}


@documented
@dataclass(frozen=True)
class Inputs:
    """How the values of the data reach the model, and which of them."""

    scale: float | None = option(
        None, "Divide the values of the data by this (255 for 8-bit images).", "Data", parse=parse.positive, metavar="S",
        needs={DATA: (FILE,)},
    )  # fmt: skip
    mean: float | Sequence[float] | None = option(
        None, "The model expects (value - mean) / std: one mean, one per channel or one per feature. Becomes part of the "
        "network.", "Data", parse=parse.per_channel, metavar="LIST", of_properties=True,
    )  # fmt: skip
    std: float | Sequence[float] | None = option(
        None, "See {mean}.", "Data", parse=parse.per_channel, metavar="LIST", of_properties=True
    )
    preprocessing: str | os.PathLike[str] | Mapping[str, Any] | None = option(  # noqa: RUF009  # a field, as all the others
        None, "JSON file with mean, std and input_size as timm writes them (or Hugging Face's preprocessor_config.json); its size is "
        "that to which images in files are brought.", "Data", parse=Path, metavar="FILE.json", of_properties=True,
    )  # fmt: skip
    layout: str = option(
        "flat", "How a row of the data holds an image: as the model takes it, channel by channel, or pixel by pixel (the "
        "colours side by side); it is brought to the model's order. Image files and CIFAR's binaries say it themselves.", "Data",
        choices=LAYOUTS,
    )  # fmt: skip
    model_layout: str | None = option(
        None, "Which axis of the model's images holds the channels, the first (chw) or the last (hwc). Default: what the sizes "
        "tell.", "Data", choices=MODEL_LAYOUTS, of_properties=True,
    )  # fmt: skip
    batch_axis: bool | None = option(
        None, "Whether the first axis of the model's input counts samples. Default: if it has no fixed length, or length 1 and "
        "the output's first axis has that or no fixed length.", "Data", parse=parse.yes_or_no, metavar="yes|no",
        of_properties=True,
    )  # fmt: skip
    input_names: Sequence[str] | str | None = option(
        None, "What the inputs are called, such as \"speed [m/s],angle [rad]\", units in brackets: a name for each, in the "
        "model's order; or a .txt file with one in a line.", "Data", parse=parse.names, metavar="LIST|FILE", of_properties=True,
    )  # fmt: skip
    output_names: Sequence[str] | str | None = option(
        None, "What the outputs are called; see {input_names}.", "Data", parse=parse.names, metavar="LIST|FILE",
        of_properties=True,
    )  # fmt: skip
    samples: str | None = option(
        None, "Rows of a data file, or files of a list of properties: 0:100, ::10 or 3,7. Default: all.", "Data",
        parse=str, metavar="WHICH", needs={DATA: (FILE, PROPERTIES)}, of_properties=True,
    )  # fmt: skip
    part: str | None = option(
        None, "Part I of N of the samples, every N-th, for job arrays and several clusters; distverify merge makes one result of "
        "all parts.", "Data", parse=parse.part, metavar="I/N", of_properties=True,
    )  # fmt: skip
    no_labels: bool = option(
        False, "Pass over the labels of the data: targets of a regression, or a table without a column for them.", "Data",
    )  # fmt: skip
    features: str | None = option(
        None, "Features that may change: 0:10 or 3,7, in the model's order. The others are fixed.", "Balls", parse=str,
        metavar="WHICH",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_kinds(self)
        for name, value in (("input_names", self.input_names), ("output_names", self.output_names)):
            if value is not None and not isinstance(value, str | os.PathLike | Sequence):
                raise SettingsError(
                    f"{name}: got {shown(value)}; give a name for each, or a .txt file with one in a line"
                )
        if self.preprocessing is not None and not isinstance(self.preprocessing, Mapping):
            path_of("preprocessing", self.preprocessing)


@documented
@dataclass(frozen=True)
class Workers:
    """Who computes."""

    executor: str = option(
        "auto", "Ray workers, or one sample after another in this process; the same bits. auto: Ray, unless two timed samples "
        "say that one process is done within 5 s, and no option of Ray's is given.", "Workers",
        choices=EXECUTORS, of_properties=True,
    )  # fmt: skip
    address: str | None = option(
        None, "Existing Ray cluster; by default RAY_ADDRESS, else a Ray of its own for this run, or none (see {executor}).",
        "Workers", parse=str,
        metavar="HOST:PORT", needs=_RAY, of_properties=True,
    )  # fmt: skip
    cpus_per_actor: float = option(
        1, "CPUs (and threads) of each worker.", "Workers", parse=parse.at_least(1), metavar="N", needs=_RAY,
        of_properties=True,
    )  # fmt: skip
    max_actors: int | None = option(
        None, "Most workers at a time. Default: as many as the CPUs allow.", "Workers", parse=parse.at_least(1),
        metavar="N", needs=_RAY, of_properties=True,
    )  # fmt: skip
    memory_per_actor: int | None = option(
        None, "Memory in bytes that each worker reserves and works within, such as 4G: a node holds only as many workers as "
        "fit.", "Workers", parse=parse.memory, metavar="BYTES", needs=_RAY, of_properties=True,
    )  # fmt: skip
    time_limit: float | None = option(
        None, "Give up on a sample after so many seconds; it is recorded as timed out. With {nodes}: end its searches then, and keep "
        "what is proved.", "Workers", parse=parse.positive, metavar="SECONDS", of_properties=True,
    )  # fmt: skip

    label_selector: Mapping[str, str] | None = option(
        None, "Use only nodes of the cluster with these labels (`ray start --labels`), such as pool=cpu,zone=a.", "Workers",
        parse=parse.labels, metavar="NAME=VALUE", needs=_RAY, of_properties=True,
    )  # fmt: skip
    runtime_env: str | os.PathLike[str] | Mapping[str, Any] | None = option(  # noqa: RUF009  # a field, as all the others
        None, "Runtime environment of the workers, a YAML or JSON file as Ray takes it (pip, working_dir, env_vars, ...).",
        "Workers", parse=Path, metavar="FILE", needs=_RAY, of_properties=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_kinds(self)
        if self.executor not in EXECUTORS:
            raise SettingsError(f"executor: got {self.executor!r}; choose {', '.join(EXECUTORS)}")
        if self.label_selector is not None and not isinstance(self.label_selector, Mapping):
            raise SettingsError(
                f"label_selector: got {shown(self.label_selector)}; give a dictionary such as {{'pool': 'cpu'}}"
            )
        if self.runtime_env is not None and not isinstance(self.runtime_env, Mapping):
            path_of("runtime_env", self.runtime_env)
        refuse(options_of(Workers), vars(self), in_use(vars(self), defaults_of(Workers)))


@documented
@dataclass(frozen=True)
class Division:
    """How a run is cut, where the plan made from timed samples is not to decide."""

    samples_per_unit: int | None = option(
        None, "Samples that a worker gets at a time. Default: from the time that a few samples take.", "Plan",
        parse=parse.at_least(1), metavar="N", of_properties=True,
    )  # fmt: skip
    pieces_per_sample: int | None = option(
        None, "Cut the bounds of every sample into about so many pieces (blocks of output rows, neurons or columns) for "
        "several workers; 1: never. Default: where samples are few, or take long.", "Plan", parse=parse.at_least(1),
        metavar="N",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_kinds(self)


@documented
@dataclass(frozen=True, kw_only=True)
class Output:
    """Where results are kept, and what becomes of those that are there."""

    output: str | os.PathLike[str] = option(  # noqa: RUF009  # a field, as all the others
        MISSING, "Result file (HDF5); beside it a folder OUT.h5.parts while the run goes on.", "Output", parse=Path,
        metavar="OUT.h5", short="-o", of_properties=True,
    )  # fmt: skip
    retry_failed: bool = option(
        False,
        "Compute samples of {output} again that failed, timed out or lack a quantity.",
        "Output",
        of_properties=True,
    )
    overwrite: bool = option(False, "Replace {output}, whatever it holds.", "Output", of_properties=True)
    name: str | None = option(
        None,
        "What the run is called, in report and provenance.",
        "Output",
        parse=str,
        metavar="TEXT",
        of_properties=True,
    )

    def __post_init__(self) -> None:
        path_of("output", self.output)
        check_kinds(self)
