"""What the workers of a session did: counted by the driver, reported as :class:`RunStatistics`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from distverify.work import Payload, RunStatistics, WorkerRecord


@dataclass
class _Counts:
    node: str
    since: float
    until: float | None = None
    units: int = 0
    samples: int = 0
    kernel_seconds: float = 0.0


class Tally:
    """Counts; a subclass may pass them on.

    Parameters
    ----------
    clock : callable () -> float
        Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._workers: dict[int, _Counts] = {}
        self._done = 0
        self._failed = 0
        self._lost = 0

    def worker_ready(self, worker: int, node: str) -> None:
        """``worker`` can be given work; ``node`` is its machine's name."""
        self._workers[worker] = _Counts(node, self._clock())

    def worker_gone(self, worker: int) -> bool:
        """``worker`` has ended; one that was never ready is not counted, and False is returned."""
        counts = self._workers.get(worker)
        if counts is not None and counts.until is None:
            counts.until = self._clock()
        return counts is not None

    def unit_done(self, worker: int, samples: int, seconds: float) -> None:
        """``worker`` delivered a unit (or a piece: 0 samples) that took ``seconds`` of kernel time."""
        counts = self._workers[worker]
        counts.units += 1
        counts.samples += samples
        counts.kernel_seconds += seconds
        self._done += 1

    def unit_failed(self) -> None:
        """A unit or a piece is given up."""
        self._failed += 1

    def unit_lost(self) -> None:
        """A worker or a payload was lost; the unit will be tried again."""
        self._lost += 1

    def outcome(self, payload: Payload) -> None:
        """The samples of ``payload`` have their results."""

    def workers(self, alive: int) -> None:
        """So many workers are alive."""

    def statistics(self) -> RunStatistics:
        now = self._clock()
        records = tuple(
            WorkerRecord(
                number, c.node, c.units, c.samples, c.kernel_seconds, (now if c.until is None else c.until) - c.since
            )
            for number, c in self._workers.items()
        )
        return RunStatistics(records, self._done, self._failed, self._lost)


def kernel_seconds(payload: Payload) -> float:
    """Of all samples of a unit."""
    return float(np.sum(payload["seconds"]))
