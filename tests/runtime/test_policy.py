from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from distverify.errors import ExecutorError
from distverify.runtime.policy import GRACE, LONGEST_PAUSE, MAX_DEATHS, MAX_FAILED_STARTS, Scheduler, Verdict
from distverify.runtime.work import FAILED, TIMED_OUT, WorkUnit


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


class RandomFaults(RuleBasedStateMachine):
    """Workers come and die at random; then all goes well, and every sample must have exactly one result."""

    def __init__(self) -> None:
        super().__init__()
        self.samples = 13
        self.scheduler = Scheduler([WorkUnit(0, 8), WorkUnit(8, 9), WorkUnit(9, 13)], time_limit=1.0)
        self.now = 0.0
        self.starting: list[int] = []
        self.working: dict[int, WorkUnit] = {}
        self.results: Counter[int] = Counter()

    def record(self, unit: WorkUnit) -> None:
        self.results.update(range(unit.start, unit.stop))
        assert max(self.results.values()) == 1

    def judge(self, verdict: Verdict | None) -> None:
        if verdict is not None:
            assert verdict.task.size == 1
            self.record(verdict.task)

    def pick(self, data: st.DataObject) -> tuple[int, WorkUnit]:
        worker = data.draw(st.sampled_from(sorted(self.working)))
        return worker, self.working.pop(worker)

    def assign(self) -> None:
        for worker in self.scheduler.idle():
            unit = self.scheduler.assign(worker, self.now)
            if unit is not None:
                self.working[worker] = unit

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
        worker, unit = self.pick(data)
        unit = self.scheduler.done(worker, data.draw(st.integers(1, unit.size)))
        self.assign()
        if delivered:
            self.record(unit)
        else:
            self.judge(self.scheduler.payload_lost(unit, "scripted", node_gone))

    @precondition(lambda self: self.working)
    @rule(data=st.data(), node_gone=st.booleans())
    def dies(self, data: st.DataObject, node_gone: bool) -> None:
        worker, unit = self.pick(data)
        lost, verdict = self.scheduler.died(worker, "scripted", node_gone)
        assert lost == unit
        self.judge(verdict)

    @rule(seconds=st.floats(0.0, 5.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for worker in self.scheduler.overdue(self.now):
            assert self.scheduler.timed_out(worker)[0] == self.working[worker]
            unit = self.working.pop(worker)
            if unit.size == 1:
                self.record(unit)

    def teardown(self) -> None:
        for _ in range(100):
            if self.scheduler.finished:
                break
            self.now += LONGEST_PAUSE
            self.working.clear()
            for worker in list(self.scheduler.overdue(self.now)):
                unit, verdict = self.scheduler.timed_out(worker)
                self.judge(verdict)
            for _ in range(self.scheduler.missing_workers(4, self.now)):
                self.starting.append(self.scheduler.start())
            while self.starting:
                self.scheduler.ready(self.starting.pop())
            self.assign()
            for worker, unit in self.working.items():
                self.record(self.scheduler.done(worker, unit.size))
        assert self.scheduler.finished
        assert self.results == Counter(range(self.samples))


TestRandomFaults = RandomFaults.TestCase
TestRandomFaults.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
