"""Which file holds which sample: pure bookkeeping, without reading files.

Arrays only, a few bytes per sample: a run may have hundreds of thousands of units.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distverify.results.journal.shards import Shard
from distverify.status import FAILED, PENDING, TIMED_OUT
from distverify.work import WorkUnit

_NOWHERE = -1  # the file of a sample that was never committed


@dataclass(frozen=True)
class Segment:
    """The samples ``start:stop`` of the result are the rows from ``row`` on of one file."""

    start: int
    stop: int
    shard: Shard
    row: int

    @property
    def source(self) -> slice:
        """The same samples in the file."""
        return slice(self.row, self.row + self.stop - self.start)


class Coverage:
    """The samples that are committed, their status, and the row of the file that counts for each.

    Parameters
    ----------
    samples : int
        Of the whole run.

    Attributes
    ----------
    status : int8 [samples]
    """

    def __init__(self, samples: int) -> None:
        self.status: NDArray[np.int8] = np.full(samples, PENDING, dtype=np.int8)
        self._shards: dict[int, Shard] = {}
        self._number = 0  # of the next file
        # Of samples that are pending again too: their old rows are kept until there are new ones.
        self._file = np.full(samples, _NOWHERE, dtype=np.int64)
        self._row = np.zeros(samples, dtype=np.int64)
        self._attempt = np.zeros(samples, dtype=np.int32)
        self._lacking = np.zeros(samples, dtype=np.bool_)

    def add(self, shard: Shard, status: NDArray[np.int8], lacking: NDArray[np.bool_] | None = None) -> None:
        """Count ``shard`` for the samples of which it has the highest attempt so far; at equal ones it counts too.

        ``lacking`` says of which rows something is missing: by default, of none.
        """
        where, rows = shard.rows.positions, np.arange(shard.rows.count)
        newer = (shard.rows.attempts >= self._attempt[where]) | (self._file[where] == _NOWHERE)
        where, rows = where[newer], rows[newer]
        self._file[where], self._row[where] = self._number, rows
        self._attempt[where] = shard.rows.attempts[newer]
        self.status[where] = status[newer]
        self._lacking[where] = False if lacking is None else lacking[newer]
        self._shards[self._number] = shard
        self._number += 1

    def merge(self, merged: Shard) -> None:
        """Let ``merged`` stand for the same samples' rows in other files; what is pending again stays so."""
        where = merged.rows.positions
        self._file[where], self._row[where] = self._number, np.arange(merged.rows.count)
        self._shards[self._number] = merged
        self._number += 1

    def unused(self) -> list[Shard]:
        """The files that no sample needs any more; they are forgotten here."""
        used = set(np.unique(self._file).tolist())
        return [self._shards.pop(number) for number in sorted(set(self._shards) - used)]

    @property
    def shards(self) -> list[Shard]:
        """The files that count, and those that have not been found unused yet; in the order in which they came."""
        return list(self._shards.values())

    def rows_of(self, shards: Iterable[Shard]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The samples for which one of ``shards`` counts, in order, and the attempts."""
        names = {shard.path for shard in shards}
        numbers = [number for number, shard in self._shards.items() if shard.path in names]
        positions = np.flatnonzero(np.isin(self._file, numbers))
        return positions, self._attempt[positions]

    def reopen_failed(self) -> int:
        """Make samples pending again that failed, timed out or lack something; returns how many."""
        failed = (self.status == FAILED) | (self.status == TIMED_OUT) | (self._lacking & (self.status != PENDING))
        self.status[failed] = PENDING
        return int(failed.sum())

    def next_attempt(self, unit: WorkUnit) -> int:
        """The attempt that overrides every file so far with a sample of ``unit``; the first is 1."""
        return 1 + int(self._attempt[unit.start : unit.stop].max(initial=0))

    def missing(self, units: Iterable[WorkUnit]) -> Iterator[WorkUnit]:
        """The parts of ``units`` that are not committed, in order, when they are asked for."""
        for unit in units:
            pending = self.status[unit.start : unit.stop] == PENDING
            if pending.all():
                if unit.size:
                    yield unit
                continue
            edges = np.flatnonzero(np.diff(pending.astype(np.int8), prepend=0, append=0)).tolist()
            for start, stop in zip(edges[::2], edges[1::2], strict=True):
                yield WorkUnit(unit.start + start, unit.start + stop, unit.pieces)

    def segments(self) -> Iterator[Segment]:
        """The committed samples, in order: the longest stretches that are rows of one file in its order."""
        yield from self._stretches(np.where(self.status == PENDING, _NOWHERE, self._file))

    def segments_of(self, shards: Iterable[Shard]) -> Iterator[Segment]:
        """The same of the samples for which one of ``shards`` counts, those that are pending again too."""
        names = {shard.path for shard in shards}
        numbers = [number for number, shard in self._shards.items() if shard.path in names]
        yield from self._stretches(np.where(np.isin(self._file, numbers), self._file, _NOWHERE))

    def _stretches(self, file: NDArray[np.int64]) -> Iterator[Segment]:
        if not file.size:
            return
        starts = np.concatenate(([0], np.flatnonzero((np.diff(file) != 0) | (np.diff(self._row) != 1)) + 1))
        stops = np.concatenate((starts[1:], [file.size]))
        kept = file[starts] != _NOWHERE
        for start, stop in zip(starts[kept].tolist(), stops[kept].tolist(), strict=True):
            yield Segment(start, stop, self._shards[int(file[start])], int(self._row[start]))
