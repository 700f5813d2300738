"""The process that a shell sees: it waits for the one that computes, and tells how that ended.

Ray ends the process that uses it, without an exception to catch, when it has lost its own; the kernel ends one for whose memory
there is no room. Neither may look like a finished run. So a run is computed by a child, whose exit status counts only if the
child has said it; a child that ends otherwise was interrupted, and what it had finished is kept.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import IO, NoReturn

from distverify.cli.streams import keep_apart, open_missing, tolerate_losses

MISUSE = 2
INTERRUPTED = 130
SAME_PRESS = 0.2  # seconds: a signal to a whole group comes to the child twice, from the sender and from here
LAST_PRESS = 3  # the first ends in order, the second at once; where even that hangs, the third ends the child
_TEARDOWN = 5.0  # seconds that a child may take to end after its last word
_PR_SET_PDEATHSIG = 1
_LOG_PREFIX = re.compile(r"^\[[^\]]*\]\s*\S+:\d+:\s*")


def guarded(body: Callable[[], object]) -> NoReturn:
    """Exit with the status with which ``body`` exits in a child process; with 130 where the child ends without one.

    Parameters
    ----------
    body : callable
        Raises SystemExit, or returns for status 0.
    """
    open_missing()
    numbers = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    read, write = os.pipe()
    aside = _nameless()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(read)
        _compute(body, parent, write, aside, numbers)
    os.close(write)
    guard = _Guard(child)
    for number in numbers:
        signal.signal(number, guard.forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    with os.fdopen(read, "rb") as pipe:
        word = pipe.read()  # until the child has said its last word, or ended
    ended = guard.wait()
    if word:
        os._exit(int(word))
    tolerate_losses()
    from distverify.notices import tell, wants_json

    for event, text in _how(ended, guard.presses, _last_line(aside)):
        if wants_json():
            tell(text, event)
        else:
            print(f"error: {text}" if event == "error" else text, file=sys.stderr, flush=True)
    os._exit(INTERRUPTED)


def _nameless() -> IO[bytes]:
    """A file for what libraries write to stderr by themselves."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return open(os.devnull, "r+b")


class _Guard:
    """Passes signals on to the child, and waits for it."""

    def __init__(self, child: int) -> None:
        self.presses = 0
        self._child = child
        self._last = -SAME_PRESS

    def forward(self, number: int, frame: object) -> None:
        now = time.monotonic()
        if now - self._last >= SAME_PRESS:
            self.presses += 1
        self._last = now
        with suppress(ProcessLookupError):
            os.kill(self._child, number if self.presses < LAST_PRESS else signal.SIGKILL)

    def wait(self) -> int:
        """The child's exit code, negative for a signal; ended by force if it takes too long."""
        end = time.monotonic() + _TEARDOWN
        while True:
            pid, status = os.waitpid(self._child, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() >= end:
                with suppress(ProcessLookupError):
                    os.kill(self._child, signal.SIGKILL)
            time.sleep(0.01)


def _compute(
    body: Callable[[], object], parent: int, write: int, aside: IO[bytes], numbers: set[signal.Signals]
) -> NoReturn:
    """The child: run ``body``, say its status, end."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    _end_with(parent)
    keep_apart(aside.fileno())
    tolerate_losses()
    try:
        body()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BaseException:
        from distverify.notices import tell, wants_json

        if wants_json():
            tell(traceback.format_exc(), "error")
        else:
            traceback.print_exc()
        status = MISUSE
    for number in numbers:  # what is to be told is told; libraries clean up, undisturbed
        signal.signal(number, signal.SIG_IGN)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.write(write, str(status).encode())
    os.close(write)
    sys.exit(status)


def _end_with(parent: int) -> None:
    """Whoever kills the process that the shell knows ends the run: the child goes with it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(INTERRUPTED)


def _how(ended: int, presses: int, said: str) -> list[tuple[str, str]]:
    """What is told of a child that ended without a word: event, text."""
    kept = "what was finished is kept: run the same command to continue"
    if "--overwrite" in sys.argv:
        kept += ", without --overwrite"
    if presses:
        return [("interrupted", f"interrupted; {kept}")]
    if ended == -signal.SIGKILL:
        how = "it was killed, as the system does where memory runs out"
    elif ended < 0:
        how = f"by signal {-ended}, {signal.Signals(-ended).name}"
    else:
        how = "as Ray does when its own processes are lost"
    words = f" (last words: {said})" if said else ""
    return [("error", f"the run ended unexpectedly, {how}{words}"), ("interrupted", f"interrupted: {kept}")]


def _last_line(aside: IO[bytes]) -> str:
    """What a library said last on stderr, without its prefix."""
    aside.seek(0)
    lines = aside.read()[-4000:].decode(errors="replace").strip().splitlines()
    return _LOG_PREFIX.sub("", lines[-1])[:200] if lines else ""
