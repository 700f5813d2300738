"""Progress on stderr: a bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from distverify.notices import logged, tell_record, wants_json, write_event, write_record
from distverify.words import count, duration, per_second, printable

if TYPE_CHECKING:
    from distverify.driver import Progress

LINE_EVERY = 5.0  # seconds
RUNNING = "running"
FORMS = ("auto", "bar", "lines", "json", "none")
_BAR_WIDTH = 12  # characters
# What is left out first where there is little room.
_LEAST_FIRST = ("units", "open", "each", "phase", "workers", "retried", "failed")
_SAMPLES_EACH = 2  # of every worker, before the time that is left is estimated
_UNEVEN = 1.5  # ratio of the fastest to the slowest worker from which on both are told


def details(progress: Progress) -> str:
    """Speed, time left, failures and workers: ``2.1/s (1.05/s each), 30 s left, 0 failed, 2 workers``.

    Samples that an earlier run had finished do not count for the speed; before the first sample it is left out, and so is the
    time left before there are two samples for each worker. The phase comes first where the run is not under way.
    """
    return _joined(_parts(progress))


def fitting(progress: Progress, width: int) -> str:
    """As much of :func:`details` as ``width`` characters hold; the speed and the time left in any case."""
    parts = _parts(progress)
    for name in _LEAST_FIRST:
        if len(_joined(parts)) <= width:
            break
        del parts[name]
    return _joined(parts)


def _joined(parts: dict[str, str]) -> str:
    rate = parts.get("rate", "") + parts.get("each", "")
    return ", ".join(text for name, text in (parts | {"rate": rate}).items() if text and name != "each")


def _parts(progress: Progress) -> dict[str, str]:
    """What is told, in the order in which it is; "" where there is nothing to tell."""
    computed = progress.done - progress.resumed
    rate = each = left = ""
    if computed > 0 and progress.seconds > 0:
        speed = computed / progress.seconds
        rate, each = per_second(speed), _each(progress, speed)
        if progress.done < progress.total and computed >= _SAMPLES_EACH * progress.workers:
            left = f"{duration((progress.total - progress.done) / speed)} left"
    units = count(progress.units, "unit") if progress.units else ""
    return {
        "phase": "" if progress.phase == RUNNING else progress.phase,
        "rate": rate,
        "each": each,
        "left": left,
        "units": count(progress.pieces, "piece") if progress.pieces else units,
        "open": f"{progress.open_subproblems:,} open subproblems" if progress.open_subproblems else "",
        "failed": f"{progress.failed} failed",
        "retried": f"{progress.retried} retried" if progress.retried else "",
        "workers": count(progress.workers, "worker"),
    }


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


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    text = TextColumn("samples, {task.description}", table_column=Column(no_wrap=True, overflow="crop"))
    console = Console(stderr=True, highlight=False)
    done = MofNCompleteColumn(table_column=Column(no_wrap=True))
    with Bar(BarColumn(_BAR_WIDTH), done, text, TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("starting", total=None)
        seen = False

        def report(progress: Progress) -> None:
            nonlocal seen
            note = resumed(progress)
            if note and not seen:
                bar.console.print(note)
            seen = True
            # The bar, the time elapsed, "samples, " and the spaces between the columns have the rest.
            room = console.width - _BAR_WIDTH - len(f"{progress.total}") * 2 - 1 - len("samples, 0:00:00") - 3
            bar.update(task, description=fitting(progress, room), completed=progress.done, total=progress.total)

        def show(record: logging.LogRecord) -> None:
            bar.console.print(printable(record.getMessage()), markup=False)

        with logged(tell_record if wants_json() else show):
            yield report


class JsonReporter:
    """Writes a JSON object in a line, as often as :class:`PlainReporter` writes."""

    def __init__(self, stream: TextIO, every: float = LINE_EVERY, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._every = every
        self._clock = clock
        self._next: float | None = None
        self._phase = ""

    def __call__(self, progress: Progress) -> None:
        now = self._clock()
        early = self._next is not None and now < self._next
        if early and progress.done < progress.total and progress.phase == self._phase:
            return
        write_event(self._stream, "progress", **asdict(progress))
        self._next, self._phase = now + self._every, progress.phase


@contextmanager
def reporting(quiet: bool, form: str = "auto") -> Iterator[Callable[[Progress], None] | None]:
    """A callback for ``certify(progress=...)``, or None when ``quiet``; the bar ends with the context.

    In the context warnings that distverify logs appear above the bar, or as lines between; not when ``quiet``.

    Parameters
    ----------
    quiet : bool
    form : "auto", "bar", "lines", "json" or "none"
        auto: a bar on a terminal, lines elsewhere, JSON where ``DISTVERIFY_LOG`` says so. json: a JSON object in each line,
        warnings too, also when ``quiet``.
    """
    if form == "json" or (form == "auto" and wants_json() and not quiet):
        with logged(write_record):
            yield JsonReporter(sys.stderr)
    elif quiet or form == "none":
        with logged(lambda record: None):
            yield None
    elif form == "bar" or (form == "auto" and sys.stderr.isatty()):
        with _bar() as report:
            yield report
    else:
        with logged(tell_record):
            yield PlainReporter(sys.stderr)
