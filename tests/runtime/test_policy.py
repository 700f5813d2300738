from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from distverify.errors import ExecutorError
from distverify.questions.pieces import Piece, Shared
from distverify.runtime.job import PieceTask, Task
from distverify.runtime.policy import (
    GRACE,
    LONGEST_PAUSE,
    MAX_DEATHS,
    MAX_FAILED_STARTS,
    MOST_RETRIES,
    Scheduler,
    Verdict,
)
from distverify.status import FAILED, TIMED_OUT
from distverify.work import WorkUnit


def ready_worker(scheduler: Scheduler) -> int:
    worker = scheduler.start()
    scheduler.ready(worker)
    return worker


def run(
    scheduler: Scheduler, dies: set[int], hangs: frozenset[int] = frozenset()
) -> tuple[list[WorkUnit], list[Verdict], int]:
    """Compute everything, one worker at a time; samples in ``dies`` kill it. Units done, verdicts, deaths."""
    done, verdicts, deaths, now = [], [], 0, 0.0
    worker = ready_worker(scheduler)
    while not scheduler.finished:
        unit = scheduler.assign(worker, now)
        assert unit is not None
        bad = [i for i in range(unit.start, unit.stop) if i in dies | hangs]
        if not bad:
            done.append(scheduler.done(worker, unit.size))
            continue
        if bad[0] in hangs:
            now += 1000.0
            assert scheduler.overdue(now) == [worker]
            _, verdict = scheduler.timed_out(worker)
        else:
            _, verdict = scheduler.died(worker, "scripted")
        deaths += 1
        assert deaths < 1000
        if verdict:
            verdicts.append(verdict)
        worker = ready_worker(scheduler)
    return done, verdicts, deaths


def covered(units) -> list[int]:
    return sorted(i for u in units for i in range(u.start, u.stop))


def test_units_are_assigned_in_order_and_finish():
    scheduler = Scheduler([WorkUnit(0, 4), WorkUnit(4, 6)])
    a, b = ready_worker(scheduler), ready_worker(scheduler)
    assert scheduler.idle() == [a, b]
    assert scheduler.assign(a, 0.0) == WorkUnit(0, 4)
    assert scheduler.idle() == [b]
    assert scheduler.assign(b, 0.0) == WorkUnit(4, 6)
    assert scheduler.done(b, 2) == WorkUnit(4, 6)
    assert scheduler.assign(b, 1.0) is None
    assert not scheduler.finished
    assert scheduler.done(a, 4) == WorkUnit(0, 4)
    assert scheduler.finished


@pytest.mark.parametrize("bad", range(8))
def test_a_sample_that_always_kills_is_cornered_and_its_neighbours_are_kept(bad):
    done, verdicts, deaths = run(Scheduler([WorkUnit(0, 8), WorkUnit(8, 16)]), dies={bad})
    assert [v.task for v in verdicts] == [WorkUnit(bad, bad + 1)]
    assert verdicts[0].status == FAILED
    assert verdicts[0].message == "given up after 3 workers were lost on it (scripted)"
    assert covered(done) == [i for i in range(16) if i != bad]
    assert deaths == 3 + MAX_DEATHS  # 8 -> 4 -> 2 -> 1, then three times alone


def test_every_sample_kills():
    done, verdicts, deaths = run(Scheduler([WorkUnit(0, 8)]), dies=set(range(8)))
    assert done == []
    assert covered(v.task for v in verdicts) == list(range(8))
    assert deaths == 7 + 8 * MAX_DEATHS


def test_a_unit_that_died_goes_to_the_back():
    scheduler = Scheduler([WorkUnit(0, 1), WorkUnit(1, 2)])
    worker = ready_worker(scheduler)
    scheduler.assign(worker, 0.0)
    assert scheduler.died(worker, "x") == (WorkUnit(0, 1), None)
    worker = ready_worker(scheduler)
    assert scheduler.assign(worker, 0.0) == WorkUnit(1, 2)


def test_a_death_on_a_node_that_is_gone_is_not_counted_and_splits_nothing():
    scheduler = Scheduler([WorkUnit(0, 4)])
    for _ in range(10):
        worker = ready_worker(scheduler)
        assert scheduler.assign(worker, 0.0) == WorkUnit(0, 4)
        assert scheduler.died(worker, "node", node_gone=True) == (WorkUnit(0, 4), None)
    single = Scheduler([WorkUnit(0, 1)])
    for _ in range(10):
        worker = ready_worker(single)
        single.assign(worker, 0.0)
        assert single.died(worker, "node", node_gone=True)[1] is None


def test_an_idle_worker_that_dies_costs_nothing():
    scheduler = Scheduler([])
    worker = ready_worker(scheduler)
    assert scheduler.died(worker, "x") == (None, None)
    assert scheduler.alive == 0
    assert scheduler.finished


def test_a_lost_payload_is_computed_again_and_counts_unless_its_node_is_gone():
    scheduler = Scheduler([WorkUnit(0, 1)])
    worker = ready_worker(scheduler)
    for attempt in range(MAX_DEATHS):
        unit = scheduler.assign(worker, 0.0)
        assert unit is not None
        scheduler.done(worker, 1)
        assert scheduler.payload_lost(unit, "gone", node_gone=True) is None
        assert scheduler.assign(worker, 0.0) == unit
        scheduler.done(worker, 1)
        verdict = scheduler.payload_lost(unit, "gone")
        assert (verdict is not None) == (attempt == MAX_DEATHS - 1)
    assert scheduler.finished


def test_time_limit_is_exact_alone_and_twice_as_long_in_company():
    scheduler = Scheduler([WorkUnit(0, 1), WorkUnit(1, 9)], time_limit=10.0)
    alone, several = ready_worker(scheduler), ready_worker(scheduler)
    scheduler.assign(alone, 100.0)
    scheduler.assign(several, 100.0)
    assert scheduler.overdue(110.0 + GRACE) == []
    assert scheduler.overdue(110.1 + GRACE) == [alone]
    unit, verdict = scheduler.timed_out(alone)
    assert verdict == Verdict(unit, TIMED_OUT, "stopped after the time limit of 10 s")
    assert scheduler.overdue(120.0 + GRACE) == []
    assert scheduler.overdue(120.1 + GRACE) == [several]
    assert scheduler.timed_out(several) == (WorkUnit(1, 9), None)
    worker = ready_worker(scheduler)
    assert [scheduler.assign(worker, 0.0) and scheduler.done(worker, 1) for _ in range(8)] == [
        WorkUnit(i, i + 1) for i in range(1, 9)
    ]
    assert scheduler.finished


def test_without_a_time_limit_nothing_is_overdue():
    scheduler = Scheduler([WorkUnit(0, 1)])
    scheduler.assign(ready_worker(scheduler), 0.0)
    assert scheduler.overdue(1e12) == []


def test_a_sample_that_hangs_times_out_and_its_neighbours_are_kept():
    scheduler = Scheduler([WorkUnit(0, 8), WorkUnit(8, 16)], time_limit=5.0)
    done, verdicts, deaths = run(scheduler, dies={9}, hangs=frozenset({3}))
    assert sorted((v.task.start, v.status) for v in verdicts) == [(3, TIMED_OUT), (9, FAILED)]
    assert covered(done) == [i for i in range(16) if i not in (3, 9)]
    assert deaths == 2 + 3 + MAX_DEATHS


def test_what_a_partly_done_unit_leaves_is_next():
    scheduler = Scheduler([WorkUnit(0, 8), WorkUnit(8, 9)], time_limit=1.0)
    worker = ready_worker(scheduler)
    scheduler.assign(worker, 0.0)
    assert scheduler.done(worker, 3) == WorkUnit(0, 3)
    assert scheduler.assign(worker, 0.0) == WorkUnit(3, 8)


def test_workers_wanted_are_slots_and_a_spare_within_what_is_left():
    many = [WorkUnit(i, i + 1) for i in range(10)]
    assert Scheduler(many).missing_workers(4, 0.0) == 5
    assert Scheduler(many, max_workers=2).missing_workers(4, 0.0) == 2
    assert Scheduler(many[:3]).missing_workers(4, 0.0) == 3
    assert Scheduler(many).missing_workers(0, 0.0) == 1  # nodes may still join
    scheduler = Scheduler(many)
    workers = [scheduler.start() for _ in range(5)]
    assert scheduler.missing_workers(4, 0.0) == 0
    assert scheduler.missing_workers(6, 0.0) == 2  # a node joined
    for worker in workers[:4]:
        scheduler.ready(worker)
        scheduler.assign(worker, 0.0)
    assert (scheduler.alive, scheduler.starting) == (4, 1)
    scheduler.died(workers[0], "x")
    assert scheduler.missing_workers(4, 0.0) == 1


def test_stop_begins_nothing_and_waits_for_units_in_flight():
    scheduler = Scheduler([WorkUnit(0, 2), WorkUnit(2, 4)])
    worker = ready_worker(scheduler)
    scheduler.assign(worker, 0.0)
    scheduler.stop()
    assert not scheduler.finished
    assert scheduler.missing_workers(8, 0.0) == 0
    scheduler.done(worker, 2)
    assert scheduler.assign(worker, 0.0) is None
    assert scheduler.finished


def test_starts_that_all_fail_abort_once_none_is_left():
    scheduler = Scheduler([WorkUnit(i, i + 1) for i in range(9)])
    workers = [scheduler.start() for _ in range(5)]
    for worker in workers[:-1]:
        scheduler.start_failed(worker, "ImportError: no", 0.0)
    assert scheduler.missing_workers(4, 1e9) == 0  # the last one decides
    with pytest.raises(ExecutorError, match=r"no worker can start: 5 attempts in a row failed \(ImportError"):
        scheduler.start_failed(workers[-1], "ImportError: no", 0.0)


def test_few_failed_starts_are_tried_again_and_a_ready_worker_clears_them():
    scheduler = Scheduler([WorkUnit(0, 1)])
    for _ in range(5):
        for _ in range(MAX_FAILED_STARTS - 1):
            scheduler.start_failed(scheduler.start(), "x", 0.0)
            assert scheduler.missing_workers(1, 0.0) == 1
        worker = ready_worker(scheduler)
        scheduler.died(worker, "x")


def test_starts_pause_longer_and_longer_while_others_work():
    scheduler = Scheduler([WorkUnit(i, i + 1) for i in range(9)])
    scheduler.assign(ready_worker(scheduler), 0.0)
    for _ in range(MAX_FAILED_STARTS):
        scheduler.start_failed(scheduler.start(), "x", 100.0)
    assert scheduler.missing_workers(4, 107.9) == 0
    assert scheduler.missing_workers(4, 108.0) == 1
    for _ in range(20):
        scheduler.start_failed(scheduler.start(), "x", 200.0)
    assert scheduler.missing_workers(4, 200.0 + LONGEST_PAUSE) == 1


def sample(position: int, pieces: int = 4) -> WorkUnit:
    return WorkUnit(position, position + 1, pieces)


def tasks(unit: WorkUnit, count: int = 4, request: int = 1) -> list[PieceTask]:
    return [PieceTask(unit, request, i, Piece(f"{i}", "rows", (i, i + 1)), Shared("s")) for i in range(count)]


def with_pieces(*units: WorkUnit, **options: object) -> Scheduler:
    return Scheduler(units, in_pieces=lambda unit: unit.pieces > 1, **options)  # type: ignore[arg-type]


def test_a_sample_in_pieces_is_begun_where_a_worker_is_idle_and_no_piece_waits():
    scheduler = with_pieces(sample(0), sample(1))
    assert scheduler.begin_sample() is None  # no worker
    workers = [ready_worker(scheduler) for _ in range(5)]
    assert scheduler.assign(workers[0], 0.0) is None  # not as a whole
    assert scheduler.begin_sample() == sample(0)
    pieces = tasks(sample(0))
    scheduler.add_pieces(pieces)
    assert scheduler.begin_sample() is None  # pieces wait
    assert [scheduler.assign(w, 0.0) for w in workers] == [*pieces, None]
    assert scheduler.idle() == workers[4:]
    assert scheduler.begin_sample() == sample(1)  # for the worker that is left
    assert scheduler.begin_sample() is None  # no more
    for worker, piece in zip(workers, pieces, strict=False):
        assert scheduler.done(worker) == piece
        scheduler.delivered(piece)
    assert not scheduler.finished
    scheduler.end_sample(sample(0))
    scheduler.end_sample(sample(1))
    assert scheduler.finished


def test_pieces_come_before_fresh_units_and_whole_units_stay_in_order():
    scheduler = with_pieces(sample(0), WorkUnit(1, 3), sample(3))
    worker = ready_worker(scheduler)
    scheduler.begin_sample()
    assert scheduler.assign(worker, 0.0) == WorkUnit(1, 3)  # while the analysis has not asked yet
    scheduler.add_pieces(tasks(sample(0), 2))
    scheduler.done(worker, 2)
    assert scheduler.assign(worker, 0.0) == tasks(sample(0))[0]
    scheduler.done(worker)
    assert scheduler.begin_sample() is None
    assert scheduler.assign(worker, 0.0) == tasks(sample(0))[1]


def test_a_piece_that_kills_its_workers_is_given_up_after_three_deaths_and_never_split():
    scheduler = with_pieces(sample(0))
    ready_worker(scheduler)
    scheduler.begin_sample()
    (piece,) = tasks(sample(0), 1)
    scheduler.add_pieces([piece])
    for death in range(1, MAX_DEATHS + 1):
        for node_gone in (True, False):
            worker = ready_worker(scheduler)
            assert scheduler.assign(worker, 0.0) == piece
            lost, verdict = scheduler.died(worker, "scripted", node_gone)
            assert lost == piece
            assert (verdict is not None) == (death == MAX_DEATHS and not node_gone)
    assert verdict == Verdict(piece, FAILED, "given up after 3 workers were lost on it (scripted)")
    scheduler.end_sample(sample(0))
    assert scheduler.finished


def test_a_lost_payload_of_a_piece_is_computed_again():
    scheduler = with_pieces(sample(0))
    worker = ready_worker(scheduler)
    scheduler.begin_sample()
    (piece,) = tasks(sample(0), 1)
    scheduler.add_pieces([piece])
    scheduler.assign(worker, 0.0)
    scheduler.done(worker)
    assert scheduler.payload_lost(piece, "gone") is None
    assert scheduler.assign(worker, 0.0) == piece


def test_a_sample_that_is_over_leaves_nothing_waiting_and_forgets_its_pieces_in_flight():
    scheduler = with_pieces(sample(0), sample(1))
    a, b, c = (ready_worker(scheduler) for _ in range(3))
    scheduler.begin_sample()
    scheduler.add_pieces(tasks(sample(0), 3))
    first, second = scheduler.assign(a, 0.0), scheduler.assign(b, 0.0)
    scheduler.end_sample(sample(0))
    assert scheduler.assign(c, 0.0) is None  # the third is dropped
    assert scheduler.died(a, "scripted") == (first, None)
    assert scheduler.done(b) == second
    assert scheduler.begin_sample() == sample(1)
    scheduler.end_sample(sample(1))
    assert scheduler.finished


def test_the_time_limit_of_a_sample_in_pieces_counts_from_its_first_piece():
    scheduler = with_pieces(sample(0), time_limit=10.0)
    a, b = ready_worker(scheduler), ready_worker(scheduler)
    scheduler.begin_sample()
    assert scheduler.overdue_samples(1e9) == []  # no piece is begun
    scheduler.add_pieces(tasks(sample(0), 3))
    scheduler.assign(a, 100.0)
    scheduler.done(a)
    scheduler.assign(b, 109.0)
    assert scheduler.overdue_samples(110.0 + GRACE) == scheduler.overdue(110.0 + GRACE) == []
    assert scheduler.overdue_samples(110.1 + GRACE) == [sample(0)]
    assert scheduler.too_late(sample(0)) == Verdict(sample(0), TIMED_OUT, "stopped after the time limit of 10 s")
    scheduler.end_sample(sample(0))
    assert scheduler.overdue(110.1 + GRACE) == [b]  # the sample's time, not the piece's
    assert scheduler.timed_out(b) == (tasks(sample(0))[1], None)
    assert scheduler.finished
    assert scheduler.overdue_samples(1e9) == []


def test_workers_wanted_for_samples_in_pieces():
    assert with_pieces(sample(0, 8)).missing_workers(4, 0.0) == 5
    assert with_pieces(sample(0, 2), WorkUnit(1, 9)).missing_workers(4, 0.0) == 3
    scheduler = with_pieces(sample(0, 3))
    worker = ready_worker(scheduler)
    scheduler.begin_sample()
    assert scheduler.missing_workers(4, 0.0) == 2  # also while its analysis has not asked
    scheduler.add_pieces(tasks(sample(0, 3), 2))
    scheduler.assign(worker, 0.0)
    assert scheduler.missing_workers(4, 0.0) == 2
    assert scheduler.demand(100) == 3


def test_stop_keeps_pieces_in_flight_and_begins_no_other():
    scheduler = with_pieces(sample(0), sample(1))
    a, b = ready_worker(scheduler), ready_worker(scheduler)
    scheduler.begin_sample()
    scheduler.add_pieces(tasks(sample(0), 2))
    scheduler.assign(a, 0.0)
    scheduler.stop()
    assert scheduler.assign(b, 0.0) is None
    assert scheduler.begin_sample() is None
    assert not scheduler.finished
    scheduler.done(a)
    assert scheduler.finished


def test_an_iterator_of_units_is_consumed_as_workers_need_them():
    taken: list[int] = []

    def endless():
        for i in range(10**9):
            taken.append(i)
            yield WorkUnit(i, i + 1)

    scheduler = Scheduler(endless())
    assert scheduler.missing_workers(4, 0.0) == 5
    workers = [ready_worker(scheduler) for _ in range(4)]
    for _ in range(100):
        for worker in workers:
            unit = scheduler.assign(worker, 0.0)
            assert unit is not None
            assert scheduler.done(worker, 1) == unit
            scheduler.delivered(unit)
        scheduler.missing_workers(4, 0.0)
        assert not scheduler.finished
    assert len(taken) <= 400 + 5


def test_what_is_remembered_of_deaths_and_retries_does_not_grow():
    units = (WorkUnit(i, i + 1) for i in range(10**9))
    scheduler = Scheduler(units)
    worker = ready_worker(scheduler)
    for _ in range(20 * MOST_RETRIES):  # every fresh unit dies once
        unit = scheduler.assign(worker, 0.0)
        assert isinstance(unit, WorkUnit)
        if unit in scheduler._deaths:
            scheduler.done(worker, 1)
            scheduler.delivered(unit)
        else:
            scheduler.died(worker, "x")
            worker = ready_worker(scheduler)
    assert len(scheduler._deaths) <= MOST_RETRIES + 1
    assert len(scheduler._retries) <= MOST_RETRIES + 1


def test_units_may_be_added_at_any_time():
    scheduler = Scheduler([WorkUnit(0, 1)])
    worker = ready_worker(scheduler)
    scheduler.assign(worker, 0.0)
    scheduler.add([])
    scheduler.add(iter([WorkUnit(1, 2)]))
    scheduler.done(worker, 1)
    assert scheduler.assign(worker, 0.0) == WorkUnit(1, 2)
    scheduler.done(worker, 1)
    assert scheduler.finished
    scheduler.add([WorkUnit(2, 3)])
    assert not scheduler.finished


class RandomFaults(RuleBasedStateMachine):
    """Workers come and die at random; then all goes well, and every sample must have exactly one result."""

    REQUESTS, PIECES = 2, 3  # of each sample in pieces

    def __init__(self) -> None:
        super().__init__()
        self.samples = 15
        units = [WorkUnit(0, 8), sample(8), WorkUnit(9, 10), sample(10), WorkUnit(11, 15)]
        self.scheduler = with_pieces(*units, time_limit=1.0)
        self.now = 0.0
        self.starting: list[int] = []
        self.working: dict[int, Task] = {}
        self.missing: dict[WorkUnit, set[PieceTask]] = {}  # of samples in pieces, begun
        self.results: Counter[int] = Counter()

    def record(self, unit: WorkUnit) -> None:
        self.results.update(range(unit.start, unit.stop))
        assert max(self.results.values()) == 1

    def judge(self, verdict: Verdict | None) -> None:
        if verdict is None:
            return
        if isinstance(verdict.task, PieceTask):
            self.end(verdict.task.unit)
        else:
            assert verdict.task.size == 1
            self.record(verdict.task)

    def ask(self, unit: WorkUnit, request: int) -> None:
        pieces = tasks(unit, self.PIECES, request)
        self.missing[unit] = set(pieces)
        self.scheduler.add_pieces(pieces)

    def end(self, unit: WorkUnit) -> None:
        del self.missing[unit]
        self.scheduler.end_sample(unit)
        self.record(unit)

    def deliver(self, task: Task) -> None:
        self.scheduler.delivered(task)
        if isinstance(task, WorkUnit):
            self.record(task)
        elif task in self.missing.get(task.unit, ()):
            self.missing[task.unit].remove(task)
            if not self.missing[task.unit]:
                if task.request < self.REQUESTS:
                    self.ask(task.unit, task.request + 1)
                else:
                    self.end(task.unit)

    def pick(self, data: st.DataObject) -> tuple[int, Task]:
        worker = data.draw(st.sampled_from(sorted(self.working)))
        return worker, self.working.pop(worker)

    def assign(self) -> None:
        for worker in self.scheduler.idle():
            while True:
                task = self.scheduler.assign(worker, self.now)
                if task is not None:
                    if isinstance(task, PieceTask):
                        assert task in self.missing[task.unit]  # no piece of a sample that is over
                    self.working[worker] = task
                    break
                unit = self.scheduler.begin_sample()
                if unit is None:
                    return
                self.ask(unit, 1)

    def give_up_overdue(self) -> None:
        for unit in self.scheduler.overdue_samples(self.now):
            self.end(unit)
        for worker in self.scheduler.overdue(self.now):
            task, verdict = self.scheduler.timed_out(worker)
            assert task == self.working.pop(worker)
            assert (verdict is not None) == (isinstance(task, WorkUnit) and task.size == 1)
            self.judge(verdict)

    @rule(slots=st.integers(0, 4))
    def start(self, slots: int) -> None:
        for _ in range(self.scheduler.missing_workers(slots, self.now)):
            self.starting.append(self.scheduler.start())
        assert len(self.starting) + self.scheduler.alive <= max(5, self.scheduler.alive)

    @precondition(lambda self: self.starting)
    @rule()
    def ready(self) -> None:
        self.scheduler.ready(self.starting.pop())
        self.assign()

    @precondition(lambda self: len(self.starting) > 1)
    @rule()
    def start_fails(self) -> None:
        self.scheduler.start_failed(self.starting.pop(), "scripted", self.now)

    @precondition(lambda self: self.working)
    @rule(data=st.data(), delivered=st.booleans(), node_gone=st.booleans())
    def done(self, data: st.DataObject, delivered: bool, node_gone: bool) -> None:
        worker, task = self.pick(data)
        size = task.size if isinstance(task, WorkUnit) else 1
        task = self.scheduler.done(worker, data.draw(st.integers(1, size)))
        self.assign()
        if delivered:
            self.deliver(task)
        else:
            self.judge(self.scheduler.payload_lost(task, "scripted", node_gone))

    @precondition(lambda self: self.working)
    @rule(data=st.data(), node_gone=st.booleans())
    def dies(self, data: st.DataObject, node_gone: bool) -> None:
        worker, task = self.pick(data)
        lost, verdict = self.scheduler.died(worker, "scripted", node_gone)
        assert lost == task
        self.judge(verdict)

    @rule(seconds=st.floats(0.0, 5.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.give_up_overdue()

    def teardown(self) -> None:
        for _ in range(100):
            if self.scheduler.finished:
                break
            for worker, task in list(self.working.items()):
                del self.working[worker]
                self.deliver(self.scheduler.done(worker, task.size if isinstance(task, WorkUnit) else 1))
            self.now += LONGEST_PAUSE
            self.give_up_overdue()
            for _ in range(self.scheduler.missing_workers(4, self.now)):
                self.starting.append(self.scheduler.start())
            while self.starting:
                self.scheduler.ready(self.starting.pop())
            self.assign()
        assert self.scheduler.finished
        assert not self.missing
        assert self.results == Counter(range(self.samples))


TestRandomFaults = RandomFaults.TestCase
TestRandomFaults.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
