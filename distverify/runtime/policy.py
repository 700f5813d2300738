"""Scheduling policy: which worker gets which unit, what a death means, when to give up. No Ray, no clock.

Every rule here was earned in kill tests:

* A unit whose worker died goes to the back of the queue. With several samples it goes there in two
  halves, so that a bad sample is cornered in log2(n) deaths and its neighbours keep their results; a
  single sample is recorded as FAILED after ``MAX_DEATHS`` deaths. A death on a node that is gone is not
  the unit's fault and is not counted.
* A time limit holds per sample. A unit of several samples may run for twice the limit, and its worker
  begins no sample once the limit has passed: so a unit that is overdue certainly holds a sample that
  exceeds the limit. Its worker is killed and the samples go on alone, where the limit is exact.
* A worker that cannot start is tried again, later and later; when ``MAX_FAILED_STARTS`` starts failed in
  a row and no worker is left, the run is aborted.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

from distverify.errors import ExecutorError
from distverify.runtime.work import FAILED, TIMED_OUT, WorkUnit

MAX_DEATHS = 3
MAX_FAILED_STARTS = 3
LONGEST_PAUSE = 60.0  # seconds between attempts to start a worker where starts fail
GRACE = 1.0  # seconds for sending a unit and for a busy machine, on top of the time limit


@dataclass(frozen=True)
class Verdict:
    """``unit`` is given up: record ``status`` (FAILED or TIMED_OUT) and ``message`` for its samples."""

    unit: WorkUnit
    status: int
    message: str


@dataclass(frozen=True)
class _Assignment:
    unit: WorkUnit
    since: float


class Scheduler:
    """State of the driver loop: units that wait, workers, and the unit that each worker computes.

    Times are seconds of any monotonic clock, passed in. Workers are the numbers that :meth:`start` returns.

    Parameters
    ----------
    units : iterable of WorkUnit
        Disjoint units.
    max_workers : int, optional
        Upper limit on workers. Default: as many as there are slots.
    time_limit : float, optional
        Seconds per sample.
    """

    def __init__(
        self, units: Iterable[WorkUnit], max_workers: int | None = None, time_limit: float | None = None
    ) -> None:
        self.time_limit = time_limit
        self._max_workers = max_workers
        self._queue = deque(units)
        self._starting: set[int] = set()
        self._ready: set[int] = set()
        self._running: dict[int, _Assignment] = {}
        self._deaths: Counter[WorkUnit] = Counter()
        self._next_worker = 0
        self._failed_starts = 0
        self._hold_until = float("-inf")
        self._stopping = False

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
        return not self._running and (self._stopping or not self._queue)

    @property
    def stopping(self) -> bool:
        """No further unit will be begun."""
        return self._stopping

    def stop(self) -> None:
        """Begin no further unit; those in flight finish."""
        self._stopping = True

    def missing_workers(self, slots: int, now: float) -> int:
        """How many workers to start now.

        Parameters
        ----------
        slots : int
            Workers that fit on the nodes alive. One more is kept pending: it starts at once when a node
            joins or a worker dies.
        """
        if self._stopping:
            return 0
        wanted = min(slots + 1, len(self._queue) + len(self._running))
        if self._max_workers is not None:
            wanted = min(wanted, self._max_workers)
        missing = max(wanted - self.alive - self.starting, 0)
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
        """``worker`` has started and can be given a unit."""
        self._starting.remove(worker)
        self._ready.add(worker)
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

    def assign(self, worker: int, now: float) -> WorkUnit | None:
        """The next unit for the idle ``worker``, or None."""
        if self._stopping or not self._queue:
            return None
        unit = self._queue.popleft()
        self._running[worker] = _Assignment(unit, now)
        return unit

    def idle(self) -> list[int]:
        """Ready workers without a unit, ascending."""
        return sorted(self._ready - self._running.keys())

    def done(self, worker: int, completed: int) -> WorkUnit:
        """``worker`` finished ``completed`` samples of its unit; returns these, the others wait again."""
        unit = self._running.pop(worker).unit
        middle = unit.start + completed
        if middle < unit.stop:
            self._queue.appendleft(WorkUnit(middle, unit.stop))
        return WorkUnit(unit.start, middle)

    def died(self, worker: int, reason: str, node_gone: bool = False) -> tuple[WorkUnit | None, Verdict | None]:
        """A ready ``worker`` died: the unit that it had, if any, and a verdict where the unit is given up."""
        self._ready.remove(worker)
        assignment = self._running.pop(worker, None)
        if assignment is None:
            return None, None
        return assignment.unit, self._retry(assignment.unit, reason, node_gone)

    def payload_lost(self, unit: WorkUnit, reason: str, node_gone: bool = False) -> Verdict | None:
        """``unit`` was done, but its payload cannot be fetched; a verdict where the unit is given up."""
        return self._retry(unit, reason, node_gone)

    def overdue(self, now: float) -> list[int]:
        """Workers that exceed the time limit; kill each, and call :meth:`timed_out`."""
        if self.time_limit is None:
            return []
        return [
            worker
            for worker, running in self._running.items()
            if now - running.since > self.time_limit * min(running.unit.size, 2) + GRACE
        ]

    def timed_out(self, worker: int) -> tuple[WorkUnit, Verdict | None]:
        """The overdue ``worker`` was killed: its unit, and a verdict where it was a single sample."""
        self._ready.remove(worker)
        unit = self._running.pop(worker).unit
        if unit.size == 1:
            return unit, Verdict(unit, TIMED_OUT, f"stopped after the time limit of {self.time_limit:g} s")
        self._queue.extend(WorkUnit(i, i + 1) for i in range(unit.start, unit.stop))
        return unit, None

    def _retry(self, unit: WorkUnit, reason: str, node_gone: bool) -> Verdict | None:
        if node_gone:
            self._queue.append(unit)
            return None
        if unit.size > 1:
            middle = (unit.start + unit.stop) // 2
            self._queue.extend([WorkUnit(unit.start, middle), WorkUnit(middle, unit.stop)])
            return None
        self._deaths[unit] += 1
        if self._deaths[unit] < MAX_DEATHS:
            self._queue.append(unit)
            return None
        return Verdict(unit, FAILED, f"given up after {MAX_DEATHS} workers were lost on it ({reason})")
