"""The words of a run: samples, work units, payloads, plans, and what workers did. Nothing here computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Results of one sample by variable name, without the sample axis.
SampleResult = dict[str, NDArray[np.generic] | float | int | str]
# A unit's results by variable name, each with the samples as its first axis; a piece's results by name.
Payload = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample of a data set.

    Attributes
    ----------
    x : float64 [D]
    label : int
        -1 where the data has none: the predicted class stands in.
    index : int
        In the data set; with the seed it fixes the sample's random choices.
    """

    x: NDArray[np.float64]
    label: int = -1
    index: int = 0


@dataclass(frozen=True, order=True)
class WorkUnit:
    """A contiguous block of samples, by position in the run's selection: start <= position < stop.

    Attributes
    ----------
    pieces : int
        Above 1, for a single sample: its bounds are computed in pieces, blocks of output rows (or of neurons, or of
        columns), about so many at a time; each piece is a task of its own for the workers.
    """

    start: int
    stop: int
    pieces: int = 1

    @property
    def size(self) -> int:
        return self.stop - self.start

    def __str__(self) -> str:
        return f"samples {self.start}:{self.stop}"  # pieces are not part of a unit's name


@dataclass(frozen=True)
class Plan:
    """How a run is cut: written down when it is made, and kept to by every run that continues it.

    Attributes
    ----------
    samples : int
        Of the whole run.
    unit_samples : int
        Most samples in one unit; units are of nearly equal size.
    pieces : int
        Above 1: units are single samples, whose bounds are computed in about so many pieces at a time.
    workers : int
        That the plan was made for.
    seconds_per_sample : float or None
        Kernel time that was measured.
    bytes_per_sample : int
        Of results.
    rows : int
        Output rows of the network: a piece holds about ``rows / pieces`` of them.
    reason : str
        What decided, for people.
    """

    samples: int
    unit_samples: int
    pieces: int = 1
    workers: int = 1
    seconds_per_sample: float | None = None
    bytes_per_sample: int = 0
    rows: int = 1
    reason: str = ""

    @property
    def count(self) -> int:
        """Number of units."""
        return -(-self.samples // self.unit_samples) if self.samples else 0

    def units(self) -> Iterator[WorkUnit]:
        """The units in order, covering 0 to ``samples`` once; made as they are asked for."""
        for i in range(self.count):
            yield WorkUnit(i * self.samples // self.count, (i + 1) * self.samples // self.count, self.pieces)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """The inverse of :meth:`to_json`."""
        return cls(**data)


@dataclass(frozen=True)
class WorkerRecord:
    """What one worker did.

    Attributes
    ----------
    number : int
    node : str
        Name of its machine.
    units, samples : int
        Finished by it; a piece of a sample counts as a unit.
    kernel_seconds : float
        Time in kernels.
    alive_seconds : float
        From ready to its end (or until now).
    """

    number: int
    node: str
    units: int
    samples: int
    kernel_seconds: float
    alive_seconds: float


@dataclass(frozen=True)
class RunStatistics:
    """What the workers of a session did so far.

    Attributes
    ----------
    workers : tuple of WorkerRecord
        Those that became ready, gone ones too.
    units_done, units_failed, units_lost : int
        Units and pieces: finished; given up (failed or timed out); lost with a worker or a payload, and computed again.
    """

    workers: tuple[WorkerRecord, ...] = ()
    units_done: int = 0
    units_failed: int = 0
    units_lost: int = 0

    def with_later(self, later: RunStatistics) -> RunStatistics:
        """What the workers of this session and of a later one did; numbers go on where these end."""
        count = len(self.workers)
        return RunStatistics(
            self.workers + tuple(replace(w, number=w.number + count) for w in later.workers),
            self.units_done + later.units_done,
            self.units_failed + later.units_failed,
            self.units_lost + later.units_lost,
        )

    @property
    def efficiency(self) -> float:
        """Kernel time as a share of the workers' time; NaN before any."""
        alive = sum(w.alive_seconds for w in self.workers)
        return sum(w.kernel_seconds for w in self.workers) / alive if alive > 0 else float("nan")
