"""What crosses the boundary between the driver and the workers: jobs, tasks and events."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from distverify.data.dataset import Dataset
from distverify.network.graph import Network
from distverify.questions.pieces import Crew, Piece, PieceWorker, Shared
from distverify.settings import Settings
from distverify.work import Payload, RunStatistics, Sample, SampleResult, WorkUnit

Analyse = Callable[[Network, Sample, Settings], SampleResult]
# (network, sample, settings, pieces, crew): the same results, with the bounds computed by the crew.
AnalyseInPieces = Callable[[Network, Sample, Settings, int, Crew], SampleResult]
# (position, key of a piece): its results, where an earlier run kept them.
Recall = Callable[[int, str], Payload | None]


@dataclass(frozen=True, order=True)
class PieceTask:
    """A piece of the sample of ``unit``, with what it needs: row ``row`` of its analysis' request number ``request``."""

    unit: WorkUnit
    request: int
    row: int
    piece: Piece = field(compare=False)
    shared: Shared = field(compare=False)

    def __str__(self) -> str:
        return f"{self.piece} of {self.unit}"


# What a worker is given.
Task = WorkUnit | PieceTask


@dataclass(frozen=True)
class Job:
    """What every worker gets once.

    Attributes
    ----------
    network : Network
    data : Dataset
        The selected samples.
    settings : Settings
    analyse : callable (network, sample, settings) -> SampleResult
        Importable by name, so that it pickles by reference. May set "status" (one of COMPUTED) and "message".
    warm_up : callable () -> None
        Compiles or loads the kernels; called once per worker, under a per-machine file lock.
    variables : dict name -> (shape without the sample axis, dtype)
        What a payload holds; a sample without a value gets NaN there (or 0, for integers).
    analyse_in_pieces : callable, optional
        For units with ``pieces`` above 1; runs in the driver.
    piece_worker : callable (network) -> PieceWorker, optional
        What computes pieces; made once per worker, importable by name.
    patience : float
        Seconds that a worker among others spends on a sample: ``analyse`` takes them as ``patience`` where they are finite, and raises
        :class:`distverify.questions.pieces.HandedBack`; the sample is then computed in ``shares`` pieces.
    shares : int
    ends_in_order : bool
        ``analyse`` keeps to the time limit by itself: nobody is killed over it, unless much later.
    """

    network: Network
    data: Dataset
    settings: Settings
    analyse: Analyse
    warm_up: Callable[[], None]
    variables: dict[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)
    analyse_in_pieces: AnalyseInPieces | None = None
    piece_worker: Callable[[Network], PieceWorker] | None = None
    patience: float = math.inf
    shares: int = 16
    ends_in_order: bool = False

    def in_pieces(self, unit: WorkUnit) -> bool:
        """Whether ``unit`` is computed in pieces: a single sample, planned so, of a job that can."""
        return (
            unit.pieces > 1 and unit.size == 1 and self.analyse_in_pieces is not None and self.piece_worker is not None
        )


@dataclass(frozen=True)
class UnitDone:
    """``unit`` is computed; its payload holds a status for every sample (failures too)."""

    unit: WorkUnit
    payload: Payload


@dataclass(frozen=True)
class UnitLost:
    """A worker died or a payload could not be fetched; ``unit`` (or its parts) will be tried again."""

    unit: WorkUnit
    reason: str


@dataclass(frozen=True)
class WorkersChanged:
    """Number of workers alive and starting."""

    alive: int
    starting: int


@dataclass(frozen=True)
class PieceDone:
    """A piece of the sample at ``position`` is computed: worth keeping, for a run that continues this one.

    Attributes
    ----------
    position : int
    key : str
        :attr:`Piece.key`.
    payload : Payload
    seconds : float
        Kernel time that it took.
    """

    position: int
    key: str
    payload: Payload
    seconds: float


Event = UnitDone | UnitLost | WorkersChanged | PieceDone


class Session(Protocol):
    """Workers that run units of one job, from :meth:`Executor.open`."""

    @property
    def slots(self) -> int:
        """How many workers fit on the machines that are there now; at least 1 (more may join)."""
        ...

    def add(self, units: Iterable[WorkUnit]) -> None:
        """Queue units; also between two events. An iterator is consumed as workers need units, not at once."""
        ...

    def events(self) -> Iterator[Event]:
        """Yield events until every sample added is in some UnitDone, or ``should_stop()`` and nothing is in flight.

        May be called again after more was added.
        """
        ...

    def statistics(self) -> RunStatistics:
        """So far."""
        ...

    @property
    def open_subproblems(self) -> int:
        """Of the searches that go on in pieces."""
        ...


class Executor(Protocol):
    """Runs work units somewhere; one interface for the serial and the Ray executor."""

    def open(
        self, job: Job, should_stop: Callable[[], bool], recall: Recall | None = None
    ) -> AbstractContextManager[Session]:
        """Connect, and be ready to run units of ``job``; leaving the context ends the workers.

        Parameters
        ----------
        job : Job
        should_stop : callable () -> bool
            True: begin nothing more, let what is in flight finish.
        recall : callable, optional
            Asked before a piece is computed.
        """
        ...
