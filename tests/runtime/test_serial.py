from __future__ import annotations

from typing import Any

import numba
import pytest
from threadpoolctl import threadpool_info

from distverify.errors import ExecutorError, SettingsError
from distverify.runtime.job import Executor, UnitDone, WorkersChanged
from distverify.runtime.serial import SerialExecutor
from distverify.runtime.threads import limit_threads
from tests.runtime import scripted
from tests.runtime.contract import ExecutorContract


class TestSerialExecutor(ExecutorContract):
    @pytest.fixture
    def executor(self) -> Executor:
        return SerialExecutor()


def threads() -> list[int]:
    return [numba.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())]


def test_units_are_done_in_order_by_one_worker() -> None:
    events: list[Any] = list(scripted.run(SerialExecutor(), scripted.job(scripted.logits), scripted.units(7)))
    assert events[:2] == [WorkersChanged(alive=0, starting=1), WorkersChanged(alive=1, starting=0)]
    assert [e.unit for e in events[2:]] == scripted.units(7)


def test_should_stop_ends_the_run_between_units() -> None:
    done: list[UnitDone] = []
    job = scripted.job(scripted.logits)
    for event in scripted.run(SerialExecutor(), job, scripted.units(4), lambda: len(done) >= 2):
        if isinstance(event, UnitDone):
            done.append(event)
    assert len(done) == 2


def test_threads_are_limited_while_the_run_lasts_and_restored() -> None:
    seen: list[list[int]] = []
    before = threads()
    job = scripted.job(lambda *_: seen.append(threads()) or {})  # type: ignore[func-returns-value]
    list(scripted.run(SerialExecutor(), job, scripted.units(24)))
    assert len(seen) == 24
    assert all(set(s) == {1} for s in seen)
    assert threads() == before


def test_threads_are_restored_when_the_consumer_leaves() -> None:
    before = threads()
    events = scripted.run(SerialExecutor(), scripted.job(scripted.logits), scripted.units(4))
    next(events)
    events.close()
    assert threads() == before


def test_a_warm_up_that_fails_is_not_tried_again() -> None:
    job = scripted.job(scripted.logits, scripted.warm_up_raises)
    with pytest.raises(ExecutorError, match=r"could not be warmed up \(ImportError: no kernels here\)"):
        list(scripted.run(SerialExecutor(), job, scripted.units(4)))


def test_limit_threads_refuses_none_and_takes_more_than_there_are() -> None:
    with pytest.raises(SettingsError, match="threads: got 0; give at least 1"):
        limit_threads(0)
    with limit_threads(10_000):
        assert numba.get_num_threads() == numba.config.NUMBA_NUM_THREADS
