"""The loop, on a pool whose faults are scripted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from distverify.questions.pieces import HandedBack
from distverify.runtime.job import Executor, PieceDone, UnitDone, UnitLost, WorkersChanged
from distverify.runtime.serial import SerialExecutor
from tests.runtime import scripted
from tests.runtime.contract import (
    SAMPLES,
    FaultContract,
    assert_equal_bits,
    in_pieces,
    truth,
    truth_in_pieces,
)
from tests.runtime.scripted_pool import Faults, ScriptedExecutor


class TestScriptedExecutor(FaultContract):
    @pytest.fixture
    def executor(self) -> Executor:
        return ScriptedExecutor()

    @pytest.fixture
    def limited(self) -> Callable[[float], Executor]:
        return lambda seconds: ScriptedExecutor(time_limit=seconds)


@pytest.mark.parametrize("seed", range(12))
def test_random_faults_cost_time_but_no_result(seed: int) -> None:
    """Three deaths of one sample are rare; where they happen, it is given up in words."""
    faults = Faults(0.15, seed)
    job = scripted.job(scripted.logits)
    events = list(scripted.run(ScriptedExecutor(3, faults=faults), job, scripted.units(1)))
    payload = scripted.results(events)
    gone = [i for i, text in enumerate(payload["message"]) if str(text).startswith("given up after 3 workers")]
    fine = [i for i in range(scripted.SAMPLES) if i not in gone]
    assert len(gone) <= 3
    assert any(isinstance(e, UnitLost) for e in events)
    assert_equal_bits(payload, truth(job), fine)  # type: ignore[arg-type]
    events = in_pieces(ScriptedExecutor(3, faults=faults), scripted.InPieces())
    payload = scripted.results(events, SAMPLES)
    gone = [i for i, text in enumerate(payload["message"]) if "given up after 3 workers" in str(text)]
    fine = [i for i in range(SAMPLES) if i not in gone]
    assert len(gone) <= 3
    assert_equal_bits(payload, truth_in_pieces(), fine)  # type: ignore[arg-type]


def impatient(net: Any, sample: Any, settings: Any, *, patience: float = float("inf")) -> dict[str, Any]:
    """Gives every third sample back, if it is among others."""
    if patience == 1.0 and sample.index % 3 == 1:
        raise HandedBack("takes long")
    return scripted.logits(net, sample, settings)


def same_in_pieces(net: Any, sample: Any, settings: Any, pieces: int, crew: Any) -> dict[str, Any]:
    scripted.InPieces()(net, sample, settings, pieces, crew)
    return scripted.logits(net, sample, settings)


def impatient_job() -> Any:
    return replace(scripted.job_in_pieces(same_in_pieces), analyse=impatient, patience=1.0, shares=4)


@pytest.mark.parametrize(("faults", "size"), [(0.0, 4), (0.0, 1), (0.15, 4)])
def test_a_sample_that_its_worker_gives_back_goes_on_in_pieces(faults: float, size: int) -> None:
    job = impatient_job()
    events = list(scripted.run(ScriptedExecutor(3, faults=Faults(faults, 5)), job, scripted.units(size)))
    payload = scripted.results(events)
    assert set(payload["message"].tolist()) == {""}
    assert_equal_bits(payload, truth(scripted.job(scripted.logits)))
    given_back = [p for p in range(scripted.SAMPLES) if (100 + p) % 3 == 1]
    pieces = [e for e in events if isinstance(e, PieceDone)]
    assert sorted({piece.position for piece in pieces}) == given_back


def test_alone_no_sample_is_given_back_and_a_trial_leaves_it_undone() -> None:
    job = impatient_job()
    events = list(scripted.run(SerialExecutor(), job, scripted.units(4)))
    assert_equal_bits(scripted.results(events), truth(scripted.job(scripted.logits)))
    events = list(scripted.run(SerialExecutor(trial=True), job, scripted.units(4)))
    done = [p for e in events if isinstance(e, UnitDone) for p in range(e.unit.start, e.unit.stop)]
    assert done == [p for p in range(scripted.SAMPLES) if (100 + p) % 3 != 1]


def test_a_slow_consumer_finds_no_more_results_waiting_than_there_are_workers() -> None:
    executor, waiting = ScriptedExecutor(2), []
    with executor.open(scripted.job(scripted.logits, samples=60), scripted.never) as session:
        session.add(scripted.units(1, 60))
        for event in session.events():
            if isinstance(event, UnitDone):
                waiting.append(len(session._units))
                assert executor.pool is not None
                executor.pool.now += 1.0  # the consumer takes its time
    assert len(waiting) == 60
    assert max(waiting) <= 2 + 2  # and those that came in at once


def test_what_is_done_while_the_consumer_took_its_time_is_not_overdue() -> None:
    executor = ScriptedExecutor(2, time_limit=0.5)
    statuses: list[int] = []
    with executor.open(scripted.job(scripted.logits), scripted.never) as session:
        session.add(scripted.units(1))
        for event in session.events():
            if isinstance(event, UnitDone):
                statuses += event.payload["status"].tolist()
                assert executor.pool is not None
                executor.pool.now += 60.0
    assert len(statuses) == scripted.SAMPLES
    assert set(statuses) <= {1, 2}


def test_the_pool_is_told_how_many_workers_could_be_used() -> None:
    executor = ScriptedExecutor(5)
    list(scripted.run(executor, scripted.job(scripted.slow), scripted.units(8)))
    assert executor.pool is not None
    assert executor.pool.wanted[0] == 3


def test_changes_of_workers_are_told_once() -> None:
    events: list[Any] = list(scripted.run(ScriptedExecutor(2), scripted.job(scripted.slow), scripted.units(4)))
    changes = [e for e in events if isinstance(e, WorkersChanged)]
    assert changes == [WorkersChanged(0, 2), WorkersChanged(1, 1), WorkersChanged(2, 0)]
