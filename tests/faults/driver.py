"""The ``distverify`` command with a scripted analysis: ``python -m tests.faults.driver SCRIPT certify ...``.

SCRIPT is JSON: the fields of :class:`tests.faults.scripted.Scripted` (or, with ``first``, of ``ScriptedPieces``), and
optionally ``pause``, one of "before" and
"after": there, around the moment in which the finished file takes its place, the driver stands still, and makes the
file ``marker``; and ``disk``, an object with ``every`` and ``seed``: every so many seconds, on average, an ``fsync`` or a rename of
the driver fails.
"""

from __future__ import annotations

import errno
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import distverify.api
from distverify.cli.main import entry
from tests.faults import scripted


def pause_at_the_end(where: str, marker: Path) -> None:
    replace = os.replace

    def slow_replace(source: Any, target: Any) -> None:
        last = Path(source).name == "finished.tmp"
        if last and where == "before":
            stand_still(marker)
        replace(source, target)
        if last and where == "after":
            stand_still(marker)

    os.replace = slow_replace  # type: ignore[assignment]


def fail_now_and_then(every: float, seed: int) -> None:
    """Let a step of the journal on the disk fail, every so many seconds on average; never one of Ray's."""
    chance = random.Random(seed)
    fsync, replace = os.fsync, os.replace
    due = [time.monotonic() + chance.expovariate(1.0 / every)]

    def fails(path: str) -> bool:
        if ".parts" not in path or time.monotonic() < due[0] or chance.random() < 0.5:
            return False
        due[0] = time.monotonic() + chance.expovariate(1.0 / every)
        return True

    def failing_fsync(fd: Any) -> None:
        if fails(os.readlink(f"/proc/self/fd/{fd if isinstance(fd, int) else fd.fileno()}")):
            raise OSError(errno.EIO, "soak: fsync fails")
        fsync(fd)

    def failing_replace(source: Any, target: Any) -> None:
        if fails(str(target)) or fails(str(source)):
            raise OSError(errno.ENOSPC, "soak: a rename fails")
        replace(source, target)

    os.fsync, os.replace = failing_fsync, failing_replace  # type: ignore[assignment]


def stand_still(marker: Path) -> None:
    marker.touch()
    time.sleep(600)


if __name__ == "__main__":
    script = json.loads(sys.argv[1])
    product: Any = distverify.api  # its names are replaced by doubles
    if "first" in script:
        product.BoundsWorker = scripted.pieces_from_json(script)
    else:
        product.analyse_sample = scripted.from_json(script)
    if "disk" in script:
        fail_now_and_then(**script["disk"])
    if script.get("pause"):
        pause_at_the_end(script["pause"], Path(script["marker"]))
    del sys.argv[1]
    entry()
