"""Work units one after the other in this process: for tiny runs, and the reference for other executors."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager

from distverify.errors import ExecutorError
from distverify.runtime.conversation import SampleInPieces
from distverify.runtime.failures import log_failures
from distverify.runtime.job import Event, Job, PieceDone, Recall, UnitDone, WorkersChanged
from distverify.runtime.tally import Tally, kernel_seconds
from distverify.runtime.threads import ThreadLimit, limit_threads
from distverify.runtime.worker import PieceRunner, describe, run_unit
from distverify.work import Payload, RunStatistics, WorkUnit

_WORKER = 0  # the number of the only one


class SerialExecutor:
    """Runs every unit in this process.

    Parameters
    ----------
    threads : int, optional
        Threads of BLAS, OpenMP and Numba while a session is open. Default 1, as in a Ray worker with one
        CPU; another number may change the order of sums, and with it the last bits of the results.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = 1 if threads is None else threads

    @contextmanager
    def open(self, job: Job, should_stop: Callable[[], bool], recall: Recall | None = None) -> Iterator[SerialSession]:
        """A session; ``should_stop`` is asked between units, and between the pieces of a sample."""
        with limit_threads(self.threads) as limit:
            session = SerialSession(job, should_stop, recall, limit)
            try:
                yield session
            finally:
                session.close()


class SerialSession:
    """The session that :meth:`SerialExecutor.open` gives."""

    slots = 1

    def __init__(self, job: Job, should_stop: Callable[[], bool], recall: Recall | None, limit: ThreadLimit) -> None:
        self._job = job
        self._should_stop = should_stop
        self._recall = recall
        self._limit = limit
        self._sources: deque[Iterator[WorkUnit]] = deque()
        self._runner = PieceRunner(job)
        self._tally = Tally()
        self._told = False  # of the worker
        self._ready = False

    def add(self, units: Iterable[WorkUnit]) -> None:
        """Queue units."""
        self._sources.append(iter(units))

    def events(self) -> Generator[Event]:
        """Yield a UnitDone per unit, in the order in which they were added.

        Raises
        ------
        ExecutorError
            The warm-up failed.
        """
        if not self._told:
            self._told = True
            yield WorkersChanged(alive=1, starting=0)
        if not self._ready:
            try:
                self._job.warm_up()
            except Exception as error:
                raise ExecutorError(f"the kernels could not be warmed up ({describe(error)})") from error
            self._tally.worker_ready(_WORKER, socket.gethostname())
            self._ready = True
        while not self._should_stop():
            unit = self._next_unit()
            if unit is None:
                return
            if self._job.in_pieces(unit):
                payload = yield from self._in_pieces(unit)
                if payload is None:
                    return
            else:
                payload = run_unit(self._job, unit)
                self._tally.unit_done(_WORKER, unit.size, kernel_seconds(payload))
            log_failures(self._job, unit, payload)
            yield UnitDone(unit, payload)

    def statistics(self) -> RunStatistics:
        """So far."""
        return self._tally.statistics()

    def close(self) -> None:
        """The worker's time ends."""
        self._tally.worker_gone(_WORKER)

    def _next_unit(self) -> WorkUnit | None:
        while self._sources:
            unit = next(self._sources[0], None)
            if unit is not None:
                return unit
            self._sources.popleft()
        return None

    def _in_pieces(self, unit: WorkUnit) -> Generator[Event, None, Payload | None]:
        """The sample's payload; None if the session was stopped before."""
        sample = SampleInPieces(self._job, unit, self._recall, self._limit)
        try:
            tasks = sample.begin()
            while sample.payload is None:
                current, tasks = tasks, []
                for task in current:
                    if self._should_stop():
                        return None
                    seconds, error, arrays = self._runner.run(task.piece, task.shared)
                    if error:
                        self._tally.unit_failed()
                        tasks = sample.fail(task, error)
                        break
                    self._tally.unit_done(_WORKER, 0, seconds)
                    yield PieceDone(unit.start, task.piece.key, arrays, seconds)
                    tasks = sample.accept(task, arrays, seconds)
            return sample.payload
        finally:
            if sample.payload is None:  # left in the middle: its turn comes again, if there is one
                self._sources.appendleft(iter([unit]))
            sample.close()
