"""An answer in time, whatever happens to the process that looks for it.

The one that the shell started forks before anything is imported, and waits: it answers when the child has, when the time is up, or when
it is told to end. A child that dies, as where memory runs out, has no answer, which is ``unknown``.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable

UNKNOWN, TIMED_OUT = "unknown\n", "timed-out\n"
INTERRUPTED = 130
_PR_SET_PDEATHSIG = 1
# What printing and the end of this process take.
_LAST_WORDS = 0.02


def started() -> float:
    """When this process began, by ``time.monotonic``; now, where the system does not tell."""
    now = time.monotonic()
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rsplit(b")", 1)[1].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return now
    return now - age if 0.0 <= age < 60.0 else now


class _Ended(Exception):
    """A signal that ends the wait."""


def answered(compute: Callable[[], tuple[int, str]], deadline: float | None) -> int:
    """Print what ``compute`` says, or that there was no time; the exit status.

    Parameters
    ----------
    compute : callable () -> (exit status, text for stdout)
        Run in a child process.
    deadline : float or None
        By ``time.monotonic``.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    read, write = os.pipe()
    signals: list[int] = []

    def stop(number: int, frame: object) -> None:
        signals.append(number)
        raise _Ended

    old = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    child, kept = 0, b""
    try:
        try:
            child = os.fork()
            if child == 0:
                os.close(read)
                _child(compute, write)
            os.close(write)
            kept = _wait(read, deadline)
        except _Ended:
            pass
        finally:
            for number in old:
                signal.signal(number, signal.SIG_IGN)
            if child:
                _end(child)
    finally:
        os.close(read)
        for number, handler in old.items():
            signal.signal(number, handler)
    if kept.endswith(b"\0"):
        status, _, text = kept[:-1].decode().partition(" ")
        sys.stdout.write(text)
        sys.stdout.flush()
        return int(status)
    if signals and signals[0] == signal.SIGINT:
        _tell("interrupted", "interrupted")
        return INTERRUPTED
    late = deadline is not None and time.monotonic() >= deadline - 2 * _LAST_WORDS
    sys.stdout.write(TIMED_OUT if late or signals else UNKNOWN)
    sys.stdout.flush()
    if not late and not signals:
        _tell("the search ended unexpectedly, as where memory runs out", "warning")
    return 0


def _tell(text: str, event: str) -> None:
    from distverify.notices import tell

    tell(text, event)


def _wait(read: int, deadline: float | None) -> bytes:
    """What the child wrote until it ended, or until there is no more time."""
    parts: list[bytes] = []
    while True:
        left = None if deadline is None else max(0.0, deadline - _LAST_WORDS - time.monotonic())
        ready, _, _ = select.select([read], [], [], left)
        if not ready:
            return b""
        part = os.read(read, 1 << 20)
        if not part:
            return b"".join(parts)
        parts.append(part)


def _end(child: int) -> None:
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def _child(compute: Callable[[], tuple[int, str]], write: int) -> None:
    """Compute, tell, and end without the parent's own endings."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        status, text = compute()
        sys.stderr.flush()
        left = memoryview(f"{status} {text}".encode() + b"\0")
        while left:
            left = left[os.write(write, left) :]
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(0)
