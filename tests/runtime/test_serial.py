from __future__ import annotations

import numba
import numpy as np
import pytest
from threadpoolctl import threadpool_info

from distverify.errors import ExecutorError, SettingsError
from distverify.runtime.job import UnitDone, WorkersChanged
from distverify.runtime.serial import SerialExecutor
from distverify.runtime.threads import limit_threads
from distverify.status import FAILED
from tests.runtime import scripted


def threads() -> list[int]:
    return [numba.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())]


def test_every_unit_is_done_in_order():
    job = scripted.job(scripted.poison)
    events = list(scripted.run(SerialExecutor(), job, scripted.units(7)))
    assert events[0] == WorkersChanged(alive=1, starting=0)
    assert [e.unit for e in events[1:]] == scripted.units(7)
    payload = scripted.results(events)
    assert np.flatnonzero(payload["status"] == FAILED).tolist() == [5]


def test_cutting_the_run_differently_changes_no_bit():
    job = scripted.job(scripted.logits)
    executor = SerialExecutor()
    runs = [scripted.results(list(scripted.run(executor, job, scripted.units(n)))) for n in (1, 5, 24)]
    for name in ("logits", "predicted", "radius", "status", "label"):
        assert runs[0][name].tobytes() == runs[1][name].tobytes() == runs[2][name].tobytes()


def test_should_stop_ends_the_run_between_units():
    done: list[UnitDone] = []
    job = scripted.job(scripted.logits)
    for event in scripted.run(SerialExecutor(), job, scripted.units(4), lambda: len(done) >= 2):
        if isinstance(event, UnitDone):
            done.append(event)
    assert len(done) == 2


def test_threads_are_limited_while_the_run_lasts_and_restored():
    seen, before = [], threads()
    job = scripted.job(lambda *_: seen.append(threads()) or {})
    list(scripted.run(SerialExecutor(), job, scripted.units(24)))
    assert len(seen) == 24
    assert all(set(s) == {1} for s in seen)
    assert threads() == before


def test_threads_are_restored_when_the_consumer_leaves():
    before = threads()
    events = scripted.run(SerialExecutor(), scripted.job(scripted.logits), scripted.units(4))
    next(events)
    events.close()
    assert threads() == before


def test_a_warm_up_that_fails_ends_the_run():
    job = scripted.job(scripted.logits, scripted.warm_up_raises)
    with pytest.raises(ExecutorError, match=r"could not be warmed up \(ImportError: no kernels here\)"):
        list(scripted.run(SerialExecutor(), job, scripted.units(4)))


def test_limit_threads_refuses_none_and_takes_more_than_there_are():
    with pytest.raises(SettingsError, match="threads: got 0; give at least 1"):
        limit_threads(0)
    with limit_threads(10_000):
        assert numba.get_num_threads() == numba.config.NUMBA_NUM_THREADS
