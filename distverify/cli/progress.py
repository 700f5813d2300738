"""Progress on stderr: a bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from distverify.words import count, duration, per_second, printable

if TYPE_CHECKING:
    from distverify.api import Progress

LINE_EVERY = 5.0  # seconds
RUNNING = "running"
_UNEVEN = 1.5  # ratio of the fastest to the slowest worker from which on both are told


def details(progress: Progress) -> str:
    """Speed, time left, failures and workers: ``2.1/s (1.05/s each), 30 s left, 0 failed, 2 workers``.

    Samples that an earlier run had finished do not count for the speed;
    before the first sample it is left out. The phase comes first where the run is not under way.
    """
    parts = [] if progress.phase == RUNNING else [progress.phase]
    computed = progress.done - progress.resumed
    if computed > 0 and progress.seconds > 0:
        rate = computed / progress.seconds
        parts.append(per_second(rate) + _each(progress, rate))
        if progress.done < progress.total:
            parts.append(f"{duration((progress.total - progress.done) / rate)} left")
    if progress.pieces:
        parts.append(count(progress.pieces, "piece"))
    elif progress.units:
        parts.append(count(progress.units, "unit"))
    parts.append(f"{progress.failed} failed")
    if progress.retried:
        parts.append(f"{progress.retried} retried")
    parts.append(count(progress.workers, "worker"))
    return ", ".join(parts)


def _each(progress: Progress, rate: float) -> str:
    """The speed of one worker; a range where machines differ."""
    if progress.workers < 2:
        return ""
    if progress.slowest and progress.fastest and progress.fastest > _UNEVEN * progress.slowest:
        return f" ({per_second(progress.slowest)} to {per_second(progress.fastest)} each)"
    return f" ({per_second(rate / progress.workers)} each)"


def line(progress: Progress) -> str:
    """The plain line: ``37/100 samples, 2.1/s (1.1/s each), 30 s left, 0 failed, 2 workers``."""
    return f"{progress.done}/{progress.total} samples, {details(progress)}"


def resumed(progress: Progress) -> str | None:
    """What an earlier run left, or None when there was nothing."""
    if not progress.resumed:
        return None
    return f"{progress.resumed} of {progress.total} samples were already done"


class PlainReporter:
    """Writes a line at the start, at the end, when the phase changes and every few seconds between."""

    def __init__(self, stream: TextIO, every: float = LINE_EVERY, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._every = every
        self._clock = clock
        self._next: float | None = None
        self._last = self._phase = ""

    def __call__(self, progress: Progress) -> None:
        now = self._clock()
        text = line(progress)
        if self._next is None:
            note = resumed(progress)
            if note:
                print(note, file=self._stream)
        elif text == self._last or (
            now < self._next and progress.done < progress.total and progress.phase == self._phase
        ):
            return
        print(text, file=self._stream, flush=True)
        self._next, self._last, self._phase = now + self._every, text, progress.phase


class _Lines(logging.Handler):
    """Gives every message of the log, as one line, to a function that prints it."""

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        self._show(printable(record.getMessage()))


@contextmanager
def _logged(show: Callable[[str], None]) -> Iterator[None]:
    """Failures and losses are logged as they happen: shown by ``show`` in the block."""
    log, handler = logging.getLogger("distverify"), _Lines(show)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    text = TextColumn("samples, {task.description}")
    console = Console(stderr=True, highlight=False)
    with Bar(BarColumn(), MofNCompleteColumn(), text, TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("starting", total=None)
        seen = False

        def report(progress: Progress) -> None:
            nonlocal seen
            note = resumed(progress)
            if note and not seen:
                bar.console.print(note)
            seen = True
            bar.update(task, description=details(progress), completed=progress.done, total=progress.total)

        with _logged(lambda text: bar.console.print(text, markup=False)):
            yield report


@contextmanager
def reporting(quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A callback for ``certify(progress=...)``, or None when ``quiet``; the bar ends with the context.

    In the context warnings that distverify logs appear above the bar, or as lines between; not when ``quiet``.
    """
    if quiet:
        with _logged(lambda text: None):
            yield None
    elif sys.stderr.isatty():
        with _bar() as report:
            yield report
    else:
        with _logged(lambda text: print(text, file=sys.stderr, flush=True)):
            yield PlainReporter(sys.stderr)
