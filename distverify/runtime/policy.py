"""Scheduling policy: which worker gets which task, what a death means, when to give up. No Ray, no clock.

A task is a unit of whole samples, or one piece of a sample. Every rule here was earned in kill tests:

* A unit whose worker died goes to the back of the queue. With several samples it goes there in two
  halves, so that a bad sample is cornered in log2(n) deaths and its neighbours keep their results; a
  single sample, or a piece, is given up after ``MAX_DEATHS`` deaths. A death on a node that is gone is not
  the task's fault and is not counted.
* A time limit holds per sample. A unit of several samples may run for twice the limit, and its worker
  begins no sample once the limit has passed: so a unit that is overdue certainly holds a sample that
  exceeds the limit. Its worker is killed and the samples go on alone, where the limit is exact. For a
  sample in pieces the limit counts from when its first piece is begun.
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
from distverify.status import FAILED, TIMED_OUT
from distverify.work import WorkUnit

MAX_DEATHS = 3
MAX_FAILED_STARTS = 3
LONGEST_PAUSE = 60.0  # seconds between attempts to start a worker where starts fail
GRACE = 1.0  # seconds for sending a unit and for a busy machine, on top of the time limit
MOST_RETRIES = 1000  # units that may wait for another try while fresh ones are left: memory stays bounded


@dataclass(frozen=True)
class Verdict:
    """``task`` is given up: record ``status`` (FAILED or TIMED_OUT) and ``message`` for its samples."""

    task: Task
    status: int
    message: str


@dataclass(frozen=True)
class _Assignment:
    task: Task
    since: float  # of a piece: since its sample's first piece was begun


class Scheduler:
    """State of the driver loop: tasks that wait, workers, and the task that each worker computes.

    Times are seconds of any monotonic clock, passed in. Workers are the numbers that :meth:`start` returns.

    Parameters
    ----------
    units : iterable of WorkUnit
        Disjoint units; an iterator is consumed as workers need them.
    max_workers : int, optional
        Upper limit on workers. Default: as many as there are slots.
    time_limit : float, optional
        Seconds per sample.
    in_pieces : callable (WorkUnit) -> bool, optional
        Units that :meth:`begin_sample` returns, instead of :meth:`assign`. Default: none.
    """

    def __init__(
        self, units: Iterable[WorkUnit] = (), max_workers: int | None = None, time_limit: float | None = None,
        in_pieces: Callable[[WorkUnit], bool] | None = None,
    ) -> None:  # fmt: skip
        self.time_limit = time_limit
        self._max_workers = max_workers
        self._in_pieces = in_pieces or (lambda unit: False)
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

    def stop(self) -> None:
        """Begin no further task; those in flight finish."""
        self._stopping = True

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

    def missing_workers(self, slots: int, now: float) -> int:
        """How many workers to start now.

        Parameters
        ----------
        slots : int
            Workers that fit on the nodes alive. One more is kept pending: it starts at once when a node
            joins or a worker dies.
        """
        most = slots + 1 if self._max_workers is None else min(slots + 1, self._max_workers)
        if self._stopping or self.alive + self.starting >= most:
            return 0
        missing = max(self.demand(most) - self.alive - self.starting, 0)
        if self._failed_starts >= MAX_FAILED_STARTS:
            return min(missing, 1) if now >= self._hold_until and not self._starting else 0
        return missing

    def start(self) -> int:
        """A new worker is being started; returns its number."""
        worker = self._next_worker
        self._next_worker += 1
        self._starting.add(worker)
        return worker

    def ready(self, worker: int) -> None:
        """``worker`` has started and can be given a task."""
        self._starting.remove(worker)
        self._ready.add(worker)
        self._idle.add(worker)
        self._failed_starts = 0

    def start_failed(self, worker: int, reason: str, now: float) -> None:
        """``worker`` died, or raised, before it was ready.

        Raises
        ------
        ExecutorError
            Several starts failed in a row, and no other worker is alive or starting.
        """
        self._starting.remove(worker)
        self._failed_starts += 1
        self._hold_until = now + min(2.0**self._failed_starts, LONGEST_PAUSE)
        if self._failed_starts >= MAX_FAILED_STARTS and not self._ready and not self._starting:
            raise ExecutorError(
                f"no worker can start: {self._failed_starts} attempts in a row failed ({reason}); check that "
                "distverify and its dependencies are installed, and that memory is free, on every node"
            )

    def idle(self) -> list[int]:
        """Ready workers without a task, ascending."""
        return sorted(self._idle)

    def assign(self, worker: int, now: float) -> Task | None:
        """The next task for the idle ``worker``, or None."""
        task = None if self._stopping else self._take()
        if task is None:
            return None
        since = now
        if isinstance(task, PieceTask):
            self._running_pieces += 1
            begun = self._samples[task.unit]
            since = now if begun is None else begun
            self._samples[task.unit] = since
        self._idle.remove(worker)
        self._running[worker] = _Assignment(task, since)
        return task

    def begin_sample(self) -> WorkUnit | None:
        """The next sample in pieces, if its turn has come: a worker is idle, and nothing waits before it."""
        if self._stopping or not self._idle or self._pieces or self._rest or self._full():
            return None
        if not self._look_ahead(1) or not self._in_pieces(self._fresh[0]):
            return None
        unit = self._fresh.popleft()
        self._samples[unit] = None
        return unit

    def add_pieces(self, tasks: Iterable[PieceTask]) -> None:
        """Queue pieces of samples that are begun."""
        self._pieces.extend(tasks)

    def end_sample(self, unit: WorkUnit) -> None:
        """The sample in pieces is done, or given up: its waiting pieces are dropped."""
        del self._samples[unit]
        if self._pieces:
            self._pieces = deque(task for task in self._pieces if task.unit != unit)
        for task in [t for t in self._deaths if isinstance(t, PieceTask) and t.unit == unit]:
            del self._deaths[task]

    def done(self, worker: int, completed: int = 1) -> Task:
        """``worker`` finished ``completed`` samples of its unit, or its piece; returns what is done, the rest waits again."""
        task = self._release(worker)
        self._idle.add(worker)
        if isinstance(task, PieceTask):
            return task
        middle = task.start + completed
        if middle == task.stop:
            return task
        self._rest.append(WorkUnit(middle, task.stop))
        return WorkUnit(task.start, middle)

    def delivered(self, task: Task) -> None:
        """The results of ``task``, which is done, were fetched: nothing needs to be remembered of it."""
        self._deaths.pop(task, None)

    def died(self, worker: int, reason: str, node_gone: bool = False) -> tuple[Task | None, Verdict | None]:
        """A ready ``worker`` died: the task that it had, if any, and a verdict where the task is given up."""
        self._ready.remove(worker)
        self._idle.discard(worker)
        if worker not in self._running:
            return None, None
        task = self._release(worker)
        return task, self._retry(task, reason, node_gone)

    def payload_lost(self, task: Task, reason: str, node_gone: bool = False) -> Verdict | None:
        """``task`` was done, but its payload cannot be fetched; a verdict where it is given up."""
        return self._retry(task, reason, node_gone)

    def overdue(self, now: float) -> list[int]:
        """Workers that exceed the time limit; kill each, and call :meth:`timed_out`."""
        limit = self.time_limit
        if limit is None:
            return []
        return [w for w, a in self._running.items() if now - a.since > limit * _samples_at_a_time(a.task) + GRACE]

    def overdue_samples(self, now: float) -> list[WorkUnit]:
        """Samples in pieces that exceed the time limit; for each, call :meth:`end_sample`, then kill those :meth:`overdue`."""
        limit = self.time_limit
        if limit is None:
            return []
        return [unit for unit, since in self._samples.items() if since is not None and now - since > limit + GRACE]

    def timed_out(self, worker: int) -> tuple[Task, Verdict | None]:
        """The overdue ``worker`` was killed: its task, and a verdict where it was a single sample as a whole."""
        self._ready.remove(worker)
        task = self._release(worker)
        if isinstance(task, PieceTask):
            return task, None
        if task.size == 1:
            return task, self.too_late(task)
        self._retries.extend(WorkUnit(i, i + 1) for i in range(task.start, task.stop))
        return task, None

    def too_late(self, unit: WorkUnit) -> Verdict:
        """The verdict on a sample that exceeds the time limit."""
        self._deaths.pop(unit, None)
        return Verdict(unit, TIMED_OUT, f"stopped after the time limit of {self.time_limit:g} s")

    def _release(self, worker: int) -> Task:
        task = self._running.pop(worker).task
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

    def _retry(self, task: Task, reason: str, node_gone: bool) -> Verdict | None:
        if isinstance(task, PieceTask) and task.unit not in self._samples:
            return None  # its sample is over
        if not node_gone and isinstance(task, WorkUnit) and task.size > 1:
            middle = (task.start + task.stop) // 2
            self._retries.extend([WorkUnit(task.start, middle), WorkUnit(middle, task.stop)])
            return None
        if not node_gone:
            self._deaths[task] += 1
            if self._deaths[task] == MAX_DEATHS:
                del self._deaths[task]
                return Verdict(task, FAILED, f"given up after {MAX_DEATHS} workers were lost on it ({reason})")
        if isinstance(task, PieceTask):
            self._pieces.append(task)
        else:
            self._retries.append(task)
        return None


def _samples_at_a_time(task: Task) -> int:
    return min(task.size, 2) if isinstance(task, WorkUnit) else 1
