"""The functions that Python users call; the command line is a thin layer over them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from distverify._version import __version__
from distverify.analysis.cost import sample_cost
from distverify.analysis.in_pieces import analyse_in_pieces
from distverify.analysis.property import PropertyAnalysis
from distverify.analysis.sample import analyse_sample
from distverify.analysis.warm_up import warm_up_for
from distverify.bounds.columns import BLOCK_BYTES
from distverify.data.vector import load_box, load_matrix
from distverify.driver import Planning, Progress, carry_out
from distverify.errors import SettingsError
from distverify.executors import choose_executor
from distverify.inputs import NO_DATA, Data, Model, Prepared, check_fit, kind_of, prepare
from distverify.options.files import RESULT_SUFFIXES, check_output
from distverify.options.keywords import CertifyKeywords
from distverify.options.option import check_names, chosen, defaults_of, in_use, options_of, takes
from distverify.options.rules import DATA, PROPERTIES, refuse
from distverify.options.run import Division, Inputs, Output, Workers
from distverify.parts import take_part
from distverify.quantities import catalogue
from distverify.questions.askers import BoundsWorker
from distverify.reporting import reporting
from distverify.results.journal.journal import Journal
from distverify.results.manifest import Manifest, describe_environment
from distverify.results.reader import Result, open_result
from distverify.results.schema import payload_variables
from distverify.runtime.job import Analyse, AnalyseInPieces, Job
from distverify.settings import COMPUTE, PROPERTY, Settings
from distverify.work import Plan

__all__ = ["Progress", "certify", "prepare_run", "run"]


# Seconds of one sample's searches, after which idle workers may help.
_PATIENCE = 5.0
# What a domain without data is examined for.
_OF_DOMAIN = ("jacobian", "lipschitz", "monotone", "outputs")
# A family of perturbations by a matrix in a file.
_LINEAR = "linear:"
_OPTIONS = (Settings, Inputs, Workers, Division, Output)


@takes(*_OPTIONS)
def certify(
    model: Model,
    x: Data = None,
    y: ArrayLike | None = None,
    *,
    progress: Callable[[Progress], None] | bool | None = None,
    planned: Callable[[Plan], None] | None = None,
    command: str | None = None,
    **options: Unpack[CertifyKeywords],
) -> Result:
    """Certify a data set: bounds, Lipschitz constants and radii of every sample, into one HDF5 file.

    Interrupted or killed, the same call continues where it stopped; when the file is complete, it returns at once.

    Parameters
    ----------
    model : Network or path of an ONNX file
    x : array_like [N, ...], path of a data file, or sequence of (x, y)
        The samples, flattened in C order; a data set of PyTorch or Hugging Face too. Files are .npz, .h5, .csv, .parquet,
        .safetensors, .pt, .npy (``"X.npy,Y.npy"`` or a folder), IDX, CIFAR's .bin, and folders of images for each class; also by
        any URL that fsspec knows. Or VNN-LIB property files (one or several paths, or a VNN-COMP
        ``instances.csv``): then each property is verified, and nothing else is computed. None: only a ``domain``.
    y : array_like [N], optional
        Labels; for a path they come from the file. Without labels the predicted class stands in.
    progress : callable (Progress) or bool, optional
        Called at the start and after every block of samples. True: a bar, in notebooks too.
    planned : callable (Plan), optional
        Called with the plan, before most of it is computed.
    command : str, optional
        Recorded in the provenance.
    {options}

    Returns
    -------
    Result
        As :func:`open_result` gives it.

    Raises
    ------
    SettingsError, ModelError, DataError
        Before anything starts.
    ResultError
        The output holds something else, or cannot be written.
    ExecutorError
        Workers cannot run at all.
    Interrupted
        By SIGINT or SIGTERM; what was computed is kept.
    """
    check_names("certify", options, *_OPTIONS)
    workers, division, output = (
        Workers(**chosen(Workers, options)), Division(**chosen(Division, options)), Output(**chosen(Output, options)),
    )  # fmt: skip
    files = x if isinstance(x, list | tuple) else (x,)
    check_output(output.output, RESULT_SUFFIXES, (model, *files, options.get("feature_eps")))
    prepared = prepare_run(model, x, y, options, _OPTIONS)
    if progress is True:
        with reporting(quiet=False, form="bar") as shown:
            return run(prepared, workers, division, output, shown, planned, command)
    if not (progress is None or progress is False or callable(progress)):
        raise SettingsError(
            f"progress: got {type(progress).__name__}; give True for a bar, or a function of a Progress"
        )
    return run(prepared, workers, division, output, progress or None, planned, command)


def prepare_run(
    model: Model, x: Data, y: ArrayLike | None, options: Mapping[str, Any], kinds: tuple[type, ...]
) -> Prepared:
    """Settings, network and samples for a run with ``options``, which are those of ``kinds``; checked.

    Raises
    ------
    SettingsError, ModelError, DataError
    """
    _refuse(kinds, options, x, y)
    told = chosen(Settings, options)
    factors = told.pop("feature_eps", None)
    if isinstance(told.get("domain"), str | os.PathLike):
        told["domain"] = load_box(told["domain"])
    if str(family := told.get("perturbation")).startswith(_LINEAR):
        told["perturbation"] = load_matrix(str(family).removeprefix(_LINEAR))
    if kind_of(x) == PROPERTIES:
        told["compute"] = (PROPERTY,)
    elif x is None:
        told = _without_data(told)
    inputs = Inputs(**chosen(Inputs, options))
    prepared = prepare(model, x, y, inputs, Settings(**told), factors)
    if inputs.part is not None:
        prepared = take_part(prepared, inputs.part)
    return check_fit(prepared)


def run(
    prepared: Prepared,
    workers: Workers,
    division: Division,
    output: Output,
    progress: Callable[[Progress], None] | None = None,
    planned: Callable[[Plan], None] | None = None,
    command: str | None = None,
) -> Result:
    """Carry out a run on what is prepared; see :func:`certify`."""
    executor = choose_executor(workers)
    network, data, settings = prepared.network, prepared.data, prepared.settings
    # A quarter of what a worker may take, where that is less than is fastest.
    within: dict[str, Any] = {}
    if workers.memory_per_actor is not None and workers.memory_per_actor < 4 * BLOCK_BYTES:
        within["block_bytes"] = workers.memory_per_actor // 4
    in_pieces: AnalyseInPieces
    if prepared.properties:
        limits = {index: _least(prepared.time_limits.get(index), workers.time_limit) for index in prepared.properties}
        property_analysis = PropertyAnalysis(
            dict(prepared.properties), {i: s for i, s in limits.items() if s is not None}
        )
        analyse: Analyse = property_analysis
        in_pieces = property_analysis.in_pieces
    else:
        if settings.nodes and workers.time_limit is not None:
            within["time_limit"] = workers.time_limit
        analyse = partial(analyse_sample, **within) if within else analyse_sample
        in_pieces = partial(analyse_in_pieces, **within)
    size = settings.inputs_of(network.input_size)
    variables = payload_variables(settings, outputs=network.output_size, inputs=size)
    # What workers keep for pieces is of one network; each sample's family is a network of its own.
    whole = settings.perturbation is not None
    planning = Planning(
        sample_cost(network, settings), _bytes_per_sample(variables), division.samples_per_unit,
        1 if whole else division.pieces_per_sample, planned,
    )  # fmt: skip
    planning.check(data.labels.size)
    environment = describe_environment(command) | {"inputs": prepared.described}
    if output.name is not None:
        environment["name"] = output.name
    if prepared.part:
        environment["part"] = dict(prepared.part)
    if prepared.warnings:
        environment["warnings"] = list(prepared.warnings)
    manifest = Manifest(
        model=prepared.model, model_digest=network.digest, input_size=size,
        output_size=network.output_size, data=data.name, data_digest=prepared.digest,
        indices=tuple(int(i) for i in data.indices), settings=settings, distverify_version=__version__,
        created=datetime.now(UTC), environment=environment,
        names=prepared.names, axis_names=dict(prepared.axis_names), features=network.input_size if whole else 0,
    )  # fmt: skip
    job = Job(
        network, data, settings, analyse, warm_up_for(network, settings), variables,
        analyse_in_pieces=None if whole else in_pieces, piece_worker=BoundsWorker,
        patience=_PATIENCE if settings.nodes and not whole else math.inf,
        ends_in_order=settings.nodes > 0,
    )  # fmt: skip
    journal = Journal.open(output.output, manifest, overwrite=output.overwrite, retry_failed=output.retry_failed)
    with journal:
        carry_out(journal, executor, job, planning, str(output.output), progress, within.get("time_limit"))
    return open_result(output.output)


def _refuse(kinds: tuple[type, ...], options: Mapping[str, Any], x: Data, y: ArrayLike | None) -> None:
    """Refuse options that would be ignored, by what is chosen and what kind of data there is."""
    named, defaults = options_of(*kinds), defaults_of(*kinds)
    told = {name: value for cls in kinds for name, value in chosen(cls, options).items()}
    given = in_use(told, defaults) | ({"y"} if y is not None else set())
    kind = kind_of(x)
    if "compute" in given and kind != PROPERTIES and PROPERTY in _named(told["compute"]):
        raise SettingsError(
            f"compute: got {PROPERTY}, which is for property files (.vnnlib); choose any of {', '.join(COMPUTE)}"
        )
    refuse(named, {**defaults, **told, "y": "labels", DATA: kind}, given)


def _named(compute: Any) -> Collection[str]:
    """What is a list of names; anything else is refused later, as the settings are made."""
    return compute if isinstance(compute, Collection) else ()


def _without_data(told: dict[str, Any]) -> dict[str, Any]:
    """Settings of a run over a domain alone.

    Raises
    ------
    SettingsError
        No domain; radii, or quantities that are about samples.
    """
    if told.get("domain") is None:
        raise SettingsError(NO_DATA)
    told.setdefault("compute", _OF_DOMAIN)
    about = {n: referring for n in ("eps", "clip", "feature_eps") if (referring := told.get(n))}
    compute = [told["compute"]] if isinstance(told["compute"], str) else told["compute"]
    samples = sorted(q.name for q in catalogue.chosen(compute) if not (q.of_domain or q.of_network))
    if about or samples:
        what = f"{next(iter(about))}: is" if about else f"compute: {samples[0]} is"
        raise SettingsError(f"{what} about samples, and there are none; give data, or leave it out")
    return told


def _least(*limits: float | None) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _bytes_per_sample(variables: dict[str, tuple[tuple[int, ...], str]]) -> int:
    return sum(int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize for shape, dtype in variables.values())
