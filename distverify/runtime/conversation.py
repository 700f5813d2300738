"""A sample in pieces: its analysis is a coroutine of the driver, which waits inside ``crew.map`` while workers compute pieces.

The coroutine is a greenlet: either the analysis runs and the loop waits, or the loop runs and the analysis waits, in one thread
of the system. So neither needs locks, and the analysis reads like any other code.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from greenlet import GreenletExit, getcurrent, greenlet

from distverify.errors import PieceError
from distverify.network.graph import Network
from distverify.questions.pieces import Arrays, Crew, Piece, Shared
from distverify.runtime.job import Job, PieceTask, Recall
from distverify.runtime.tally import kernel_seconds
from distverify.runtime.worker import blank_payload, read_only, run_sample
from distverify.settings import Settings
from distverify.work import Payload, Sample, SampleResult, WorkUnit

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Request:
    """What the analysis waits for."""

    pieces: tuple[Piece, ...]
    shared: Shared


@dataclass(frozen=True, eq=False)
class Answer(Generic[T]):
    """What the analysis returned."""

    value: T


class Conversation(Generic[T]):
    """``analyse(crew)``, run step by step.

    Parameters
    ----------
    analyse : callable (Crew) -> T
        What it raises is raised by :meth:`resume`.
    """

    def __init__(self, analyse: Callable[[Crew], T]) -> None:
        self._coroutine = greenlet(lambda: Answer(analyse(self)))
        # Without it the analysis would begin in an empty context: NumPy's error state is part of one.
        self._coroutine.gr_context = contextvars.copy_context()
        self._closed = False
        self.waited = 0.0  # seconds that the analysis spent in crew.map

    def resume(self, reply: list[Arrays] | PieceError | None = None) -> Request | Answer[T]:
        """Run the analysis until it asks again, or ends.

        Parameters
        ----------
        reply : list of results, or PieceError, or None
            What the last request is answered with: results in the order of its pieces; an error, which
            ``crew.map`` raises; None to begin.
        """
        self._coroutine.parent = getcurrent()
        step: Request | Answer[T]
        if isinstance(reply, PieceError):
            step = self._coroutine.throw(reply)
        else:
            step = self._coroutine.switch() if reply is None else self._coroutine.switch(reply)
        return step

    def close(self) -> None:
        """End the analysis where it waits; one that has ended, or never began, is left as it is."""
        self._closed = True
        if self._coroutine:  # it has begun, and not ended
            self._coroutine.parent = getcurrent()
            with suppress(Exception):  # its results are not wanted, nor are its errors
                self._coroutine.throw(GreenletExit)

    def map(self, pieces: Sequence[Piece], shared: Shared) -> list[Arrays]:
        """The crew's side, called by the analysis."""
        if not pieces:
            return []
        if self._closed:  # the analysis caught what ended it, and asks on
            raise GreenletExit
        begin = time.perf_counter()
        arrays = {name: read_only(values) for name, values in shared.arrays.items()}
        loop = self._coroutine.parent
        assert loop is not None
        try:
            reply: list[Arrays] = loop.switch(Request(tuple(pieces), Shared(shared.key, arrays)))
        finally:
            self.waited += time.perf_counter() - begin
        return reply


class SampleInPieces:
    """A sample whose analysis asks for pieces: which are missing, and what comes of it.

    Each of :meth:`begin`, :meth:`accept` and :meth:`fail` returns the pieces that are to be computed from now on (none, as long
    as others are missing); afterwards :attr:`payload` is set if the analysis has ended.

    Parameters
    ----------
    job : Job
    unit : WorkUnit
        A single sample.
    recall : callable or None
        Asked first for each piece.
    """

    def __init__(self, job: Job, unit: WorkUnit, recall: Recall | None) -> None:
        self.unit = unit
        self.payload: Payload | None = None
        self.open_subproblems = 0
        self._job = job
        self._recall = recall
        self._conversation = Conversation(self._analyse)
        self._request = 0
        self._results: list[Arrays | None] = []
        self._missing = 0
        self._kernel_seconds = 0.0
        self._over = False

    def begin(self) -> list[PieceTask]:
        """Run the analysis up to its first request."""
        return self._advance(None)

    def accept(self, task: PieceTask, arrays: Arrays, seconds: float) -> list[PieceTask]:
        """``task`` is computed, in ``seconds`` of kernel time."""
        self._kernel_seconds += seconds
        if self._over or task.request != self._request or self._results[task.row] is not None:
            return []
        self._results[task.row] = arrays
        self._missing -= 1
        if self._missing:
            return []
        results = [found for found in self._results if found is not None]
        self._results = []
        return self._advance(results)

    def fail(self, task: PieceTask, reason: str) -> list[PieceTask]:
        """``task`` cannot be computed: the analysis is told, and fails (or helps itself)."""
        if self._over or task.request != self._request:
            return []
        return self._advance(PieceError(f"{task.piece}: {reason}"))

    def close(self) -> None:
        """Abandon the analysis; what still comes is ignored."""
        self._over = True
        self._results = []
        self._conversation.close()

    def _advance(self, reply: list[Arrays] | PieceError | None) -> list[PieceTask]:
        while True:
            step = self._conversation.resume(reply)
            self._request += 1  # from here on, results for the last request are late
            if isinstance(step, Answer):
                self._over = True
                self.payload = step.value
                return []
            self.open_subproblems = max(piece.open_subproblems for piece in step.pieces)
            found = [self._recalled(piece) for piece in step.pieces]
            self._missing = sum(arrays is None for arrays in found)
            if self._missing:
                self._results = found
                return [
                    PieceTask(self.unit, self._request, row, piece, step.shared)
                    for row, piece in enumerate(step.pieces)
                    if found[row] is None
                ]
            reply = [arrays for arrays in found if arrays is not None]

    def _recalled(self, piece: Piece) -> Arrays | None:
        return None if self._recall is None else self._recall(self.unit.start, piece.key)

    def _analyse(self, crew: Crew) -> Payload:
        """The same payload as of a unit that is computed whole; runs in the conversation."""
        job, unit = self._job, self.unit
        in_pieces = job.analyse_in_pieces
        assert in_pieces is not None

        def analyse(network: Network, sample: Sample, settings: Settings) -> SampleResult:
            return in_pieces(network, sample, settings, unit.pieces, crew)

        payload = blank_payload(job, unit)
        run_sample(job, unit.start, payload, 0, analyse)
        own = kernel_seconds(payload) - self._conversation.waited
        payload["seconds"] = np.array([own + self._kernel_seconds])
        return payload
