"""Scheduling: which worker gets which task, what a death means, when to give up. Events in, instructions out: no Ray, no clock.

A task is a unit of whole samples, or one piece of a sample. Every rule here was earned in kill tests:

* A unit whose worker died goes to the back of the queue. With several samples it goes there in two
  halves, so that a bad sample is cornered in log2(n) deaths and its neighbours keep their results; a
  single sample, or a piece, is given up after ``MAX_DEATHS`` deaths. A death on a machine that is gone is
  not the task's fault and is not counted.
* A time limit holds per sample. A unit of several samples may run for twice the limit, and its worker
  begins no sample once the limit has passed: so a unit that is overdue certainly holds a sample that
  exceeds the limit. Its worker is killed and the samples go on alone, where the limit is exact. For a
  sample in pieces the limit counts from when its first piece is begun.
* A sample that its worker gives back, because it takes long, goes on in pieces before others are begun.
* Pieces come before units: a sample that is begun is finished. Another sample in pieces is begun only
  where a worker is idle and no piece waits.
* A worker that cannot start is tried again, later and later; when ``MAX_FAILED_STARTS`` starts failed in
  a row and no worker is left, the run is aborted.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from distverify.errors import ExecutorError
from distverify.runtime.job import PieceTask, Task
from distverify.runtime.pool import TaskDone, WorkerLost, WorkerReady
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
from distverify.status import FAILED, TIMED_OUT
from distverify.work import WorkUnit

MAX_DEATHS = 3
MAX_FAILED_STARTS = 3
LONGEST_PAUSE = 60.0  # seconds between attempts to start a worker where starts fail
GRACE = 1.0  # seconds for sending a unit and for a busy machine, on top of the time limit
LONG_SECONDS = 60.0  # that a task may take before it is told; units are cut for 20 s at most
MOST_RETRIES = 1000  # units that may wait for another try while fresh ones are left: memory stays bounded


@dataclass(frozen=True)
class _Assignment:
    task: Task
    since: float  # of a piece: since its sample's first piece was begun
    sent: float


class Scheduler:
    """State of the driver loop: tasks that wait, workers, and the task that each worker computes.

    Times are seconds of any monotonic clock, passed in.

    Parameters
    ----------
    units : iterable of WorkUnit
        Disjoint units; an iterator is consumed as workers need them.
    max_workers : int, optional
        Upper limit on workers. Default: as many as there are slots, and one more that waits: it starts at once when a
        machine joins or a worker dies.
    time_limit : float, optional
        Seconds per sample.
    in_pieces : callable (WorkUnit) -> bool, optional
        Units that are begun in the driver, instead of being sent. Default: none.
    """

    def __init__(
        self, units: Iterable[WorkUnit] = (), max_workers: int | None = None, time_limit: float | None = None,
        in_pieces: Callable[[WorkUnit], bool] | None = None,
    ) -> None:  # fmt: skip
        self.time_limit = time_limit
        self._max_workers = max_workers
        self._in_pieces = in_pieces or (lambda unit: False)
        self._slots: int | None = None
        self._pieces: deque[PieceTask] = deque()
        self._rest: deque[WorkUnit] = deque()  # of units that were done in part
        self._fresh: deque[WorkUnit] = deque()  # taken from the sources, not begun
        self._sources: deque[Iterator[WorkUnit]] = deque()
        self._retries: deque[WorkUnit] = deque()
        self._samples: dict[WorkUnit, float | None] = {}  # in pieces, begun: since when their first piece runs
        self._starting: set[int] = set()
        self._ready: set[int] = set()
        self._idle: set[int] = set()
        self._running: dict[int, _Assignment] = {}
        self._running_pieces = 0
        self._deaths: Counter[Task] = Counter()
        self._told: dict[int, float] = {}  # workers that take long, and when that is told again
        self._next_worker = 0
        self._failed_starts = 0
        self._hold_until = float("-inf")
        self._stopping = False
        self.add(units)

    @property
    def alive(self) -> int:
        """Workers that are ready or computing."""
        return len(self._ready)

    @property
    def starting(self) -> int:
        """Workers that are not ready yet; one of them usually waits for a free CPU."""
        return len(self._starting)

    @property
    def finished(self) -> bool:
        """Nothing is in flight, and nothing waits (or nothing will be begun any more)."""
        if self._running:
            return False
        return self._stopping or not (
            self._pieces or self._samples or self._rest or self._retries or self._look_ahead(1)
        )

    @property
    def stopping(self) -> bool:
        """No further task will be begun."""
        return self._stopping

    def add(self, units: Iterable[WorkUnit]) -> None:
        """Queue units behind those that were added before."""
        self._sources.append(iter(units))

    def demand(self, most: int) -> int:
        """How many workers the tasks in flight and waiting could use, ``most`` at the most."""
        planned = sum(unit.pieces for unit in self._samples)
        count = max(len(self._pieces) + self._running_pieces, planned)
        count += len(self._running) - self._running_pieces + len(self._rest) + len(self._retries)
        if count < most:
            self._look_ahead(most - count)
            for unit in self._fresh:
                count += unit.pieces if self._in_pieces(unit) else 1
                if count >= most:
                    break
        return min(count, most)

    def handle(self, event: Stimulus, now: float) -> list[Instruction]:
        """What follows from ``event``, in the order in which it is to be carried out.

        Raises
        ------
        ExecutorError
            Several starts failed in a row, and no worker is alive or starting.
        """
        match event:
            case Refill():
                return self._refill(now)
            case Tick():
                self._slots = event.slots
                return [] if event.slots is None else self._stop_overdue(now)
            case WorkerReady():
                self._starting.remove(event.worker)
                self._ready.add(event.worker)
                self._idle.add(event.worker)
                self._failed_starts = 0
            case TaskDone():
                return self._done(event)
            case WorkerLost():
                return self._lost(event, now)
            case ResultFetched():
                self._deaths.pop(event.task, None)  # nothing needs to be remembered of it
            case ResultLost():
                return self._retry(event.task, event.reason, event.machine_gone)
            case PiecesAsked():
                self._pieces.extend(event.tasks)
            case GivenBack():
                self._fresh.extendleft(reversed(event.units))
            case SampleEnded():
                self._end_sample(event.unit)
            case Stop():
                self._stopping = True
        return []

    # Giving out

    def _refill(self, now: float) -> list[Instruction]:
        if self._stopping:
            return []
        if self._idle:
            task = self._take()
            if task is not None:
                return [self._assign(min(self._idle), task, now)]
            if self._turn_of_a_sample():
                unit = self._fresh.popleft()
                self._samples[unit] = None
                return [BeginSample(unit)]
        return self._start_missing(now)

    def _assign(self, worker: int, task: Task, now: float) -> Send:
        since = now
        if isinstance(task, PieceTask):
            self._running_pieces += 1
            begun = self._samples[task.unit]
            since = now if begun is None else begun
            self._samples[task.unit] = since
        self._idle.remove(worker)
        self._running[worker] = _Assignment(task, since, now)
        return Send(worker, task)

    def _turn_of_a_sample(self) -> bool:
        """Whether the next unit is a sample in pieces, and nothing waits before it."""
        if self._pieces or self._rest or self._full() or not self._look_ahead(1):
            return False
        return self._in_pieces(self._fresh[0])

    def _start_missing(self, now: float) -> list[Instruction]:
        if self._slots is None:
            return []
        most = self._slots + 1 if self._max_workers is None else min(self._slots + 1, self._max_workers)
        if self.alive + self.starting >= most:
            return []
        missing = max(self.demand(most) - self.alive - self.starting, 0)
        if self._failed_starts >= MAX_FAILED_STARTS:
            missing = min(missing, 1) if now >= self._hold_until and not self._starting else 0
        numbers = range(self._next_worker, self._next_worker + missing)
        self._next_worker += missing
        self._starting.update(numbers)
        return [StartWorker(number) for number in numbers]

    # What happened

    def _done(self, event: TaskDone) -> list[Instruction]:
        task = self._release(event.worker)
        self._idle.add(event.worker)
        if isinstance(task, PieceTask):
            if task.unit not in self._samples:
                return []  # its sample is over
            return [GiveUp(task, FAILED, event.error) if event.error else Fetch(task)]
        middle = task.start + event.completed
        if middle == task.stop:
            return [Fetch(task)]
        self._rest.append(WorkUnit(middle, task.stop))
        return [Fetch(WorkUnit(task.start, middle))]

    def _lost(self, event: WorkerLost, now: float) -> list[Instruction]:
        if event.worker in self._starting:
            self._start_failed(event, now)
            return []
        self._ready.remove(event.worker)
        self._idle.discard(event.worker)
        if event.worker not in self._running:
            return []
        return self._retry(self._release(event.worker), event.reason, event.machine_gone)

    def _start_failed(self, event: WorkerLost, now: float) -> None:
        self._starting.remove(event.worker)
        self._failed_starts += 1
        self._hold_until = now + min(2.0**self._failed_starts, LONGEST_PAUSE)
        if self._failed_starts >= MAX_FAILED_STARTS and not self._ready and not self._starting:
            raise ExecutorError(
                f"no worker can start: {self._failed_starts} attempts in a row failed ({event.reason}); check that "
                "distverify and its dependencies are installed, and that memory is free, on every node"
            )

    def _stop_overdue(self, now: float) -> list[Instruction]:
        """What exceeds the time limit, ended."""
        limit = self.time_limit
        if limit is None:
            return self._tell_long(now)
        instructions: list[Instruction] = []
        for unit, since in list(self._samples.items()):
            if since is not None and now - since > limit + GRACE:
                self._end_sample(unit)
                instructions.append(self._too_late(unit))
        for worker, assigned in list(self._running.items()):
            task = assigned.task
            if now - assigned.since <= limit * _samples_at_a_time(task) + GRACE:
                continue
            self._ready.remove(worker)
            self._release(worker)
            instructions.append(Kill(worker))
            if isinstance(task, PieceTask):
                continue  # its sample is given up above
            if task.size == 1:
                instructions.append(self._too_late(task))
            else:
                self._retries.extend(WorkUnit(i, i + 1) for i in range(task.start, task.stop))
                instructions.append(Retry(task, "a sample exceeds the time limit"))
        return instructions

    def _tell_long(self, now: float) -> list[Instruction]:
        """Workers that may be stuck: after a minute, and whenever it is twice as long."""
        instructions: list[Instruction] = []
        for worker, assigned in self._running.items():
            seconds = now - assigned.sent
            if seconds >= self._told.get(worker, LONG_SECONDS):
                self._told[worker] = 2 * seconds
                instructions.append(Tell(assigned.task, seconds))
        return instructions

    def _too_late(self, unit: WorkUnit) -> GiveUp:
        self._deaths.pop(unit, None)
        return GiveUp(unit, TIMED_OUT, f"stopped after the time limit of {self.time_limit:g} s")

    def _end_sample(self, unit: WorkUnit) -> None:
        del self._samples[unit]
        if self._pieces:
            self._pieces = deque(task for task in self._pieces if task.unit != unit)
        for task in [t for t in self._deaths if isinstance(t, PieceTask) and t.unit == unit]:
            del self._deaths[task]

    def _release(self, worker: int) -> Task:
        task = self._running.pop(worker).task
        self._told.pop(worker, None)
        self._running_pieces -= isinstance(task, PieceTask)
        return task

    def _take(self) -> Task | None:
        if self._pieces:
            return self._pieces.popleft()
        if self._rest:
            return self._rest.popleft()
        if not self._full() and self._look_ahead(1):
            return None if self._in_pieces(self._fresh[0]) else self._fresh.popleft()
        return self._retries.popleft() if self._retries else None

    def _full(self) -> bool:
        return len(self._retries) > MOST_RETRIES

    def _look_ahead(self, count: int) -> int:
        """Take units from the sources until ``count`` are at hand, or no more come; returns how many there are."""
        while len(self._fresh) < count and self._sources:
            unit = next(self._sources[0], None)
            if unit is None:
                self._sources.popleft()
            else:
                self._fresh.append(unit)
        return len(self._fresh)

    def _retry(self, task: Task, reason: str, machine_gone: bool) -> list[Instruction]:
        if isinstance(task, PieceTask) and task.unit not in self._samples:
            return []  # its sample is over
        if not machine_gone and isinstance(task, WorkUnit) and task.size > 1:
            middle = (task.start + task.stop) // 2
            self._retries.extend([WorkUnit(task.start, middle), WorkUnit(middle, task.stop)])
            return [Retry(task, reason)]
        if not machine_gone:
            self._deaths[task] += 1
            if self._deaths[task] == MAX_DEATHS:
                del self._deaths[task]
                return [GiveUp(task, FAILED, f"given up after {MAX_DEATHS} workers were lost on it ({reason})")]
        if isinstance(task, PieceTask):
            self._pieces.append(task)
        else:
            self._retries.append(task)
        return [Retry(task, reason)]


def _samples_at_a_time(task: Task) -> int:
    return min(task.size, 2) if isinstance(task, WorkUnit) else 1
