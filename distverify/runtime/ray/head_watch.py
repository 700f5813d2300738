"""Whether the head node of a Ray cluster is still there. No Ray: its own calls hang where the head is gone."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from threading import Thread
from typing import TypeVar

from distverify.errors import ExecutorError

T = TypeVar("T")

LONGEST_SILENCE = (
    20.0  # seconds; after 60 s without its head, Ray ends this process on the spot, without an error to catch
)
_PROBE_SECONDS = 0.5
_CONNECT_SECONDS = 2.0


class HeadLostError(ExecutorError):
    """Nothing more can be asked of this Ray, not even to end."""


class HeadWatch:
    """Asks now and then whether the head accepts a connection. Times are seconds of a monotonic clock, passed in.

    Parameters
    ----------
    address : str
        "host:port" of Ray's control service.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._heard = math.nan  # when it last answered
        self._asked = -math.inf
        self._answers = True

    @property
    def reachable(self) -> bool:
        """Whether it answered when it was last asked."""
        return self._answers

    def answers(self, now: float) -> bool:
        """False: ask Ray nothing now that the head would have to answer.

        Raises
        ------
        HeadLostError
            The head has been silent for ``LONGEST_SILENCE``.
        """
        if now - self._asked >= _PROBE_SECONDS:
            self._asked = now
            self._answers = accepts(self.address, _CONNECT_SECONDS)
            if self._answers or math.isnan(self._heard):
                self._heard = now
        if now - self._heard >= LONGEST_SILENCE and not self._answers:
            raise self._silent(now - self._heard)
        return self._answers

    def ask(self, question: Callable[[], T]) -> T | None:
        """What ``question`` returns or raises; None where the head went away and left it hanging, in a thread of its own."""
        answer: list[T] = []
        failure: list[BaseException] = []

        def attempt() -> None:
            try:
                answer.append(question())
            except BaseException as error:  # raised below
                failure.append(error)

        thread = Thread(target=attempt, daemon=True)
        thread.start()
        for _ in range(int(LONGEST_SILENCE / _PROBE_SECONDS)):
            thread.join(_PROBE_SECONDS)
            if not (thread.is_alive() and accepts(self.address, _CONNECT_SECONDS)):
                break
        if failure:
            raise failure[0]
        return answer[0] if answer else None

    def _silent(self, seconds: float) -> HeadLostError:
        return HeadLostError(
            f"Ray's head node at {self.address} has not answered for {seconds:.0f} s; "
            "what was computed is kept: run the same again, on a cluster that runs"
        )


def accepts(address: str, timeout: float) -> bool:
    """Whether something takes connections at "host:port"."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=timeout).close()
    except OSError:
        return False
    return True
