"""``python -m tests.multinode.recording LOG certify ...``: the command line, with an analysis that notes who computed what.

Workers import this module by name. A node's environment says what it is called, and how slow it is.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distverify.analysis.sample import analyse_sample
from distverify.network.graph import Network
from distverify.settings import Settings

NODE = "DISTVERIFY_TEST_NODE"
SECONDS = "DISTVERIFY_TEST_SECONDS"


@dataclass(frozen=True)
class Entry:
    """One sample that was begun."""

    node: str
    pid: int
    time: float
    index: int


class Recorded:
    """Appends an :class:`Entry` to a file, sleeps for as long as this node takes, and analyses the sample."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def __call__(self, network: Network, x: np.ndarray, label: int, index: int, settings: Settings) -> dict[str, Any]:
        line = f"{os.environ.get(NODE, 'driver')} {os.getpid()} {time.time()} {index}\n"
        with self.log.open("a") as file:
            file.write(line)
        time.sleep(float(os.environ.get(SECONDS, "0")))
        return analyse_sample(network, x, label, index, settings)


def entries(log: Path) -> list[Entry]:
    """What was begun so far, in order."""
    text = log.read_text() if log.exists() else ""
    found = (line.split() for line in text.splitlines())
    return [Entry(node, int(pid), float(at), int(index)) for node, pid, at, index in found]


def main() -> None:
    from distverify import api
    from distverify.cli.main import main as command_line
    from distverify.runtime import head_watch, plan

    api.analyse_sample = Recorded(Path(sys.argv.pop(1)))
    plan.SHORTEST_SECONDS = 0.5  # of a unit: many units in a short run
    head_watch.LONGEST_SILENCE = 5.0
    command_line()


if __name__ == "__main__":
    # Under its importable name, by which workers find the analysis.
    from tests.multinode import recording

    recording.main()
