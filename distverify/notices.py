"""What a command tells on stderr beside its results: lines for people, or with ``DISTVERIFY_LOG=json`` a JSON object in each.

Light to import: a process that watches over a run uses it when that has ended for want of memory.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from distverify.errors import SettingsError

VARIABLE = "DISTVERIFY_LOG"
FORMS = ("text", "json")
FORMAT = "distverify progress 1"


def wants_json() -> bool:
    """Whether the environment asks for JSON."""
    return os.environ.get(VARIABLE, "").strip().lower() == "json"


def check_form() -> None:
    """Refuse what the environment asks for if it is no form of lines.

    Raises
    ------
    SettingsError
    """
    told = os.environ.get(VARIABLE, "").strip().lower()
    if told and told not in FORMS:
        raise SettingsError(
            f"the environment variable {VARIABLE}: got {os.environ[VARIABLE]!r}; set it to {' or '.join(FORMS)}, or not at all"
        )


def write_event(stream: TextIO, event: str, **fields: object) -> None:
    """A line of JSON: ``format``, ``event``, ``time`` (seconds since 1970), and what is told."""
    told = {"format": FORMAT, "event": event, "time": time.time(), **fields}
    print(json.dumps(told), file=stream, flush=True)


def tell(message: str, event: str = "note") -> None:
    """A line on stderr.

    Parameters
    ----------
    message : str
    event : "note", "error", "interrupted" or another name
        Of the JSON object; people see ``error:`` before an error.
    """
    if wants_json():
        write_event(sys.stderr, event, message=message)
    else:
        _print(f"error: {message}" if event == "error" else message)


def _print(text: str) -> None:
    from distverify.words import printable

    print(printable(text), file=sys.stderr, flush=True)


def write_record(record: logging.LogRecord) -> None:
    """What is logged as an event of its level's name, with its logger, on stderr."""
    write_event(sys.stderr, record.levelname.lower(), message=record.getMessage(), logger=record.name)


def tell_record(record: logging.LogRecord) -> None:
    """What is logged, as a line on stderr."""
    if wants_json():
        write_record(record)
    else:
        _print(record.getMessage())


class _Records(logging.Handler):
    """Gives warnings and worse to a function that shows them."""

    def __init__(self, show: Callable[[logging.LogRecord], None]) -> None:
        super().__init__(logging.WARNING)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        self._show(record)


@contextmanager
def logged(show: Callable[[logging.LogRecord], None]) -> Iterator[None]:
    """Failures and losses are logged as they happen: shown by ``show`` in the block, and by nothing of ours around it."""
    log, handler = logging.getLogger("distverify"), _Records(show)
    around = [other for other in log.handlers if isinstance(other, _Records)]
    for other in around:
        log.removeHandler(other)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        for other in around:
            log.addHandler(other)
