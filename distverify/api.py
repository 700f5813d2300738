"""The functions that Python users call; the command line is a thin layer over them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from distverify._version import __version__
from distverify.analysis.cost import sample_cost
from distverify.analysis.in_pieces import analyse_in_pieces
from distverify.analysis.piece_worker import BoundsWorker
from distverify.analysis.property import PropertyAnalysis
from distverify.analysis.sample import analyse_sample
from distverify.analysis.warm_up import warm_up
from distverify.bounds.columns import BLOCK_BYTES
from distverify.data.dataset import NO_LABEL, Dataset
from distverify.data.property_set import load_properties
from distverify.driver import Planning, Progress, carry_out
from distverify.errors import SettingsError
from distverify.network.graph import Network
from distverify.prepare import (
    check_fit,
    choose_executor,
    chosen_compute,
    chosen_factors,
    describe_inputs,
    normalise_data,
    open_dataset,
    open_network,
    property_paths,
    refuse_beside_properties,
)  # fmt: skip
from distverify.results.journal.journal import Journal
from distverify.results.manifest import Manifest, describe_environment
from distverify.results.reader import Result, open_result
from distverify.results.schema import payload_variables
from distverify.runtime.job import Analyse, Job
from distverify.settings import MARCH_EVALUATIONS, MARCH_TOLERANCE, Settings
from distverify.work import Plan

__all__ = ["Progress", "certify"]


def certify(
    model: Network | str | os.PathLike[str],
    x: ArrayLike | str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    y: ArrayLike | None = None,
    *,
    output: str | os.PathLike[str],
    eps: Sequence[float] | float = (),
    norm: float = np.inf,
    compute: Collection[str] | None = None,
    method: str = "linear",
    layer_bounds: str = "crown",
    targets: str | int = "untargeted",
    clip: tuple[float, float] | None = None,
    feature_eps: ArrayLike | None = None,
    features: str | None = None,
    domain: tuple[float, float] | None = None,
    march_evaluations: int = MARCH_EVALUATIONS,
    march_tolerance: float = MARCH_TOLERANCE,
    landscape_outputs: str = "all",
    eps_units: str = "raw",
    direction: str = "auto",
    precision: str = "float64",
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    scale: float | None = None,
    layout: str = "flat",
    samples: str | None = None,
    executor: str = "ray",
    address: str | None = None,
    cpus_per_actor: float = 1,
    max_actors: int | None = None,
    memory_per_actor: int | None = None,
    time_limit: float | None = None,
    samples_per_unit: int | None = None,
    pieces_per_sample: int | None = None,
    retry_failed: bool = False,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
    planned: Callable[[Plan], None] | None = None,
    command: str | None = None,
) -> Result:
    """Certify a data set: bounds, Lipschitz constants and radii of every sample, into one HDF5 file.

    Interrupted or killed, the same call continues where it stopped; when the file is complete, it returns at once.

    Parameters
    ----------
    model : Network or path of an ONNX file
    x : array_like [N, ...] or path of a .npz, .h5 or .csv file
        The samples, flattened in C order. Or VNN-LIB property files (one or several paths, or a VNN-COMP
        ``instances.csv``): then each property is verified, and nothing else is computed.
    y : array_like [N], optional
        Labels; for a path they come from the file. Without labels the predicted class stands in.
    output : path
        The result file; next to it a folder ``OUTPUT.parts`` while the run goes on.
    eps : sequence of float
        Radii for "jacobian", "lipschitz", "margins", "monotone" and "verified", in the units of ``x`` (after ``scale``, before
        ``mean`` and ``std``; see ``eps_units``).
    norm : inf, 2 or 1
    compute : any of "jacobian", "lipschitz", "margins", "monotone", "verified", "radius", "landscape", "global"
        By default "lipschitz" and "radius".
    method : "linear", "recurjac", "fastlip" or "interval"
    layer_bounds : "crown" or "interval"
    targets : "untargeted", "runner-up", "least-likely", "random" or a class index
        Which classes the radius must keep away from.
    clip : (lo, hi), optional
        Box that every input lies in.
    feature_eps : array_like [D], optional
        One factor of eps per feature, in the model's order: see :class:`distverify.Ball`.
    features : str, optional
        The features that may change, such as "0:10,12"; the others are fixed. In the model's order.
    domain : (lo, hi), optional
        A box for all features: "jacobian", "lipschitz" and "monotone" are computed over it too, once.
    march_evaluations, march_tolerance
        See :func:`certified_radius`.
    landscape_outputs : "all" or "label"
        Which outputs' stationary points are looked for.
    eps_units : "raw" or "normalised"
        Whether ``eps``, ``clip`` and ``domain`` are in units of the data before or after ``mean`` and ``std``.
    direction : "auto", "backward", "forward" or "both"
        Order in which the outputs' Jacobian is bounded; see :func:`jacobian_bounds`.
    precision : "float64" or "float32"
        Of matrix products: single is faster and a little wider; sound either way.
    mean, std : float or sequence, optional
        The model takes (x - mean) / std: one value, one per channel or one per feature.
    layout : "flat", "chw" or "hwc"
        How a row of ``x`` holds an image: as the model takes it, channel by channel, or pixel by pixel.
    scale, samples
        For a path: divide the values by ``scale``; choose rows such as "0:100" or "3,7".
    executor : "ray" or "serial"
    address : str, optional
        "host:port" of a Ray cluster; by default RAY_ADDRESS, else a local Ray for this run.
    cpus_per_actor, max_actors, memory_per_actor, time_limit
        Of the Ray executor: threads of each worker, most workers, bytes that each reserves (and plans with), seconds per sample.
    samples_per_unit, pieces_per_sample : int, optional
        How the run is cut, where the plan made from timed samples is not wanted: blocks of so many samples; or each sample's
        bounds in so many pieces (blocks of neurons, output rows or columns), which several workers compute side by side.
    retry_failed : bool
        Compute failed and timed-out samples again.
    overwrite : bool
        Replace what is in ``output``.
    progress : callable (Progress), optional
        Called at the start and after every block of samples.
    planned : callable (Plan), optional
        Called with the plan, before most of it is computed.
    command : str, optional
        Recorded in the provenance.

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
    paths = property_paths(x)
    runner = choose_executor(executor, address, cpus_per_actor, max_actors, time_limit, memory_per_actor)
    if paths:
        given = {
            "y": y,
            "scale": scale,
            "features": features,
            "feature_eps": feature_eps,
            "pieces_per_sample": pieces_per_sample,
        }
        beside = [name for name, value in given.items() if value is not None]
        refuse_beside_properties(beside + (["layout"] if layout != "flat" else []))
    # In normalised units, the data are normalised instead of the network.
    fold = eps_units == "raw"
    if not fold and mean is None and std is None:
        raise SettingsError("eps_units: normalised units need mean or std; add them, or leave eps_units out")
    settings = Settings(
        norm=norm, eps=(eps,) if isinstance(eps, int | float) else tuple(eps), compute=chosen_compute(compute, paths),
        method=method, layer_bounds=layer_bounds, targets=targets, clip=clip, domain=domain,
        march_evaluations=march_evaluations, march_tolerance=march_tolerance, landscape_outputs=landscape_outputs,
        eps_units=eps_units, direction=direction, precision=precision,
    )  # fmt: skip
    network, model_name = open_network(model, *((mean, std) if fold else (None, None)))
    network = network.in_precision(precision)
    settings = replace(settings, feature_eps=chosen_factors(network, feature_eps, features))
    names: tuple[str, ...] = ()
    # A quarter of what a worker may take, where that is less than is fastest.
    within: dict[str, Any] = {}
    if memory_per_actor is not None and memory_per_actor < 4 * BLOCK_BYTES:
        within["block_bytes"] = memory_per_actor // 4
    analyse: Analyse = partial(analyse_sample, **within) if within else analyse_sample
    if paths:
        found = load_properties(
            paths, model=model_name, input_size=network.input_size, output_size=network.output_size, samples=samples
        )
        centres = found.centres(network.input_size)
        data = Dataset(centres, np.full(len(centres), NO_LABEL), found.indices, found.name, (network.input_size,))
        data_digest, names = found.digest, found.names
        analyse = PropertyAnalysis(dict(zip(found.indices.tolist(), found.properties, strict=True)))
    else:
        data = open_dataset(x, y, scale, samples, network, layout)  # type: ignore[arg-type]  # no paths: one of the others
        if not fold:
            data = normalise_data(data, network, mean, std)
        data_digest = data.digest
        check_fit(network, data, settings)
    variables = payload_variables(settings, outputs=network.output_size, inputs=network.input_size)
    planning = Planning(
        sample_cost(network, settings), _bytes_per_sample(variables), samples_per_unit, pieces_per_sample, planned
    )
    planning.check(data.labels.size)
    manifest = Manifest(
        model=model_name, model_digest=network.digest, input_size=network.input_size, output_size=network.output_size,
        data=data.name, data_digest=data_digest, indices=tuple(int(i) for i in data.indices), settings=settings,
        distverify_version=__version__, created=datetime.now(UTC),
        environment=describe_environment(command) | {"inputs": describe_inputs(network, scale, mean, std, layout)},
        names=names,
    )  # fmt: skip
    job = Job(
        network, data, settings, analyse, warm_up, variables,
        analyse_in_pieces=None if paths else partial(analyse_in_pieces, **within), piece_worker=BoundsWorker,
    )  # fmt: skip
    with Journal.open(output, manifest, overwrite=overwrite, retry_failed=retry_failed) as journal:
        carry_out(journal, runner, job, planning, str(output), progress)
    return open_result(output)


def _bytes_per_sample(variables: dict[str, tuple[tuple[int, ...], str]]) -> int:
    return sum(int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize for shape, dtype in variables.values())
