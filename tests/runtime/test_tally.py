from __future__ import annotations

import logging

import numpy as np
import pytest

from distverify.runtime.failures import log_failures, log_lost
from distverify.runtime.tally import Tally
from distverify.runtime.worker import blank_payload
from distverify.status import FAILED, MISCLASSIFIED, OK, TIMED_OUT
from distverify.work import WorkerRecord, WorkUnit
from tests.runtime import scripted


def test_workers_are_counted_from_ready_to_their_end():
    now = 100.0
    tally = Tally(lambda: now)
    tally.worker_ready(0, "a")
    now = 101.0
    tally.worker_ready(3, "b")
    tally.unit_done(0, 4, 0.5)
    tally.unit_done(3, 0, 0.25)  # a piece
    tally.unit_done(3, 1, 0.25)
    now = 104.0
    tally.worker_gone(0)
    tally.worker_gone(7)  # never ready
    tally.unit_lost()
    tally.unit_failed()
    tally.unit_failed()
    now = 106.0
    tally.worker_gone(0)  # told twice
    tally.unit_done(0, 2, 0.5)  # delivered after the worker's end
    found = tally.statistics()
    assert found.workers == (WorkerRecord(0, "a", 2, 6, 1.0, 4.0), WorkerRecord(3, "b", 2, 1, 0.5, 5.0))
    assert (found.units_done, found.units_failed, found.units_lost) == (4, 2, 1)
    assert found.efficiency == 1.5 / 9.0


def test_every_failure_is_one_line_with_the_sample_s_index(caplog):
    job = scripted.job(scripted.logits)
    payload = blank_payload(job, WorkUnit(4, 9), OK)
    payload["status"][:] = [OK, FAILED, MISCLASSIFIED, TIMED_OUT, OK]
    payload["message"][:] = ["note", "ValueError: bad", "", "stopped after the time limit of 1 s", ""]
    with caplog.at_level(logging.WARNING):
        log_failures(job, WorkUnit(4, 9), payload)
        log_lost(job, WorkUnit(4, 9), "the worker process died")
        log_lost(job, WorkUnit(4, 5), "the worker process died")
    assert caplog.record_tuples == [
        ("distverify.runtime", logging.WARNING, "sample 105 failed: ValueError: bad"),
        ("distverify.runtime", logging.WARNING, "sample 107 timed out: stopped after the time limit of 1 s"),
        (
            "distverify.runtime",
            logging.WARNING,
            "5 samples from 104 to 108 lost, will be computed again: the worker process died",
        ),
        ("distverify.runtime", logging.WARNING, "sample 104 lost, will be computed again: the worker process died"),
    ]


def test_nothing_is_known_before_any_worker():
    assert np.isnan(Tally().statistics().efficiency)
    with pytest.raises(KeyError):
        Tally().unit_done(0, 1, 1.0)
