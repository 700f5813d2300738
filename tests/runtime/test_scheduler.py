from __future__ import annotations

from collections import Counter
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from distverify.errors import ExecutorError
from distverify.questions.pieces import Piece, Shared
from distverify.runtime.job import PieceTask, Task
from distverify.runtime.pool import TaskDone, WorkerLost, WorkerReady
from distverify.runtime.scheduler import (
    GRACE,
    LONGEST_PAUSE,
    MAX_DEATHS,
    MAX_FAILED_STARTS,
    MOST_RETRIES,
    Scheduler,
)
from distverify.runtime.stimuli import (
    BeginSample,
    Fetch,
    GiveUp,
    Instruction,
    Kill,
    PiecesAsked,
    Refill,
    ResultFetched,
    ResultLost,
    Retry,
    SampleEnded,
    Send,
    StartWorker,
    Stop,
    Tell,
    Tick,
)
from distverify.status import FAILED, TIMED_OUT
from distverify.work import WorkUnit


def refill(scheduler: Scheduler, now: float = 0.0) -> list[Instruction]:
    """All that is given out, up to a sample whose analysis has to say what it needs."""
    instructions: list[Instruction] = []
    while step := scheduler.handle(Refill(), now):
        instructions += step
        if isinstance(step[0], BeginSample):
            break
    return instructions


def look(scheduler: Scheduler, slots: int | None, now: float = 0.0) -> list[Instruction]:
    return scheduler.handle(Tick(slots), now) + refill(scheduler, now)


def ready(scheduler: Scheduler, *workers: int, now: float = 0.0) -> list[Instruction]:
    for worker in workers:
        assert scheduler.handle(WorkerReady(worker), now) == []
    return refill(scheduler, now)


def starts(*workers: int) -> list[Instruction]:
    return [StartWorker(worker) for worker in workers]


def unit(start: int, stop: int | None = None) -> WorkUnit:
    return WorkUnit(start, start + 1 if stop is None else stop)


def one_by_one(count: int) -> list[WorkUnit]:
    return [unit(i) for i in range(count)]


def run(
    scheduler: Scheduler, dies: set[int], hangs: frozenset[int] = frozenset()
) -> tuple[list[WorkUnit], list[GiveUp], int]:
    """Compute everything, one worker at a time; samples in ``dies`` kill it. Units done, those given up, deaths."""
    done: list[WorkUnit] = []
    given_up: list[GiveUp] = []
    deaths, now = 0, 0.0
    (start,) = look(scheduler, 1)
    while not scheduler.finished:
        if isinstance(start, StartWorker):
            scheduler.handle(WorkerReady(start.worker), now)
            (start,) = scheduler.handle(Refill(), now)
        assert isinstance(start, Send)
        worker, task = start.worker, start.task
        assert isinstance(task, WorkUnit)
        bad = [i for i in range(task.start, task.stop) if i in dies | hangs]
        if not bad:
            assert scheduler.handle(TaskDone(worker, task.size), now) == [Fetch(task)]
            scheduler.handle(ResultFetched(task), now)
            done.append(task)
        else:
            if bad[0] in hangs:
                now += 1000.0
                kill, step = scheduler.handle(Tick(1), now)
                assert kill == Kill(worker)
            else:
                (step,) = scheduler.handle(WorkerLost(worker, "scripted"), now)
            deaths += 1
            assert deaths < 1000
            if isinstance(step, GiveUp):
                given_up.append(step)
        if not scheduler.finished:
            start = scheduler.handle(Refill(), now)[0]
    return done, given_up, deaths


def covered(units: Any) -> list[int]:
    return sorted(i for u in units for i in range(u.start, u.stop))


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


def sample(position: int, pieces: int = 4) -> WorkUnit:
    return WorkUnit(position, position + 1, pieces)


def tasks(unit: WorkUnit, count: int = 4, request: int = 1) -> tuple[PieceTask, ...]:
    return tuple(PieceTask(unit, request, i, Piece(f"{i}", "rows", (i, i + 1)), Shared("s")) for i in range(count))


def with_pieces(*units: WorkUnit, **options: Any) -> Scheduler:
    return Scheduler(units, in_pieces=lambda unit: unit.pieces > 1, **options)


def ask(scheduler: Scheduler, unit: WorkUnit, count: int = 4) -> tuple[PieceTask, ...]:
    assert scheduler.handle(PiecesAsked(tasks(unit, count)), 0.0) == []
    return tasks(unit, count)


def test_a_sample_in_pieces_is_begun_where_a_worker_is_idle_and_no_piece_waits() -> None:
    scheduler = with_pieces(sample(0), sample(1), max_workers=5)
    assert look(scheduler, 5) == starts(0, 1, 2, 3, 4)  # and no sample: there is no worker
    assert ready(scheduler, 0, 1, 2, 3, 4) == [BeginSample(sample(0))]
    pieces = ask(scheduler, sample(0))
    sent = refill(scheduler)
    assert sent == [*(Send(i, pieces[i]) for i in range(4)), BeginSample(sample(1))]  # for the worker that is left
    for worker, piece in enumerate(pieces):
        assert scheduler.handle(TaskDone(worker), 0.0) == [Fetch(piece)]
        scheduler.handle(ResultFetched(piece), 0.0)
    assert not scheduler.finished
    scheduler.handle(SampleEnded(sample(0)), 0.0)
    scheduler.handle(SampleEnded(sample(1)), 0.0)
    assert scheduler.finished


def test_pieces_come_before_fresh_units_and_whole_units_stay_in_order() -> None:
    scheduler = with_pieces(sample(0), unit(1, 3), sample(3), max_workers=1)
    look(scheduler, 1)
    assert ready(scheduler, 0) == [BeginSample(sample(0))]
    assert refill(scheduler) == [Send(0, unit(1, 3))]  # while the analysis has not asked yet
    pieces = ask(scheduler, sample(0), 2)
    for piece in pieces:
        scheduler.handle(TaskDone(0, 2), 0.0)
        assert refill(scheduler) == [Send(0, piece)]


def test_a_piece_that_kills_its_workers_is_given_up_after_three_deaths_and_never_split() -> None:
    scheduler = with_pieces(sample(0), max_workers=1)
    look(scheduler, 1)
    ready(scheduler, 0)
    (piece,) = ask(scheduler, sample(0), 1)
    worker, step = 0, refill(scheduler)
    for death in range(1, MAX_DEATHS + 1):
        for machine_gone in (True, False):
            assert step == [Send(worker, piece)]
            (follows,) = scheduler.handle(WorkerLost(worker, "scripted", machine_gone), 0.0)
            assert isinstance(follows, GiveUp) == (death == MAX_DEATHS and not machine_gone)
            worker += 1
            assert refill(scheduler) == starts(worker)
            step = ready(scheduler, worker)
    assert follows == GiveUp(piece, FAILED, "given up after 3 workers were lost on it (scripted)")
    scheduler.handle(SampleEnded(sample(0)), 0.0)
    assert scheduler.finished


def test_a_piece_without_a_result_is_told_to_its_analysis() -> None:
    scheduler = with_pieces(sample(0), max_workers=1)
    look(scheduler, 1)
    ready(scheduler, 0)
    (piece,) = ask(scheduler, sample(0), 1)
    refill(scheduler)
    assert scheduler.handle(TaskDone(0, error="ValueError: no"), 0.0) == [GiveUp(piece, FAILED, "ValueError: no")]


def test_a_lost_result_of_a_piece_is_computed_again() -> None:
    scheduler = with_pieces(sample(0), max_workers=1)
    look(scheduler, 1)
    ready(scheduler, 0)
    (piece,) = ask(scheduler, sample(0), 1)
    assert refill(scheduler) == [Send(0, piece)]
    scheduler.handle(TaskDone(0), 0.0)
    assert scheduler.handle(ResultLost(piece, "gone"), 0.0) == [Retry(piece, "gone")]
    assert refill(scheduler) == [Send(0, piece)]


def test_a_sample_that_is_over_leaves_nothing_waiting_and_forgets_its_pieces_in_flight() -> None:
    scheduler = with_pieces(sample(0), sample(1), max_workers=2)
    look(scheduler, 2)
    ready(scheduler, 0, 1)
    pieces = ask(scheduler, sample(0), 3)
    assert refill(scheduler) == [Send(0, pieces[0]), Send(1, pieces[1])]
    scheduler.handle(SampleEnded(sample(0)), 0.0)
    assert scheduler.handle(WorkerLost(0, "scripted"), 0.0) == []
    assert scheduler.handle(TaskDone(1), 0.0) == []  # its result is not fetched
    assert scheduler.handle(ResultLost(pieces[2], "late"), 0.0) == []
    assert refill(scheduler) == [BeginSample(sample(1))]  # the third piece is dropped
    scheduler.handle(SampleEnded(sample(1)), 0.0)
    assert scheduler.finished


def test_the_time_limit_of_a_sample_in_pieces_counts_from_its_first_piece() -> None:
    scheduler = with_pieces(sample(0), time_limit=10.0, max_workers=2)
    look(scheduler, 2)
    assert ready(scheduler, 0) == [BeginSample(sample(0))]
    assert scheduler.handle(Tick(2), 1e9) == []  # no piece is begun
    pieces = ask(scheduler, sample(0), 3)
    assert refill(scheduler, 100.0) == [Send(0, pieces[0])]
    scheduler.handle(TaskDone(0), 101.0)
    refill(scheduler, 109.0)
    assert scheduler.handle(Tick(2), 110.0 + GRACE) == []
    late = GiveUp(sample(0), TIMED_OUT, "stopped after the time limit of 10 s")
    assert scheduler.handle(Tick(2), 110.1 + GRACE) == [late, Kill(0)]  # the sample's time, not the piece's
    assert scheduler.finished
    assert scheduler.handle(Tick(2), 1e9) == []


def test_workers_wanted_for_samples_in_pieces() -> None:
    assert len(look(with_pieces(sample(0, 8)), 4)) == 5
    assert len(look(with_pieces(sample(0, 2), unit(1, 9)), 4)) == 3
    scheduler = with_pieces(sample(0, 3))
    assert look(scheduler, 0) == starts(0)
    assert ready(scheduler, 0) == [BeginSample(sample(0, 3))]
    assert look(scheduler, 4) == starts(1, 2)  # also while its analysis has not asked
    ask(scheduler, sample(0, 3), 2)
    assert scheduler.demand(100) == 3


def test_stop_keeps_pieces_in_flight_and_begins_no_other() -> None:
    scheduler = with_pieces(sample(0), sample(1), max_workers=2)
    look(scheduler, 2)
    ready(scheduler, 0)
    pieces = ask(scheduler, sample(0), 2)
    assert refill(scheduler) == [Send(0, pieces[0])]
    scheduler.handle(Stop(), 0.0)
    assert ready(scheduler, 1) == []
    assert not scheduler.finished
    assert scheduler.handle(TaskDone(0), 0.0) == [Fetch(pieces[0])]
    assert scheduler.finished


def test_an_iterator_of_units_is_consumed_as_workers_need_them() -> None:
    taken: list[int] = []

    def endless() -> Any:
        for i in range(10**9):
            taken.append(i)
            yield unit(i)

    scheduler = Scheduler(endless(), max_workers=4)
    look(scheduler, 4)
    ready(scheduler, 0, 1, 2, 3)
    for i in range(100):
        for worker in range(4):
            (fetch,) = scheduler.handle(TaskDone(worker), 0.0)
            assert isinstance(fetch, Fetch)
            scheduler.handle(ResultFetched(fetch.task), 0.0)
            assert refill(scheduler) == [Send(worker, unit(4 * i + worker + 4))]
        assert not scheduler.finished
    assert len(taken) <= 404 + 5


def test_what_is_remembered_of_deaths_and_retries_does_not_grow() -> None:
    scheduler = Scheduler((unit(i) for i in range(10**9)), max_workers=1)
    step = look(scheduler, 1)
    for _ in range(20 * MOST_RETRIES):  # every fresh unit dies once
        if isinstance(step[0], StartWorker):
            step = ready(scheduler, step[0].worker)
        (send,) = step
        assert isinstance(send, Send)
        if send.task in scheduler._deaths:
            scheduler.handle(TaskDone(send.worker), 0.0)
            scheduler.handle(ResultFetched(send.task), 0.0)
        else:
            scheduler.handle(WorkerLost(send.worker, "x"), 0.0)
        step = refill(scheduler)
    assert len(scheduler._deaths) <= MOST_RETRIES + 1
    assert len(scheduler._retries) <= MOST_RETRIES + 1


def test_units_may_be_added_at_any_time() -> None:
    scheduler = Scheduler([unit(0)], max_workers=1)
    look(scheduler, 1)
    ready(scheduler, 0)
    scheduler.add([])
    scheduler.add(iter([unit(1)]))
    scheduler.handle(TaskDone(0), 0.0)
    assert refill(scheduler) == [Send(0, unit(1))]
    scheduler.handle(TaskDone(0), 0.0)
    assert scheduler.finished
    scheduler.add([unit(2)])
    assert not scheduler.finished


class RandomFaults(RuleBasedStateMachine):
    """Workers come and die at random; then all goes well, and every sample must have exactly one result."""

    REQUESTS, PIECES = 2, 3  # of each sample in pieces

    def __init__(self) -> None:
        super().__init__()
        self.samples = 15
        units = [unit(0, 8), sample(8), unit(9), sample(10), unit(11, 15)]
        self.scheduler = with_pieces(*units, time_limit=1.0)
        self.now = 0.0
        self.starting: list[int] = []
        self.working: dict[int, Task] = {}
        self.fetching: list[Task] = []
        self.missing: dict[WorkUnit, set[PieceTask]] = {}  # of samples in pieces, begun
        self.results: Counter[int] = Counter()

    def record(self, unit: WorkUnit) -> None:
        self.results.update(range(unit.start, unit.stop))
        assert max(self.results.values()) == 1

    def handle(self, stimulus: Any) -> list[Instruction]:
        instructions = self.scheduler.handle(stimulus, self.now)
        for instruction in instructions:
            self.carry_out(instruction)
        return instructions

    def carry_out(self, step: Instruction) -> None:
        match step:
            case StartWorker():
                self.starting.append(step.worker)
            case Send():
                assert step.worker not in self.working
                if isinstance(step.task, PieceTask):
                    assert step.task in self.missing[step.task.unit]  # no piece of a sample that is over
                self.working[step.worker] = step.task
            case BeginSample():
                self.ask(step.unit, 1)
            case Fetch():
                self.fetching.append(step.task)
            case Kill():
                del self.working[step.worker]
            case GiveUp():
                if isinstance(step.task, PieceTask):
                    self.handle(SampleEnded(step.task.unit))
                    self.end(step.task.unit)
                else:
                    assert step.task.size == 1
                    self.end(step.task)

    def ask(self, unit: WorkUnit, request: int) -> None:
        pieces = tasks(unit, self.PIECES, request)
        self.missing[unit] = set(pieces)
        self.handle(PiecesAsked(pieces))

    def end(self, unit: WorkUnit) -> None:
        self.missing.pop(unit, None)
        self.record(unit)

    def deliver(self, task: Task) -> None:
        self.handle(ResultFetched(task))
        if isinstance(task, WorkUnit):
            self.record(task)
        elif task in self.missing.get(task.unit, ()):
            self.missing[task.unit].remove(task)
            if not self.missing[task.unit]:
                if task.request < self.REQUESTS:
                    self.ask(task.unit, task.request + 1)
                else:
                    self.handle(SampleEnded(task.unit))
                    self.end(task.unit)

    def refill(self) -> None:
        while self.handle(Refill()):
            pass

    def fetch_all(self, delivered: bool = True, machine_gone: bool = False) -> None:
        while self.fetching:
            task = self.fetching.pop()
            if delivered:
                self.deliver(task)
            else:
                self.handle(ResultLost(task, "scripted", machine_gone))

    def pick(self, data: st.DataObject) -> tuple[int, Task]:
        worker = data.draw(st.sampled_from(sorted(self.working)))
        return worker, self.working.pop(worker)

    @rule(slots=st.one_of(st.none(), st.integers(0, 4)))
    def look(self, slots: int | None) -> None:
        self.handle(Tick(slots))
        self.refill()
        assert len(self.starting) == self.scheduler.starting

    @precondition(lambda self: self.starting)
    @rule()
    def ready(self) -> None:
        self.handle(WorkerReady(self.starting.pop()))
        self.refill()

    @precondition(lambda self: len(self.starting) > 1)
    @rule()
    def start_fails(self) -> None:
        self.handle(WorkerLost(self.starting.pop(), "scripted"))

    @precondition(lambda self: self.working)
    @rule(data=st.data(), delivered=st.booleans(), machine_gone=st.booleans(), refill_first=st.booleans())
    def done(self, data: st.DataObject, delivered: bool, machine_gone: bool, refill_first: bool) -> None:
        worker, task = self.pick(data)
        size = task.size if isinstance(task, WorkUnit) else 1
        self.handle(TaskDone(worker, data.draw(st.integers(1, size))))
        if refill_first:
            self.refill()
        self.fetch_all(delivered, machine_gone)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def fails(self, data: st.DataObject) -> None:
        worker, task = self.pick(data)
        if isinstance(task, PieceTask):
            self.handle(TaskDone(worker, 1, error="scripted"))
        else:
            self.handle(TaskDone(worker, task.size))
        self.fetch_all()

    @precondition(lambda self: self.working)
    @rule(data=st.data(), machine_gone=st.booleans())
    def dies(self, data: st.DataObject, machine_gone: bool) -> None:
        worker, _ = self.pick(data)
        self.handle(WorkerLost(worker, "scripted", machine_gone))

    @rule(seconds=st.floats(0.0, 5.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.handle(Tick(2))

    def teardown(self) -> None:
        for _ in range(100):
            if self.scheduler.finished:
                break
            for worker, task in list(self.working.items()):
                del self.working[worker]
                self.handle(TaskDone(worker, task.size if isinstance(task, WorkUnit) else 1))
            self.fetch_all()
            self.now += LONGEST_PAUSE
            self.handle(Tick(4))
            self.refill()
            while self.starting:
                self.handle(WorkerReady(self.starting.pop()))
            self.refill()
        assert self.scheduler.finished
        assert not self.missing
        assert self.results == Counter(range(self.samples))


TestRandomFaults = RandomFaults.TestCase
TestRandomFaults.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
