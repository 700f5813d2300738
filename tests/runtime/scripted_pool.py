"""An executor on virtual time: tasks are computed in this process, and faults happen as a script says, at no cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from distverify.questions.pieces import Shared
from distverify.runtime.job import Job, PieceTask, Recall, Task
from distverify.runtime.loop import Loop
from distverify.runtime.pool import FetchError, Report, TaskDone, WorkerLost, WorkerReady
from distverify.runtime.tally import Tally, kernel_seconds
from distverify.runtime.worker import PieceRunner, describe, run_unit
from distverify.work import Payload
from tests.runtime import scripted

START_SECONDS = 0.1


@dataclass
class ScriptedExecutor:
    """An executor on a :class:`ScriptedPool` of ``workers``, see there."""

    workers: int = 2
    time_limit: float | None = None
    faults: Faults | None = None
    pool: ScriptedPool | None = None  # the last one

    @contextmanager
    def open(self, job: Job, should_stop: Callable[[], bool], recall: Recall | None = None) -> Iterator[Loop]:
        pool = self.pool = ScriptedPool(job, self.workers, self.faults or Faults(0.0), self.time_limit)
        limits: dict[str, Any] = {"max_workers": self.workers, "time_limit": self.time_limit, "clock": pool.clock}
        with scripted.pretending(pool), Loop(pool, job, should_stop, recall, **limits) as loop:
            yield loop
        assert not pool.alive


@dataclass
class Faults:
    """With probability ``share`` a worker dies in a task, a result is lost, and a machine is to blame for either."""

    share: float
    seed: int = 0
    _rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def strikes(self) -> bool:
        return bool(self._rng.random() < self.share)

    def fraction(self) -> float:
        return float(self._rng.random())


class ScriptedPool:
    """A pool whose time passes only in :meth:`wait`; it checks that the loop keeps to the protocol."""

    concurrent = True
    threads = 1

    def __init__(self, job: Job, workers: int, faults: Faults, time_limit: float | None) -> None:
        self.now = 0.0
        self.alive: set[int] = set()
        self.tally: Tally = Tally(self.clock)
        self.wanted: list[int] = []
        self._slots = workers
        self._faults = faults
        self._budget = float("inf") if time_limit is None else time_limit
        self._job = job
        self._runner = PieceRunner(job)
        self._due: dict[int, tuple[float, Report]] = {}
        self._busy: set[int] = set()
        self._slept = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """What an analysis sleeps."""
        self._slept += seconds

    def slots(self) -> int | None:
        return None if self._faults.strikes() else self._slots

    def want(self, workers: int, alive: int) -> None:
        self.wanted.append(workers)

    def start(self, worker: int) -> None:
        assert worker not in self.alive
        self.alive.add(worker)
        report: Report = WorkerReady(worker, "here")
        try:
            self._job.warm_up()
        except scripted.Died:
            report = WorkerLost(worker, "the worker process died")
        except Exception as error:
            report = WorkerLost(worker, describe(error))
        self._due[worker] = self.now + START_SECONDS * (1.0 + worker / 3), report

    def share(self, shared: Shared) -> Shared:
        return shared

    def send(self, worker: int, task: Task, shared: Any = None) -> None:
        assert worker in self.alive
        assert worker not in self._busy
        self._busy.add(worker)
        self._slept = 0.001
        try:
            report: Report = self._compute(worker, task, shared)
        except scripted.Died:
            report = WorkerLost(worker, "the worker process died")
        except scripted.Hung:
            return
        if self._faults.strikes():
            self._slept *= self._faults.fraction()
            report = WorkerLost(worker, "the worker process died")
        self._due[worker] = self.now + self._slept, report

    def _compute(self, worker: int, task: Task, shared: Any) -> TaskDone:
        if isinstance(task, PieceTask):
            assert shared.key == task.shared.key
            kernel, error, arrays = self._runner.run(task.piece, shared)
            return TaskDone(worker, 1, kernel, error, arrays)
        payload = run_unit(self._job, task, self._budget, among_others=True)
        return TaskDone(worker, len(payload["status"]), kernel_seconds(payload), "", payload)

    def wait(self, seconds: float) -> list[Report]:
        first = min((time for time, _ in self._due.values()), default=np.inf)
        self.now = min(max(first, self.now), self.now + seconds) if seconds else self.now
        due = [(worker, report) for worker, (time, report) in self._due.items() if time <= self.now]
        for worker, report in due:
            del self._due[worker]
            self._busy.discard(worker)
            if isinstance(report, WorkerLost):
                self.alive.remove(worker)
        return [report for _, report in due]

    def fetch(self, result: Payload) -> Payload:
        if self._faults.strikes():
            raise FetchError("scripted")
        return result

    def kill(self, worker: int) -> None:
        self.alive.remove(worker)
        self._busy.discard(worker)
        self._due.pop(worker, None)

    def gone(self, worker: int) -> bool:
        return self._faults.strikes()

    def ended(self) -> bool:
        return False
