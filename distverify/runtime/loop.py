"""The driver's loop, the same for every executor: it tells the scheduler what happens, and does what the scheduler says."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import numpy as np

from distverify.runtime.conversation import SampleInPieces
from distverify.runtime.failures import log_failures, log_long, log_lost
from distverify.runtime.job import Event, Job, PieceDone, PieceTask, Recall, Task, UnitDone, UnitLost, WorkersChanged
from distverify.runtime.pool import FetchError, Pool, Report, TaskDone, WorkerLost, WorkerReady
from distverify.runtime.scheduler import Scheduler
from distverify.runtime.stimuli import (
    BeginSample,
    Fetch,
    GivenBack,
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
    Stimulus,
    Stop,
    Tell,
    Tick,
)
from distverify.runtime.threads import ThreadLimit, limit_threads
from distverify.runtime.worker import blank_payload
from distverify.status import HANDED_BACK
from distverify.work import Payload, RunStatistics, WorkUnit

POLL_SECONDS = 0.5  # how late a signal, an overdue unit or a new node may be noticed
MOST_WANTED = 256  # workers that a pool is told could be used, where no number is given
SHARED_KEPT = 4  # of each sample in the pool: an analysis may come back to earlier ones


@dataclass(frozen=True, eq=False)
class _Delivery:
    """A task that is done; its results wait where they were computed."""

    task: Task
    done: TaskDone


class Loop:
    """A session of :class:`distverify.runtime.job.Session`, on a pool; leaving its ``with`` block ends the workers.

    Parameters
    ----------
    pool : Pool
    job, should_stop, recall
        See :meth:`distverify.runtime.job.Executor.open`.
    max_workers : int, optional
        Upper limit, whatever there is room for.
    time_limit : float, optional
        Seconds per sample; for pools that can kill.
    clock : callable () -> float
        Seconds, monotonic.
    """

    def __init__(
        self, pool: Pool, job: Job, should_stop: Callable[[], bool], recall: Recall | None = None, *,
        max_workers: int | None = None, time_limit: float | None = None, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._pool = pool
        self._job = job
        self._should_stop = should_stop
        self._recall = recall
        # One that is no process of its own has no use for a spare.
        self._max_workers = max_workers if pool.concurrent else 1
        self._clock = clock
        self._scheduler = Scheduler((), self._max_workers, time_limit, job.in_pieces)
        self._samples: dict[WorkUnit, SampleInPieces] = {}  # begun
        self._shared: dict[WorkUnit, dict[str, Any]] = {}  # what their pieces share, as the pool holds it
        self._limit: ThreadLimit | None = None
        self._units: deque[_Delivery] = deque()
        self._pieces: deque[_Delivery] = deque()
        self._outbox: deque[Event] = deque()
        self._workers: set[int] = set()
        self._reported = WorkersChanged(alive=0, starting=0)
        self._next_look = -math.inf

    def __enter__(self) -> Loop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sample in self._samples.values():
            sample.close()
        self._samples.clear()
        self._shared.clear()
        for worker in list(self._workers):
            self._forget(worker)
            self._pool.kill(worker)
        self._pool.tally.workers(0)
        if self._limit is not None:
            self._limit.restore()

    @property
    def slots(self) -> int:
        """How many workers fit on the machines that are there now; at least 1."""
        slots = self._pool.slots() or 1
        return max(1, min(slots, self._max_workers or slots))

    def add(self, units: Iterable[WorkUnit]) -> None:
        """Queue units; an iterator is consumed as workers need them."""
        self._scheduler.add(units)

    def events(self) -> Generator[Event]:
        """Yield events until every sample added is done, or ``should_stop()`` and nothing is in flight.

        Raises
        ------
        ExecutorError
            Workers cannot start, or what runs them failed.
        """
        while True:
            yield from self._told()
            # Of the units that are done one at a time is fetched, so that workers need not wait for all.
            if self._units:
                self._fetch_unit(self._units.popleft())
                yield from self._told()
            stopping = self._stopping()
            if self._scheduler.finished and not self._units:
                return
            if stopping and self._pool.ended():
                # A SIGTERM to the process group, or to the batch job, ended the workers as well: what was in flight is lost.
                return
            if len(self._units) <= self._scheduler.alive:  # so a slow consumer costs time, not memory
                self._collect()
                self._look()
            self._refill()
            self._report_workers()

    def statistics(self) -> RunStatistics:
        """So far."""
        return self._pool.tally.statistics()

    @property
    def open_subproblems(self) -> int:
        """Of the searches that go on in pieces."""
        return sum(sample.open_subproblems for sample in self._samples.values())

    def _told(self) -> Iterator[Event]:
        while self._outbox:
            yield self._outbox.popleft()

    def _stopping(self) -> bool:
        """Whether nothing more is begun. Asked often: a signal may have come while this loop waited for something."""
        if not self._scheduler.stopping and self._should_stop():
            self._handle(Stop())
            for sample in self._samples.values():
                sample.close()  # its pieces in flight are told when they come
        return self._scheduler.stopping

    # From the pool to the scheduler

    def _collect(self) -> None:
        """Wait for something to happen, until the next look at the most, and deal with all that has."""
        now = self._clock()
        hurry = self._outbox or self._units
        for report in self._pool.wait(0.0 if hurry else min(max(self._next_look - now, 0.0), POLL_SECONDS)):
            self._take(report)
        self._refill()  # before any fetch: transfer and computation overlap
        while self._pieces:
            self._fetch_piece(self._pieces.popleft())

    def _take(self, report: Report) -> None:
        if isinstance(report, WorkerReady):
            self._pool.tally.worker_ready(report.worker, report.node)
        elif isinstance(report, WorkerLost):
            counted = self._pool.tally.worker_gone(report.worker)
            self._workers.discard(report.worker)
            # A worker that never was ready had no task to be blamed.
            if counted and self._gone(report.worker):
                text = report.reason if self._stopping() else f"its machine is gone ({report.reason})"
                report = replace(report, reason=text, machine_gone=True)
        self._handle(report, report if isinstance(report, TaskDone) else None)

    def _gone(self, worker: int) -> bool:
        """Whether its machine is to blame. When a run stops, what runs the workers may have ended too, and would not answer."""
        return self._stopping() or self._pool.gone(worker)

    def _look(self) -> None:
        """Once per poll interval: what is overdue, and how many workers there is room for."""
        now = self._clock()
        if now < self._next_look:
            return
        self._next_look = now + POLL_SECONDS
        slots = self._pool.slots()
        if slots is not None and not self._stopping():
            self._pool.want(self._scheduler.demand(self._max_workers or MOST_WANTED), self._scheduler.alive)
        self._handle(Tick(slots))

    def _report_workers(self) -> None:
        now = WorkersChanged(self._scheduler.alive, self._scheduler.starting)
        if now != self._reported:
            if now.alive != self._reported.alive:
                self._pool.tally.workers(now.alive)
            self._reported = now
            self._outbox.append(now)

    # From the scheduler to the pool

    def _refill(self) -> None:
        """Give idle workers tasks, and start workers, as long as there is something to give."""
        if not self._pool.concurrent and (self._outbox or self._units or self._pieces):
            return  # tell first: the run may be stopped by it
        while not self._stopping():
            told = len(self._outbox)
            if not self._handle(Refill()):
                return
            if len(self._outbox) > told:
                return  # a sample without a piece to compute: tell first, so that such samples do not pile up

    def _handle(self, stimulus: Stimulus, done: TaskDone | None = None) -> bool:
        """Carry out what follows from ``stimulus``; whether anything did."""
        instructions = self._scheduler.handle(stimulus, self._clock())
        for instruction in instructions:
            self._carry_out(instruction, done)
        return bool(instructions)

    def _carry_out(self, instruction: Instruction, done: TaskDone | None) -> None:
        match instruction:
            case StartWorker():
                self._workers.add(instruction.worker)
                self._pool.start(instruction.worker)
            case Send():
                self._pool.send(instruction.worker, instruction.task, self._shared_of(instruction.task))
            case Kill():
                self._forget(instruction.worker)
                self._pool.kill(instruction.worker)
            case Fetch():
                assert done is not None
                waiting = self._pieces if isinstance(instruction.task, PieceTask) else self._units
                waiting.append(_Delivery(instruction.task, done))
            case BeginSample():
                self._begin(instruction.unit)
            case Retry():
                self._retried(instruction)
            case GiveUp():
                self._give_up(instruction)
            case Tell():
                task = instruction.task
                log_long(self._job, task.unit if isinstance(task, PieceTask) else task, instruction.seconds)

    def _shared_of(self, task: Task) -> Any:
        """What the pieces of a request share, brought into the pool by the first of them."""
        if not isinstance(task, PieceTask):
            return None
        kept = self._shared.setdefault(task.unit, {})
        key = task.shared.key
        if key not in kept:
            if len(kept) == SHARED_KEPT:
                del kept[next(iter(kept))]  # what is in flight holds it as long as it needs it
            kept[key] = self._pool.share(task.shared)
        return kept[key]

    def _forget(self, worker: int) -> None:
        self._workers.discard(worker)
        self._pool.tally.worker_gone(worker)

    # Results

    def _fetch_unit(self, delivery: _Delivery) -> None:
        values = self._fetch(delivery)
        if values is not None and isinstance(delivery.task, WorkUnit):
            given_back = np.flatnonzero(values["status"] == HANDED_BACK)
            self._pool.tally.unit_done(
                delivery.done.worker, delivery.task.size - given_back.size, delivery.done.seconds
            )
            start, first = delivery.task.start, 0
            for row in (*given_back.tolist(), delivery.task.size):
                if row > first:
                    own = {name: v[first:row] for name, v in values.items()} if given_back.size else values
                    self._tell(WorkUnit(start + first, start + row), own)
                first = row + 1
            if given_back.size and self._pool.concurrent:  # else nobody is there to help: left undone
                shares = max(2, self._job.shares)
                self._handle(GivenBack(tuple(WorkUnit(start + k, start + k + 1, shares) for k in given_back.tolist())))

    def _fetch_piece(self, delivery: _Delivery) -> None:
        task = delivery.task
        values = self._fetch(delivery)
        if values is None or not isinstance(task, PieceTask):
            return
        seconds = delivery.done.seconds
        self._pool.tally.unit_done(delivery.done.worker, 0, seconds)
        sample = self._samples.get(task.unit)
        if sample is not None:  # else its sample is over
            self._outbox.append(PieceDone(task.unit.start, task.piece.key, values, seconds))
            self._go_on(sample, sample.accept(task, values, seconds))

    def _fetch(self, delivery: _Delivery) -> Payload | None:
        try:
            values = self._pool.fetch(delivery.done.result)
        except FetchError as error:
            text = f"its result cannot be fetched ({error})"
            self._handle(ResultLost(delivery.task, text, self._gone(delivery.done.worker)))
            return None
        self._handle(ResultFetched(delivery.task))
        return values

    # Samples in pieces

    def _begin(self, unit: WorkUnit) -> None:
        if self._limit is None:
            self._limit = limit_threads(self._pool.threads)  # an analysis here computes as one in a worker
        sample = self._samples[unit] = SampleInPieces(self._job, unit, self._recall)
        self._go_on(sample, sample.begin())

    def _go_on(self, sample: SampleInPieces, tasks: list[PieceTask]) -> None:
        """The sample's analysis has asked for more, or has ended."""
        if sample.payload is None:
            self._handle(PiecesAsked(tuple(tasks)))
        else:
            self._handle(SampleEnded(sample.unit))
            self._close(sample.unit)
            self._tell(sample.unit, sample.payload)

    def _close(self, unit: WorkUnit) -> None:
        sample = self._samples.pop(unit, None)
        if sample is not None:
            sample.close()
        self._shared.pop(unit, None)

    # What is told

    def _retried(self, instruction: Retry) -> None:
        task, text = instruction.task, instruction.reason
        unit = task
        if isinstance(task, PieceTask):
            unit, text = task.unit, f"{task.piece}: {text}"
        assert isinstance(unit, WorkUnit)
        self._pool.tally.unit_lost()
        if not self._scheduler.stopping:  # else what ends the run may have ended the worker too
            log_lost(self._job, unit, text)
        self._outbox.append(UnitLost(unit, text))

    def _give_up(self, instruction: GiveUp) -> None:
        self._pool.tally.unit_failed()
        task = instruction.task
        if isinstance(task, PieceTask):
            sample = self._samples[task.unit]
            self._go_on(sample, sample.fail(task, instruction.message))
        else:
            self._close(task)
            self._tell(task, blank_payload(self._job, task, instruction.status, instruction.message))

    def _tell(self, unit: WorkUnit, payload: Payload) -> None:
        self._pool.tally.outcome(payload)
        log_failures(self._job, unit, payload)
        self._outbox.append(UnitDone(unit, payload))
