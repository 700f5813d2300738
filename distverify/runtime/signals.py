"""Signals that end a run in order."""

from __future__ import annotations

import math
import signal
import threading
import time
from types import FrameType

SAME_SIGNAL = 0.2  # seconds


class Signals:
    """The first SIGINT or SIGTERM lets units in flight finish; a second one ends at once.

    Several within ``SAME_SIGNAL`` seconds count as one: a batch system, or a parent process, sends to a whole group and to
    each of its members.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._last = -math.inf
        self._previous: dict[int, object] = {}

    def stopped(self) -> bool:
        return self._stop.is_set()

    def install(self) -> None:
        """Again is harmless, and brings back what was replaced since."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous.setdefault(number, signal.signal(number, self._handle))

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        again, self._last = now - self._last >= SAME_SIGNAL, now
        if self._stop.is_set() and again:
            raise KeyboardInterrupt
        self._stop.set()

    def __enter__(self) -> Signals:
        self.install()  # a KeyboardInterrupt within Ray's start may crash the process at its end
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
