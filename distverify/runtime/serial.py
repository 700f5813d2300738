"""Tasks one after the other in this process: for tiny runs, and the reference for other executors."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from distverify.errors import ExecutorError
from distverify.questions.pieces import Shared
from distverify.runtime.job import Job, PieceTask, Recall, Task
from distverify.runtime.loop import Loop
from distverify.runtime.pool import Report, TaskDone, WorkerReady
from distverify.runtime.tally import Tally, kernel_seconds
from distverify.runtime.threads import limit_threads
from distverify.runtime.worker import PieceRunner, describe, run_unit
from distverify.work import Payload


class SerialExecutor:
    """Computes every task in this process.

    Parameters
    ----------
    threads : int, optional
        Threads of BLAS, OpenMP and Numba while a session is open. Default 1, as in a Ray worker with one
        CPU; another number may change the order of sums, and with it the last bits of the results.
    trial : bool
        Samples that take longer than the job's patience are left undone, for others.
    """

    def __init__(self, threads: int | None = None, trial: bool = False) -> None:
        self.threads = 1 if threads is None else threads
        self.trial = trial

    @contextmanager
    def open(self, job: Job, should_stop: Callable[[], bool], recall: Recall | None = None) -> Iterator[Loop]:
        """A session; ``should_stop`` is asked between units, and between the pieces of a sample.

        Raises
        ------
        ExecutorError
            From the session's events: the warm-up failed.
        """
        with (
            limit_threads(self.threads),
            Loop(SerialPool(job, self.threads, self.trial), job, should_stop, recall) as loop,
        ):
            yield loop


class SerialPool:
    """A pool of one worker, which is this process."""

    concurrent = False

    def __init__(self, job: Job, threads: int, trial: bool = False) -> None:
        self.threads = threads
        self._trial = trial
        self.tally = Tally()
        self._job = job
        self._runner = PieceRunner(job)
        self._starting: int | None = None
        self._sent: tuple[int, Task] | None = None

    def slots(self) -> int:
        return 1

    def want(self, workers: int, alive: int) -> None:
        pass

    def start(self, worker: int) -> None:
        self._starting = worker

    def share(self, shared: Shared) -> Shared:
        return shared

    def send(self, worker: int, task: Task, shared: Any = None) -> None:
        self._sent = worker, task

    def wait(self, seconds: float) -> list[Report]:
        """Compute what was sent."""
        if self._starting is not None:
            worker, self._starting = self._starting, None
            try:
                self._job.warm_up()
            except Exception as error:
                raise ExecutorError(f"the kernels could not be warmed up ({describe(error)})") from error
            return [WorkerReady(worker, socket.gethostname())]
        if self._sent is None:
            return []
        (worker, task), self._sent = self._sent, None
        if isinstance(task, PieceTask):
            kernel, error_text, arrays = self._runner.run(task.piece, task.shared)
            return [TaskDone(worker, 1, kernel, error_text, arrays)]
        payload = run_unit(self._job, task, among_others=self._trial)
        return [TaskDone(worker, task.size, kernel_seconds(payload), "", payload)]

    def fetch(self, result: Payload) -> Payload:
        return result

    def kill(self, worker: int) -> None:
        self._starting = self._sent = None

    def gone(self, worker: int) -> bool:
        return False

    def ended(self) -> bool:
        return False
