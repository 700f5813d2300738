"""How a run is cut into work units. Pure: the same arguments give the same units."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from distverify.errors import SettingsError
from distverify.runtime.work import WorkUnit

SHORTEST_SECONDS = 2.0  # the driver spends 1.5 ms on a unit, a shard's commit 15-20 ms: below 1 % of the work
LONGEST_SECONDS = 20.0  # the most that one death costs, and that an interrupted run waits for
LARGEST_BYTES = 64_000_000
UNITS_PER_WORKER = 8  # several each, so that uneven samples and machines balance out
LARGEST_UNTIMED = 16  # samples of a unit whose duration is not known


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
    """

    samples: int
    unit_samples: int
    pieces: int = 1
    workers: int = 1
    seconds_per_sample: float | None = None
    bytes_per_sample: int = 0

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


def plan_units(samples: int, seconds_per_sample: float | None, bytes_per_sample: int, workers: int) -> list[WorkUnit]:
    """Cut ``samples`` positions into contiguous work units of nearly equal size.

    Parameters
    ----------
    samples : int
        Number of samples; 0 gives no units.
    seconds_per_sample : float or None
        Measured kernel time; then units take 2 to 20 s. None: not known, units of at most 16 samples.
    bytes_per_sample : int
        Size of one sample's results; a unit holds at most 64 MB of them.
    workers : int
        Workers that share the units; at least one.

    Returns
    -------
    list of WorkUnit
        In order, covering 0 to ``samples`` once. A sample that alone exceeds a limit is a unit of its
        own; the upper limits win where both cannot be met.

    Raises
    ------
    SettingsError
        A negative count, a time that is not finite, no worker.
    """
    for name, count, least in (
        ("samples", samples, 0),
        ("bytes_per_sample", bytes_per_sample, 0),
        ("workers", workers, 1),
    ):
        if count < least:
            raise SettingsError(f"{name}: got {count}; give a whole number of at least {least}")
    time = seconds_per_sample
    if time is not None and not (math.isfinite(time) and time >= 0):
        raise SettingsError(f"seconds_per_sample: got {time}; give a measured time >= 0, or None")
    if samples == 0:
        return []
    largest = min(samples, LARGEST_BYTES // max(bytes_per_sample, 1))
    smallest = 1
    if time is None:
        largest = min(largest, LARGEST_UNTIMED)
    elif time * samples < SHORTEST_SECONDS:
        smallest = samples
    else:
        largest = min(largest, math.floor(LONGEST_SECONDS / time))
        smallest = math.ceil(SHORTEST_SECONDS / time)
    fewest = -(-samples // max(largest, 1))
    most = max(samples // smallest, 1)
    units = max(min(workers * UNITS_PER_WORKER, most), fewest)
    units = min(units, samples)
    edges = [i * samples // units for i in range(units + 1)]
    return [WorkUnit(start, stop) for start, stop in pairwise(edges)]
