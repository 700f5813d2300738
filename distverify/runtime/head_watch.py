"""Whether the head node of a Ray cluster is still there. No Ray: its own calls hang where the head is gone."""

from __future__ import annotations

import math
import socket

from distverify.errors import ExecutorError

LONGEST_SILENCE = (
    20.0  # seconds; after 60 s without its head, Ray ends this process on the spot, without an error to catch
)
_PROBE_SECONDS = 0.5
_CONNECT_SECONDS = 2.0


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
        ExecutorError
            The head has been silent for ``LONGEST_SILENCE``.
        """
        if now - self._asked >= _PROBE_SECONDS:
            self._asked = now
            self._answers = accepts(self.address, _CONNECT_SECONDS)
            if self._answers or math.isnan(self._heard):
                self._heard = now
        if now - self._heard >= LONGEST_SILENCE and not self._answers:
            raise ExecutorError(
                f"Ray's head node at {self.address} has not answered for {now - self._heard:.0f} s; "
                "what was computed is kept: run the same again, on a cluster that runs"
            )
        return self._answers


def accepts(address: str, timeout: float) -> bool:
    """Whether something takes connections at "host:port"."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=timeout).close()
    except OSError:
        return False
    return True
