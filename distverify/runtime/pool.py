"""A pool: workers somewhere, with one task in flight on each. What an executor has to offer; the loop does the rest.

A pool decides nothing: it starts, sends, waits, fetches and kills as it is told, and reports what happened. To add an executor,
write a pool and a class with an ``open`` like :class:`distverify.runtime.serial.SerialExecutor`, and let its tests inherit the
contract in ``tests/runtime/contract.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from distverify.questions.pieces import Shared
from distverify.runtime.job import Task
from distverify.runtime.tally import Tally
from distverify.work import Payload


@dataclass(frozen=True)
class WorkerReady:
    """``worker`` has started and can be given a task; ``node`` is its machine's name."""

    worker: int
    node: str = ""


@dataclass(frozen=True)
class TaskDone:
    """``worker`` has finished its task and is idle.

    Attributes
    ----------
    worker : int
    completed : int
        Samples of its unit that are done, at least one; 1 for a piece.
    seconds : float
        Kernel time.
    error : str
        Why a piece has no result; "" if it has one. Units have their errors in their payload.
    result : any
        What :meth:`Pool.fetch` takes.
    """

    worker: int
    completed: int = 1
    seconds: float = 0.0
    error: str = ""
    result: Any = field(default=None, compare=False)


@dataclass(frozen=True)
class WorkerLost:
    """``worker`` is no more: it could not start, or it died, with its task if it had one.

    Attributes
    ----------
    worker : int
    reason : str
        One line for people.
    machine_gone : bool
        The task is not to blame; filled in by the loop, which asks :meth:`Pool.gone`.
    """

    worker: int
    reason: str
    machine_gone: bool = False


Report = WorkerReady | TaskDone | WorkerLost


class FetchError(Exception):
    """A result was computed, but is lost; the text says why."""


class Pool(Protocol):
    """Workers, named by the numbers that :meth:`start` is given. All calls come from one thread.

    Attributes
    ----------
    tally : Tally
        Where the loop counts what the workers did.
    threads : int
        Of a worker's kernels; an analysis in the driver keeps to as many.
    concurrent : bool
        Workers compute while the driver does something else. False: a task is computed inside :meth:`wait`, and is sent only
        after all earlier results were told, so that a run may stop between any two tasks.
    """

    tally: Tally
    threads: int
    concurrent: bool

    def slots(self) -> int | None:
        """How many workers fit on the machines that are there now; None while that cannot be known, and none can be started.

        Raises
        ------
        ExecutorError
            The machinery is lost for good.
        """
        ...

    def want(self, workers: int, alive: int) -> None:
        """Be told, twice a second, how many workers could be used and how many there are."""
        ...

    def start(self, worker: int) -> None:
        """Begin to start a worker; a WorkerReady or a WorkerLost follows."""
        ...

    def share(self, shared: Shared) -> Any:
        """Bring what several pieces need to where workers can read it; it is kept as long as the result is referenced."""
        ...

    def send(self, worker: int, task: Task, shared: Any = None) -> None:
        """Give an idle worker a task, with what :meth:`share` returned for a piece; a TaskDone or a WorkerLost follows."""
        ...

    def wait(self, seconds: float) -> list[Report]:
        """All that happened; where nothing has, wait for something, ``seconds`` at most."""
        ...

    def fetch(self, result: Any) -> Payload:
        """The result of a TaskDone.

        Raises
        ------
        FetchError
            It is lost.
        """
        ...

    def kill(self, worker: int) -> None:
        """End a worker at once, with what it does; nothing more is reported of it."""
        ...

    def gone(self, worker: int) -> bool:
        """Whether the machine of that worker, which may be lost already, is there no more."""
        ...

    def ended(self) -> bool:
        """Whether what runs the workers has ended, so that nothing will come any more."""
        ...
