"""The ``distverify`` command with a scripted analysis: ``python -m tests.faults.driver SCRIPT certify ...``.

SCRIPT is JSON: the fields of :class:`tests.faults.scripted.Scripted`, and optionally ``pause``, one of "before" and
"after": the driver stands still there around the moment in which the finished file takes its place, and says so
in the file ``paused``; and ``lose_payloads``: so many results are deleted from Ray's object store before they are fetched.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import distverify.api
from distverify.cli.main import main
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

    os.replace = slow_replace


def stand_still(marker: Path) -> None:
    marker.touch()
    time.sleep(600)


def lose_payloads(count: int, marker: Path) -> None:
    """Deletes results between a good status and their fetch, as the loss of the node that holds them does."""
    import ray
    from ray._private.internal_api import free

    get, left = ray.get, [count]

    def get_too_late(refs: Any, **options: Any) -> Any:
        # The second result of a call that is done: the object id ends with the number of the result.
        if left[0] and isinstance(refs, ray.ObjectRef) and refs.hex().endswith("02000000"):
            left[0] -= 1
            free([refs])
            with marker.open("a") as file:
                file.write("lost\n")
        return get(refs, **options)

    ray.get = get_too_late


if __name__ == "__main__":
    script = json.loads(sys.argv[1])
    distverify.api.analyse_sample = scripted.from_json(script)  # type: ignore[assignment]
    if script.get("pause"):
        pause_at_the_end(script["pause"], Path(script["marker"]))
    if script.get("lose_payloads"):
        lose_payloads(script["lose_payloads"], Path(script["marker"]))
    main(sys.argv[2:], prog_name="distverify")
