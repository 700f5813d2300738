"""One log line per failure, with the sample's index in the data set and the cause."""

from __future__ import annotations

import logging

import numpy as np

from distverify.runtime.job import Job
from distverify.status import FAILED, STATUS_MEANINGS, TIMED_OUT
from distverify.work import Payload, WorkUnit

log = logging.getLogger("distverify.runtime")


def log_failures(job: Job, unit: WorkUnit, payload: Payload) -> None:
    """Samples of ``unit`` that failed, timed out or were given up."""
    statuses = payload["status"]
    for row in np.flatnonzero((statuses == FAILED) | (statuses == TIMED_OUT)):
        meaning = STATUS_MEANINGS[int(statuses[row])].replace("_", " ")
        log.warning("sample %d %s: %s", job.data.indices[unit.start + row], meaning, payload["message"][row])


def log_lost(job: Job, unit: WorkUnit, reason: str) -> None:
    """A worker or a payload was lost; ``unit`` or its parts will be computed again."""
    log.warning("%s lost, will be computed again: %s", _samples(job, unit), reason)


def log_long(job: Job, unit: WorkUnit, seconds: float) -> None:
    """A worker has not answered for so long, and nothing will end it."""
    log.warning(
        "%s: no answer for %.0f s; the worker is slow, or stopped (a time limit would end what takes too long)",
        _samples(job, unit), seconds,
    )  # fmt: skip


def _samples(job: Job, unit: WorkUnit) -> str:
    first, last = int(job.data.indices[unit.start]), int(job.data.indices[unit.stop - 1])
    return f"sample {first}" if unit.size == 1 else f"{unit.size} samples from {first} to {last}"
