"""``python -m tests.multinode.recording LOG certify ...``: the command line, with analyses that note who computed what.

Workers import this module by name. A node's environment says what it is called, and how slow it is.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distverify.analysis.sample import analyse_sample
from distverify.network.graph import Network
from distverify.questions.askers import BoundsWorker, ThroughCrew
from distverify.questions.pieces import Arrays, Piece, Shared
from distverify.questions.question import Cuts
from distverify.settings import Settings
from distverify.work import Sample

NODE = "DISTVERIFY_TEST_NODE"
SECONDS = "DISTVERIFY_TEST_SECONDS"


@dataclass(frozen=True)
class Entry:
    """One sample, or piece of one, that was begun.

    Attributes
    ----------
    what : str
        The sample's index, or the piece's key.
    """

    node: str
    pid: int
    time: float
    what: str

    @property
    def index(self) -> int:
        return int(self.what)


class Recorded:
    """Appends an :class:`Entry` to a file, sleeps for as long as this node takes, and analyses the sample."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def __call__(self, network: Network, sample: Sample, settings: Settings) -> dict[str, Any]:
        note(self.log, str(sample.index))
        return analyse_sample(network, sample, settings)


class RecordedPieces:
    """The same for pieces: makes the worker that computes them."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def __call__(self, network: Network) -> RecordedWorker:
        return RecordedWorker(self.log, network)


class RecordedWorker:
    def __init__(self, log: Path, network: Network) -> None:
        self.log = log
        self.worker = BoundsWorker(network)

    def compute(self, piece: Piece, shared: Shared) -> Arrays:
        note(self.log, piece.key)
        return self.worker.compute(piece, shared)


def note(log: Path, what: str) -> None:
    """Append an :class:`Entry`, then take as long as this node does."""
    with log.open("a") as file:
        file.write(f"{os.environ.get(NODE, 'driver')} {os.getpid()} {time.time()} {what}\n")
    time.sleep(float(os.environ.get(SECONDS, "0")))


def small_pieces(self: ThroughCrew, *arguments: Any, made: Any = ThroughCrew.__init__, **options: Any) -> None:
    """Cuts the demo's small network into many."""
    made(self, *arguments, **options | {"cuts": Cuts(rows=2, neurons=8, columns=8, work=0.0)})


def entries(log: Path) -> list[Entry]:
    """What was begun so far, in order."""
    text = log.read_text() if log.exists() else ""
    found = (line.split() for line in text.splitlines())
    return [Entry(node, int(pid), float(at), what) for node, pid, at, what in found]


def main() -> None:
    from distverify import api
    from distverify.cli.main import entry as command_line
    from distverify.runtime.ray import head_watch

    log = Path(sys.argv.pop(1))
    for place, name, double in (
        (api, "analyse_sample", Recorded(log)),
        (api, "BoundsWorker", RecordedPieces(log)),
        (ThroughCrew, "__init__", small_pieces),  # in the driver: workers only compute what it asks for
    ):
        setattr(place, name, double)
    head_watch.LONGEST_SILENCE = 5.0
    command_line()


if __name__ == "__main__":
    # Under its importable name, by which workers find the analysis.
    from tests.multinode import recording

    recording.main()
