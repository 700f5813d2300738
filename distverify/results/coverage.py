"""Which shard holds which sample: pure bookkeeping, without files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from distverify.results.shards import Shard
from distverify.runtime.work import FAILED, PENDING, TIMED_OUT, WorkUnit


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
    """

    def __init__(self, samples: int) -> None:
        self.status: NDArray[np.int8] = np.full(samples, PENDING, dtype=np.int8)
        self._owner = np.full(samples, -1, dtype=np.int64)
        self._attempt = np.zeros(samples, dtype=np.int64)
        self._shards: list[Shard] = []

    def add(self, shard: Shard, status: NDArray[np.int8]) -> None:
        """Count ``shard`` for all its samples; add older attempts first."""
        where = slice(shard.unit.start, shard.unit.stop)
        self._shards.append(shard)
        self._owner[where] = len(self._shards) - 1
        self._attempt[where] = shard.attempt
        self.status[where] = status

    def reopen_failed(self) -> int:
        """Make failed and timed-out samples pending again; returns how many."""
        failed = (self.status == FAILED) | (self.status == TIMED_OUT)
        self._owner[failed] = -1
        self.status[failed] = PENDING
        return int(failed.sum())

    def next_attempt(self, unit: WorkUnit) -> int:
        """The attempt that overrides every shard so far with a sample of ``unit``; the first is 1."""
        return 1 + int(self._attempt[unit.start : unit.stop].max(initial=0))

    def missing(self, units: Iterable[WorkUnit]) -> list[WorkUnit]:
        """The parts of ``units`` that are not committed, in order."""
        found = []
        for unit in units:
            runs = _runs(self._owner[unit.start : unit.stop] < 0)
            found += [WorkUnit(unit.start + a, unit.start + b) for a, b, pending in runs if pending]
        return found

    def segments(self) -> list[Segment]:
        """The committed samples, in order: the longest pieces that come from one shard each."""
        return [Segment(a, b, self._shards[owner]) for a, b, owner in _runs(self._owner) if owner >= 0]


def _runs(values: NDArray[np.generic]) -> list[tuple[int, int, int]]:
    """Maximal constant pieces as (start, stop, value)."""
    if not values.size:
        return []
    cuts = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), values.size]
    return [(a, b, int(values[a])) for a, b in pairwise(cuts)]
