"""What a run says of the network alone, computed here, or with its searches' trees by the workers of an executor."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from distverify.analysis.network import analyse_network
from distverify.errors import ExecutorError, Interrupted
from distverify.network.graph import Network
from distverify.questions.askers import ThroughCrew
from distverify.questions.pieces import Arrays, Crew
from distverify.results.schema import run_variables_for
from distverify.runtime.job import Executor, Job, UnitDone
from distverify.runtime.serial import SerialExecutor
from distverify.runtime.threads import limit_threads
from distverify.settings import Settings
from distverify.status import OK
from distverify.work import Sample, SampleResult, WorkUnit

# Into how many pieces a question is cut at most: there are rarely more trees.
_PIECES = 64


def compute_network(
    job: Job, executor: Executor, should_stop: Callable[[], bool], time_limit: float | None = None
) -> Arrays:
    """See :func:`distverify.analysis.network.analyse_network`; the same bits, whoever computes.

    Parameters
    ----------
    executor : Executor
        Its workers grow trees over the domain, where a run has nodes and they are others than this process.
    time_limit : float, optional
        Seconds after which searches end, with what is proved.

    Raises
    ------
    ExecutorError
        The workers could not; with the reason.
    Interrupted
        ``should_stop`` says so.
    """
    settings = job.settings
    if settings.domain is None or not settings.nodes or isinstance(executor, SerialExecutor):
        with limit_threads(1):
            return analyse_network(job.network, settings, time_limit)
    sizes = {"output": job.network.output_size, "input": job.network.input_size, "eps": len(settings.eps)}
    variables = {v.name: (v.shape(sizes), v.dtype) for v in run_variables_for(settings)}
    own = replace(
        job, data=job.data.select(np.array([0])), analyse=_no_samples, variables=variables, patience=math.inf,
        analyse_in_pieces=partial(_in_pieces, time_limit=time_limit),
    )  # fmt: skip
    with executor.open(own, should_stop) as session:
        session.add([WorkUnit(0, 1, _PIECES)])
        for event in session.events():
            if isinstance(event, UnitDone):
                if event.payload["status"][0] != OK:
                    raise ExecutorError(f"the network alone: {event.payload['message'][0]}")
                return {name: event.payload[name][0] for name in variables}
    raise Interrupted(job.data.size, job.data.size, "the network alone", None)


def _in_pieces(
    network: Network, sample: Sample, settings: Settings, pieces: int, crew: Crew, *, time_limit: float | None
) -> SampleResult:
    return dict(analyse_network(network, settings, time_limit, ThroughCrew(crew, pieces)))


def _no_samples(network: Network, sample: Sample, settings: Settings) -> SampleResult:
    raise AssertionError("is computed in pieces")
