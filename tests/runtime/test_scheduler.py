"""The scheduler with whole units: stimuli in, instructions out."""

from __future__ import annotations

import pytest

from distverify.errors import ExecutorError
from distverify.runtime.pool import TaskDone, WorkerLost, WorkerReady
from distverify.runtime.scheduler import (
    GRACE,
    LONGEST_PAUSE,
    MAX_DEATHS,
    MAX_FAILED_STARTS,
    Scheduler,
)
from distverify.runtime.stimuli import (
    Fetch,
    GiveUp,
    Kill,
    Refill,
    ResultLost,
    Retry,
    Send,
    Stop,
    Tell,
    Tick,
)
from distverify.status import FAILED, TIMED_OUT
from distverify.work import WorkUnit
from tests.runtime.instructions import (
    covered,
    look,
    one_by_one,
    ready,
    refill,
    run,
    starts,
    unit,
)


def test_units_are_sent_in_order_and_finish() -> None:
    scheduler = Scheduler([unit(0, 4), unit(4, 6)], max_workers=2)
    assert look(scheduler, 2) == starts(0, 1)
    assert ready(scheduler, 0) == [Send(0, unit(0, 4))]
    assert ready(scheduler, 1) == [Send(1, unit(4, 6))]
    assert scheduler.handle(TaskDone(1, 2), 0.0) == [Fetch(unit(4, 6))]
    assert refill(scheduler) == []
    assert not scheduler.finished
    assert scheduler.handle(TaskDone(0, 4), 0.0) == [Fetch(unit(0, 4))]
    assert scheduler.finished


def test_one_step_at_a_time_is_given_out() -> None:
    scheduler = Scheduler(one_by_one(4))
    assert scheduler.handle(Tick(3), 0.0) == []
    assert scheduler.handle(Refill(), 0.0) == starts(0, 1, 2, 3)
    scheduler.handle(WorkerReady(1), 0.0)
    scheduler.handle(WorkerReady(0), 0.0)
    assert scheduler.handle(Refill(), 0.0) == [Send(0, unit(0))]
    assert scheduler.handle(Refill(), 0.0) == [Send(1, unit(1))]
    assert scheduler.handle(Refill(), 0.0) == []


@pytest.mark.parametrize("bad", range(8))
def test_a_sample_that_always_kills_is_cornered_and_its_neighbours_are_kept(bad: int) -> None:
    done, given_up, deaths = run(Scheduler([unit(0, 8), unit(8, 16)], max_workers=1), dies={bad})
    assert given_up == [GiveUp(unit(bad), FAILED, "given up after 3 workers were lost on it (scripted)")]
    assert covered(done) == [i for i in range(16) if i != bad]
    assert deaths == 3 + MAX_DEATHS  # 8 -> 4 -> 2 -> 1, then three times alone


def test_every_sample_kills() -> None:
    done, given_up, deaths = run(Scheduler([unit(0, 8)], max_workers=1), dies=set(range(8)))
    assert done == []
    assert covered(g.task for g in given_up) == list(range(8))
    assert deaths == 7 + 8 * MAX_DEATHS


def test_a_unit_that_died_goes_to_the_back() -> None:
    scheduler = Scheduler(one_by_one(2), max_workers=1)
    look(scheduler, 1)
    ready(scheduler, 0)
    assert scheduler.handle(WorkerLost(0, "x"), 0.0) == [Retry(unit(0), "x")]
    assert refill(scheduler) == starts(1)
    assert ready(scheduler, 1) == [Send(1, unit(1))]


@pytest.mark.parametrize("task", [unit(0), unit(0, 4)])
def test_a_death_on_a_machine_that_is_gone_is_not_counted_and_splits_nothing(task: WorkUnit) -> None:
    scheduler = Scheduler([task], max_workers=1)
    look(scheduler, 1)
    for worker in range(10):
        assert ready(scheduler, worker) == [Send(worker, task)]
        assert scheduler.handle(WorkerLost(worker, "gone", machine_gone=True), 0.0) == [Retry(task, "gone")]
        assert refill(scheduler) == starts(worker + 1)


def test_an_idle_worker_that_dies_costs_nothing() -> None:
    scheduler = Scheduler([unit(0)])
    assert look(scheduler, 1) == starts(0)
    ready(scheduler, 0)
    scheduler.handle(TaskDone(0), 0.0)
    assert scheduler.handle(WorkerLost(0, "x"), 0.0) == []
    assert scheduler.alive == 0
    assert scheduler.finished


def test_a_lost_result_is_computed_again_and_counts_unless_its_machine_is_gone() -> None:
    scheduler = Scheduler([unit(0)], max_workers=1)
    look(scheduler, 1)
    steps = ready(scheduler, 0)
    for attempt in range(MAX_DEATHS):
        assert steps == [Send(0, unit(0))]
        scheduler.handle(TaskDone(0), 0.0)
        assert scheduler.handle(ResultLost(unit(0), "gone", machine_gone=True), 0.0) == [Retry(unit(0), "gone")]
        assert refill(scheduler) == [Send(0, unit(0))]
        scheduler.handle(TaskDone(0), 0.0)
        (step,) = scheduler.handle(ResultLost(unit(0), "gone"), 0.0)
        assert isinstance(step, GiveUp) == (attempt == MAX_DEATHS - 1)
        steps = refill(scheduler)
    assert scheduler.finished


def test_time_limit_is_exact_alone_and_twice_as_long_in_company() -> None:
    scheduler = Scheduler([unit(0), unit(1, 9)], time_limit=10.0, max_workers=2)
    look(scheduler, 2)
    assert ready(scheduler, 0, 1, now=100.0) == [Send(0, unit(0)), Send(1, unit(1, 9))]
    assert scheduler.handle(Tick(2), 110.0 + GRACE) == []
    late = GiveUp(unit(0), TIMED_OUT, "stopped after the time limit of 10 s")
    assert scheduler.handle(Tick(2), 110.1 + GRACE) == [Kill(0), late]
    assert scheduler.handle(Tick(2), 120.0 + GRACE) == []
    assert scheduler.handle(Tick(2), 120.1 + GRACE) == [Kill(1), Retry(unit(1, 9), "a sample exceeds the time limit")]
    assert refill(scheduler, 130.0) == starts(2, 3)
    assert ready(scheduler, 2, 3) == [Send(2, unit(1)), Send(3, unit(2))]
    for i in range(3, 9):
        scheduler.handle(TaskDone(3), 0.0)
        assert refill(scheduler) == [Send(3, unit(i))]
    scheduler.handle(TaskDone(2), 0.0)
    scheduler.handle(TaskDone(3), 0.0)
    assert scheduler.finished


def test_without_a_time_limit_or_a_look_at_the_machines_nothing_is_overdue() -> None:
    for limit, slots in ((None, 1), (1.0, None)):
        scheduler = Scheduler([unit(0)], time_limit=limit)
        look(scheduler, 1)
        ready(scheduler, 0)
        assert scheduler.handle(Tick(slots), 1e12) == ([Tell(unit(0), 1e12)] if limit is None else [])


def test_a_worker_that_does_not_answer_is_told_after_a_minute_and_again() -> None:
    scheduler = Scheduler(one_by_one(2), max_workers=1)
    look(scheduler, 1)
    ready(scheduler, 0, now=100.0)
    assert scheduler.handle(Tick(1), 159.9) == []
    assert scheduler.handle(Tick(1), 161.0) == [Tell(unit(0), 61.0)]
    assert scheduler.handle(Tick(1), 221.0) == []
    assert scheduler.handle(Tick(1), 222.0) == [Tell(unit(0), 122.0)]
    scheduler.handle(TaskDone(0), 223.0)
    assert refill(scheduler, 223.0) == [Send(0, unit(1))]
    assert scheduler.handle(Tick(1), 282.0) == []
    assert scheduler.handle(Tick(1), 283.0) == [Tell(unit(1), 60.0)]


def test_a_sample_that_hangs_times_out_and_its_neighbours_are_kept() -> None:
    scheduler = Scheduler([unit(0, 8), unit(8, 16)], time_limit=5.0, max_workers=1)
    done, given_up, deaths = run(scheduler, dies={9}, hangs=frozenset({3}))
    assert sorted((covered([g.task])[0], g.status) for g in given_up) == [(3, TIMED_OUT), (9, FAILED)]
    assert covered(done) == [i for i in range(16) if i not in (3, 9)]
    assert deaths == 2 + 3 + MAX_DEATHS


def test_what_a_partly_done_unit_leaves_is_next() -> None:
    scheduler = Scheduler([unit(0, 8), unit(8)], time_limit=1.0, max_workers=1)
    look(scheduler, 1)
    ready(scheduler, 0)
    assert scheduler.handle(TaskDone(0, 3), 0.0) == [Fetch(unit(0, 3))]
    assert refill(scheduler) == [Send(0, unit(3, 8))]


def test_workers_are_started_for_slots_and_a_spare_within_what_is_left() -> None:
    assert len(look(Scheduler(one_by_one(10)), 4)) == 5
    assert len(look(Scheduler(one_by_one(10), max_workers=2), 4)) == 2
    assert len(look(Scheduler(one_by_one(3)), 4)) == 3
    assert len(look(Scheduler(one_by_one(10)), 0)) == 1  # machines may still join
    assert look(Scheduler(one_by_one(10)), None) == []  # nobody can tell
    scheduler = Scheduler(one_by_one(10))
    assert look(scheduler, 4) == starts(0, 1, 2, 3, 4)
    assert look(scheduler, 6) == starts(5, 6)  # a machine joined
    ready(scheduler, 0, 1, 2, 3)
    assert (scheduler.alive, scheduler.starting) == (4, 3)
    scheduler.handle(WorkerLost(0, "x"), 0.0)
    assert refill(scheduler) == starts(7)


def test_stop_begins_nothing_and_waits_for_units_in_flight() -> None:
    scheduler = Scheduler([unit(0, 2), unit(2, 4)])
    look(scheduler, 1)
    ready(scheduler, 0)
    scheduler.handle(Stop(), 0.0)
    assert not scheduler.finished
    assert look(scheduler, 8) == []
    assert scheduler.handle(TaskDone(0, 2), 0.0) == [Fetch(unit(0, 2))]
    assert refill(scheduler) == []
    assert scheduler.finished


def test_starts_that_all_fail_abort_once_none_is_left() -> None:
    scheduler = Scheduler(one_by_one(9))
    workers = look(scheduler, 4)
    assert len(workers) == 5
    for worker in range(4):
        scheduler.handle(WorkerLost(worker, "ImportError: no"), 0.0)
    assert look(scheduler, 4, 1e9) == []  # the last one decides
    with pytest.raises(ExecutorError, match=r"no worker can start: 5 attempts in a row failed \(ImportError"):
        scheduler.handle(WorkerLost(4, "ImportError: no"), 0.0)


def test_few_failed_starts_are_tried_again_and_a_ready_worker_clears_them() -> None:
    scheduler = Scheduler([unit(0)], max_workers=1)
    assert look(scheduler, 1) == starts(0)
    worker = 0
    for _ in range(5):
        for _ in range(MAX_FAILED_STARTS - 1):
            scheduler.handle(WorkerLost(worker, "x"), 0.0)
            worker += 1
            assert refill(scheduler) == starts(worker)
        ready(scheduler, worker)
        scheduler.handle(WorkerLost(worker, "x", machine_gone=True), 0.0)
        worker += 1
        assert refill(scheduler) == starts(worker)


def test_starts_pause_longer_and_longer_while_others_work() -> None:
    scheduler = Scheduler(one_by_one(9))
    assert look(scheduler, 3) == starts(0, 1, 2, 3)
    ready(scheduler, 0)
    for worker in (1, 2, 3):
        scheduler.handle(WorkerLost(worker, "x"), 100.0)
    assert refill(scheduler, 107.9) == []
    assert refill(scheduler, 108.0) == starts(4)
    for worker in range(4, 24):
        scheduler.handle(WorkerLost(worker, "x"), 200.0)
        assert refill(scheduler, 200.0 + LONGEST_PAUSE) == starts(worker + 1)
