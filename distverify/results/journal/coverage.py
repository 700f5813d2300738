"""Which shard holds which sample: pure bookkeeping, without files.

Arrays only, a few bytes per sample: a run may have hundreds of thousands of units.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distverify.results.journal.shards import BASE_NAME, Shard, shard_name
from distverify.status import FAILED, PENDING, TIMED_OUT
from distverify.work import WorkUnit

_NOBODY = -1  # attempt of a sample that is not committed


@dataclass(frozen=True)
class Segment:
    """The samples ``start:stop`` of the result, and the shard that holds them."""

    start: int
    stop: int
    shard: Shard

    @property
    def source(self) -> slice:
        """The same samples in the shard."""
        return slice(self.start - self.shard.unit.start, self.stop - self.shard.unit.start)


class Coverage:
    """The samples that are committed, their status, and the shard that counts for each.

    Parameters
    ----------
    samples : int
        Of the whole run.
    folder : Path
        Of the shards.

    Attributes
    ----------
    status : int8 [samples]
    """

    def __init__(self, samples: int, folder: Path) -> None:
        self.status: NDArray[np.int8] = np.full(samples, PENDING, dtype=np.int8)
        self._folder = folder
        # A shard's name follows from its unit and attempt, so these three stand for it.
        self._start = np.zeros(samples, dtype=np.int64)
        self._stop = np.zeros(samples, dtype=np.int64)
        self._attempt = np.full(samples, _NOBODY, dtype=np.int32)
        self._latest = np.zeros(samples, dtype=np.int32)  # also of samples that are pending again

    def add(self, shard: Shard, status: NDArray[np.int8]) -> None:
        """Count ``shard`` for all its samples; add older attempts first."""
        where = slice(shard.unit.start, shard.unit.stop)
        self._start[where], self._stop[where] = shard.unit.start, shard.unit.stop
        self._attempt[where] = self._latest[where] = shard.attempt
        self.status[where] = status

    def reopen_failed(self) -> int:
        """Make failed and timed-out samples pending again; returns how many."""
        failed = (self.status == FAILED) | (self.status == TIMED_OUT)
        self._attempt[failed] = _NOBODY
        self.status[failed] = PENDING
        return int(failed.sum())

    def next_attempt(self, unit: WorkUnit) -> int:
        """The attempt that overrides every shard so far with a sample of ``unit``; the first is 1."""
        return 1 + int(self._latest[unit.start : unit.stop].max(initial=0))

    def missing(self, units: Iterable[WorkUnit]) -> Iterator[WorkUnit]:
        """The parts of ``units`` that are not committed, in order, when they are asked for."""
        for unit in units:
            pending = self._attempt[unit.start : unit.stop] == _NOBODY
            if pending.all():
                if unit.size:
                    yield unit
                continue
            edges = np.flatnonzero(np.diff(pending.astype(np.int8), prepend=0, append=0)).tolist()
            for start, stop in zip(edges[::2], edges[1::2], strict=True):
                yield WorkUnit(unit.start + start, unit.start + stop, unit.pieces)

    def segments(self) -> Iterator[Segment]:
        """The committed samples, in order: the longest stretches that come from one shard each."""
        attempt = self._attempt
        if not attempt.size:
            return
        new = (np.diff(attempt) != 0) | (np.diff(self._start) != 0) | (np.diff(self._stop) != 0)
        starts = np.concatenate(([0], np.flatnonzero(new) + 1))
        for k, start in enumerate(starts):
            if attempt[start] != _NOBODY:
                stop = int(starts[k + 1]) if k + 1 < len(starts) else attempt.size
                yield Segment(int(start), stop, self._shard(int(start)))

    def _shard(self, position: int) -> Shard:
        attempt = int(self._attempt[position])
        unit = WorkUnit(int(self._start[position]), int(self._stop[position]))
        return Shard(self._folder / (shard_name(unit, attempt) if attempt else BASE_NAME), unit, attempt)
