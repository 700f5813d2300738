"""What crosses the boundary between the driver and the workers: jobs, work units, payloads and events."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.sample import SampleResult
from distverify.network.graph import Network
from distverify.settings import Settings
from distverify.status import FAILED, MISCLASSIFIED, OK, PENDING, STATUS_MEANINGS, TIMED_OUT

__all__ = [
    "FAILED", "MISCLASSIFIED", "OK", "PENDING", "STATUS_MEANINGS", "TIMED_OUT",
    "Analyse", "Event", "Executor", "Job", "Payload", "SampleResult", "UnitDone", "UnitLost", "WorkUnit", "WorkersChanged",
]  # fmt: skip

Analyse = Callable[[Network, NDArray[np.float64], int, int, Settings], SampleResult]
# A unit's results by variable name, each with the samples as its first axis.
Payload = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, order=True)
class WorkUnit:
    """A contiguous block of samples, by position in the run's selection: start <= position < stop."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start

    def __str__(self) -> str:
        return f"samples {self.start}:{self.stop}"


@dataclass(frozen=True)
class Job:
    """What every worker gets once.

    Attributes
    ----------
    network : Network
    inputs : float64 [N, D], C order
        The selected samples.
    labels : int64 [N]
        -1 where the data has none.
    indices : int64 [N]
        Each sample's index in the data set.
    settings : Settings
    analyse : callable (network, x [D], label, index, settings) -> SampleResult
        Importable by name, so that it pickles by reference. May set "status" (OK, MISCLASSIFIED) and "message".
    warm_up : callable () -> None
        Compiles or loads the kernels; called once per worker, under a per-machine file lock.
    variables : dict name -> (shape without the sample axis, dtype)
        What a payload holds; a sample without a value gets NaN there (or 0, for integers).
    """

    network: Network
    inputs: NDArray[np.float64]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]
    settings: Settings
    analyse: Analyse
    warm_up: Callable[[], None]
    variables: dict[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)


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


Event = UnitDone | UnitLost | WorkersChanged


class Executor(Protocol):
    """Runs work units somewhere; one interface for the serial and the Ray executor."""

    def run(self, job: Job, units: list[WorkUnit], should_stop: Callable[[], bool]) -> Generator[Event]:
        """Yield events until every sample of every unit is in some UnitDone, or ``should_stop()`` and nothing is in flight."""
        ...
