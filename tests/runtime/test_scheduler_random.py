"""The scheduler under random faults."""

from __future__ import annotations

from collections import Counter
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from distverify.runtime.job import PieceTask, Task
from distverify.runtime.pool import TaskDone, WorkerLost, WorkerReady
from distverify.runtime.scheduler import (
    LONGEST_PAUSE,
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
    SampleEnded,
    Send,
    StartWorker,
    Tick,
)
from distverify.work import WorkUnit
from tests.runtime.instructions import (
    sample,
    tasks,
    unit,
    with_pieces,
)


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
