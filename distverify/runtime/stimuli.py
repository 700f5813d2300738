"""What goes into the scheduler and what comes out: stimuli, among them a pool's reports, and instructions for the loop."""

from __future__ import annotations

from dataclasses import dataclass

from distverify.runtime.job import PieceTask, Task
from distverify.runtime.pool import TaskDone, WorkerLost, WorkerReady
from distverify.work import WorkUnit


@dataclass(frozen=True)
class ResultFetched:
    """The results of ``task``, which is done, are here."""

    task: Task


@dataclass(frozen=True)
class ResultLost:
    """``task`` was done, but its results are lost."""

    task: Task
    reason: str
    machine_gone: bool = False


@dataclass(frozen=True)
class PiecesAsked:
    """The analysis of a sample that is begun waits for these pieces."""

    tasks: tuple[PieceTask, ...]


@dataclass(frozen=True)
class SampleEnded:
    """The analysis of a sample in pieces has ended: pieces of it that wait are not needed."""

    unit: WorkUnit


@dataclass(frozen=True)
class GivenBack:
    """A worker gave these samples back; they go on in pieces, before others are begun."""

    units: tuple[WorkUnit, ...]


@dataclass(frozen=True)
class Tick:
    """Some time has passed; ``slots`` workers fit on the machines alive (None: not known; none can be started or killed)."""

    slots: int | None


@dataclass(frozen=True)
class Refill:
    """Something can be given out: the answer is one step of it. To be repeated until nothing comes."""


@dataclass(frozen=True)
class Stop:
    """Begin no further task; those in flight finish."""


Stimulus = (
    WorkerReady
    | TaskDone
    | WorkerLost
    | ResultFetched
    | ResultLost
    | PiecesAsked
    | SampleEnded
    | GivenBack
    | Tick
    | Refill
    | Stop
)


# Instructions


@dataclass(frozen=True)
class StartWorker:
    """Start a worker of that number."""

    worker: int


@dataclass(frozen=True)
class Send:
    """Give ``worker``, which is idle, a task."""

    worker: int
    task: Task


@dataclass(frozen=True)
class BeginSample:
    """Begin the analysis of a sample in pieces; PiecesAsked or SampleEnded follows."""

    unit: WorkUnit


@dataclass(frozen=True)
class Fetch:
    """Get the results of ``task``, which is done; ResultFetched or ResultLost follows."""

    task: Task


@dataclass(frozen=True)
class Kill:
    """End ``worker``: it exceeds the time limit."""

    worker: int


@dataclass(frozen=True)
class Retry:
    """``task`` is lost, and waits again (or its halves, or its samples one by one)."""

    task: Task
    reason: str


@dataclass(frozen=True)
class GiveUp:
    """Record ``status`` (FAILED or TIMED_OUT) and ``message`` for the sample; of a piece, tell its analysis."""

    task: Task
    status: int
    message: str


@dataclass(frozen=True)
class Tell:
    """``task`` has been with its worker for ``seconds``, and no time limit will end it."""

    task: Task
    seconds: float


Instruction = StartWorker | Send | BeginSample | Fetch | Kill | Retry | GiveUp | Tell
