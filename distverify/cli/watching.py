"""Following a run from outside, by its result file: how far it is, how fast, and what failed."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
import numpy as np

from distverify.status import PENDING, WITHOUT_VALUE
from distverify.words import duration, per_second

if TYPE_CHECKING:
    from distverify.results.reader import Result

_WINDOW = 30  # looks over which a speed is measured


@dataclass(frozen=True)
class Look:
    """A run at one moment.

    Attributes
    ----------
    done, total, failed : int
        Samples; those that failed or timed out are done too.
    complete : bool
        The run has ended.
    at : float
        When, in seconds of a monotonic clock.
    """

    done: int
    total: int
    failed: int
    complete: bool
    at: float


def look(result: Result, clock: Callable[[], float] = time.monotonic) -> Look:
    """How far the run of ``result`` is now."""
    with result.at_one_moment() as moment:
        status, complete = moment["status"], moment.complete
    pending = int((status == PENDING).sum())
    return Look(status.size - pending, status.size, int(np.isin(status, WITHOUT_VALUE).sum()), complete, clock())


def short_line(now: Look, before: Look | None = None) -> str:
    """One line: ``37/100 samples, 2.1/s, 30 s left, 0 failed``; the speed is that since ``before``."""
    parts = [f"{now.done}/{now.total} samples"]
    if before is not None and now.at > before.at and now.done > before.done:
        rate = (now.done - before.done) / (now.at - before.at)
        parts.append(per_second(rate))
        if now.done < now.total:
            parts.append(f"{duration((now.total - now.done) / rate)} left")
    parts.append(f"{now.failed} failed")
    parts.append("finished" if now.complete else "unfinished")
    return ", ".join(parts)


def watch(
    result: Result,
    every: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Print a line whenever there is news, until the run has ended; on a terminal each takes the place of the last."""
    again = sys.stdout.isatty()
    looks: deque[Look] = deque(maxlen=_WINDOW)
    last = ""
    while True:
        looks.append(look(result, clock))
        text = short_line(looks[-1], looks[0])
        if text != last:
            click.echo(f"\r\x1b[K{text}" if again else text, nl=not again or looks[-1].complete)
            last = text
        if looks[-1].complete:
            return
        sleep(every)
