"""Time a handful of samples and predict the whole run."""

from __future__ import annotations

import math
import os
import resource
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distverify.analysis.cost import sample_cost
from distverify.api import prepare_run, run
from distverify.inputs import Data, Model
from distverify.network.graph import Network
from distverify.options.keywords import EstimateKeywords
from distverify.options.option import check_names, takes
from distverify.options.run import Division, Inputs, Output, Workers
from distverify.options.values import whole
from distverify.results.reader import Result
from distverify.runtime.plan import LARGEST_BYTES, SHORTEST_SECONDS, make_plan
from distverify.settings import Settings
from distverify.work import Plan

Floats = NDArray[np.float64]

TIMED = 8
# Two standard errors, but never closer than machines vary from run to run.
_ERRORS = 2.0
_LEAST_SPREAD = 0.15
# Work units of the shortest length that a worker should have, to balance and to be worth its start.
_UNITS_EACH = 2


@dataclass(frozen=True)
class Estimate:
    """The prediction for a run.

    Attributes
    ----------
    samples : int
        Of the whole run.
    timed : int
        Samples that were computed for the prediction.
    core_hours, core_hours_low, core_hours_high : float
        Kernel time on one core like this one: expected, and the range that it should lie in.
    slowest : float
        Seconds of the slowest sample that was timed.
    memory : int
        Bytes that one worker takes at its peak, about.
    file_size : int
        Bytes of the finished result.
    actors : int
        With more workers than this, starting and sending would cost more than they save.
    plan : Plan
        How the run would be cut for the workers that pay off on this machine.
    failures : tuple of str
        Messages of samples that failed.
    """

    samples: int
    timed: int
    core_hours: float
    core_hours_low: float
    core_hours_high: float
    slowest: float
    memory: int
    file_size: int
    actors: int
    plan: Plan
    failures: tuple[str, ...]


@takes(Settings, Inputs)
def estimate(
    model: Model, x: Data, y: ArrayLike | None = None, *, timed: int = TIMED, seed: int = 0,
    **options: Unpack[EstimateKeywords],
) -> Estimate:  # fmt: skip
    """Predict what :func:`distverify.certify` with the same arguments takes.

    Parameters
    ----------
    model, x, y : see :func:`distverify.certify`
    timed : int
        Samples to compute: one out of each of as many equally large groups, from the least to the most clearly classified.
    seed : int
        Of the choice within groups.
    {options}

    Raises
    ------
    SettingsError
        Fewer than two samples to time.
    ModelError, DataError
        As for :func:`distverify.certify`.
    """
    check_names("estimate", options, Settings, Inputs)
    timed, seed = whole("timed", timed, 2), whole("seed", seed, 0)
    prepared = prepare_run(model, x, y, options, (Settings, Inputs))
    positions = choose_samples(prepared.network(prepared.data.inputs), timed, seed)
    with tempfile.TemporaryDirectory() as folder:
        output = Output(output=Path(folder) / "estimate.h5")
        result = run(prepared.take(positions), Workers(executor="serial"), Division(), output)
        return _predict(result, prepared.data.size, prepared.network)


def choose_samples(logits: Floats, count: int, seed: int = 0) -> NDArray[np.int64]:
    """One sample out of each of ``count`` equally large groups, sorted by how clearly the network classifies.

    Samples near a decision boundary need more evaluations and have more unstable neurons around them than clear ones.

    Parameters
    ----------
    logits : float64 [N, outputs]

    Returns
    -------
    int64 [min(count, N)]
    """
    top = np.sort(logits, axis=1)
    clear = top[:, -1] - top[:, -2] if logits.shape[1] > 1 else np.abs(top[:, 0])
    groups = np.array_split(np.argsort(clear, kind="stable"), min(count, len(logits)))
    generator = np.random.default_rng(seed)
    return np.sort(np.array([generator.choice(group) for group in groups], dtype=np.int64))


def _predict(result: Result, samples: int, network: Network) -> Estimate:
    seconds = result["seconds"]
    count = len(seconds)
    mean = float(seconds.mean())
    # Of a finite population: with every sample timed nothing is left to chance but the machine.
    error = (
        float(seconds.std(ddof=1)) / math.sqrt(count) * math.sqrt(max(0.0, 1.0 - count / samples))
        if count > 1
        else mean
    )
    spread = max(_ERRORS * error, _LEAST_SPREAD * mean)
    total = mean * samples
    per_sample = _bytes_per_sample(result)
    file_size = result.path.stat().st_size + (samples - count) * per_sample
    unit = min(LARGEST_BYTES, max(1, math.ceil(SHORTEST_SECONDS / max(mean, 1e-9))) * per_sample)
    actors = max(1, min(samples, int(total / (_UNITS_EACH * SHORTEST_SECONDS))))
    plan = make_plan(
        samples, workers=min(os.cpu_count() or 1, actors), bytes_per_sample=per_sample, seconds_per_sample=mean,
        cost=sample_cost(network, result.settings),
    )  # fmt: skip
    return Estimate(
        samples=samples, timed=count, core_hours=total / 3600, core_hours_low=max(mean - spread, float(seconds.min())) * samples / 3600,
        core_hours_high=(mean + spread) * samples / 3600, slowest=float(seconds.max()), memory=_peak_memory() + 2 * unit,
        file_size=file_size, actors=actors, plan=plan,
        failures=tuple(f.message for f in result.summary().failures),
    )  # fmt: skip


def _bytes_per_sample(result: Result) -> int:
    """Stored size of one more sample; messages are compressed to nearly nothing."""
    dims, sizes = result.dims, result.sizes
    shapes = {
        n: math.prod(sizes[d] for d in axes[1:])
        for n, axes in dims.items()
        if axes[:1] == ("sample",) and n != "message"
    }
    return sum(count * result.read(n, np.s_[:1]).dtype.itemsize for n, count in shapes.items())


def _peak_memory() -> int:
    """Peak resident size of this process, bytes: it has done what a worker does."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
