"""The ``distverify`` command with a scripted analysis: ``python -m tests.faults.driver SCRIPT certify ...``.

SCRIPT is JSON: the fields of :class:`tests.faults.scripted.Scripted` (or, with ``first``, of ``ScriptedPieces``), and
optionally ``pause``, one of "before" and
"after": there, around the moment in which the finished file takes its place, the driver stands still, and makes the
file ``marker``.
"""

from __future__ import annotations

import json
import os
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
    if script.get("pause"):
        pause_at_the_end(script["pause"], Path(script["marker"]))
    del sys.argv[1]
    entry()
