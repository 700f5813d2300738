"""An analysis that writes down what it computes, and fails where it is told to; importable by name in workers."""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from distverify.analysis.sample import analyse_sample
from distverify.network.graph import Network
from distverify.questions.askers import BoundsWorker
from distverify.questions.pieces import Arrays, Piece, Shared
from distverify.settings import Settings
from distverify.work import Sample, SampleResult

RAISES, EXITS, HANGS, LOST = "raises", "exits", "hangs", "lost"


@dataclass(frozen=True)
class Scripted:
    """The real analysis, with a line in ``log`` before each sample.

    Attributes
    ----------
    log : str
        Path of the file to append to.
    seconds : float
        How much longer than usual a sample takes.
    faults : dict sample index -> str
        What happens instead of a result: RAISES, EXITS (the process ends) or HANGS. LOST: the result is computed,
        but the first attempt to fetch it fails.
    """

    log: str
    seconds: float = 0.0
    faults: dict[int, str] = field(default_factory=dict)

    def __call__(self, network: Network, sample: Sample, settings: Settings) -> SampleResult:
        index = sample.index
        note(self.log, f"{index} {os.getpid()} {time.time():.6f}")
        time.sleep(self.seconds)
        fault = self.faults.get(index)
        if fault == RAISES:
            raise FloatingPointError(f"sample {index} is poison")
        if fault == EXITS:
            os._exit(1)
        if fault == HANGS:  # in C code that never gives the interpreter lock back, as a runaway kernel does
            sum(itertools.repeat(1, 10**15))
        result = analyse_sample(network, sample, settings)
        if fault == LOST:
            result["message"] = LostOnce(str(result["message"]), f"{self.log}.lost-{index}")
        return result


@dataclass(frozen=True)
class ScriptedPieces:
    """The real computation of pieces, with a line in ``log`` before each; what a driver takes for ``BoundsWorker``.

    Attributes
    ----------
    log : str
    seconds : float
        How much longer than usual a piece takes.
    faults : dict sample index -> str
        What happens instead of a result at the sample's first block of rows: RAISES, EXITS or HANGS.
    first : list of float
        Of each sample, its first value: by that it is recognised.
    """

    log: str
    seconds: float
    faults: dict[int, str]
    first: list[float]

    def __call__(self, network: Network) -> ScriptedPieceWorker:
        return ScriptedPieceWorker(self, BoundsWorker(network))


@dataclass
class ScriptedPieceWorker:
    script: ScriptedPieces
    worker: BoundsWorker

    def compute(self, piece: Piece, shared: Shared) -> Arrays:
        x0 = next((shared.arrays[name] for name in (".place.region.x0", ".x0") if name in shared.arrays), None)
        index = self.script.first.index(float(x0[0])) if x0 is not None else -1
        note(self.script.log, f"{index} {os.getpid()} {time.time():.6f} {piece.key}")
        time.sleep(self.script.seconds)
        fault = self.script.faults.get(index) if piece.kind == "chains" and piece.block[0] == 0 else None
        if fault == RAISES:
            raise FloatingPointError(f"rows of sample {index} are poison")
        if fault == EXITS:
            os._exit(1)
        if fault == HANGS:
            sum(itertools.repeat(1, 10**15))
        return self.worker.compute(piece, shared)


class LostOnce(str):
    """A text that cannot be received the first time; ``marker`` is the file that tells the second time apart."""

    marker: str

    def __new__(cls, text: str, marker: str) -> LostOnce:
        self = super().__new__(cls, text)
        self.marker = marker
        return self

    def __str__(self) -> str:
        return self  # not a plain copy

    def __reduce__(self) -> tuple[Any, ...]:
        return receive, (str.__str__(self), self.marker)


def receive(text: str, marker: str) -> str:
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return text
    raise ConnectionResetError("lost on the way")


def note(log: str, text: str) -> None:
    """Append a line."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, f"{text}\n".encode())  # one write: lines of several processes do not mix
    finally:
        os.close(file)


class Begun(NamedTuple):
    """A line of the log: process ``pid`` began sample ``index``, or a piece of it, at ``time`` (seconds since 1970)."""

    index: int  # type: ignore[assignment]  # not the tuple's method
    pid: int
    time: float
    key: str = ""


def read_log(path: str | os.PathLike[str]) -> list[Begun]:
    """What was begun, in order; empty where nothing was."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="ascii") as file:
        lines = [line.split() for line in file if line.endswith("\n")]
    return [Begun(int(index), int(pid), float(at), *key) for index, pid, at, *key in lines]


def from_json(spec: dict[str, Any]) -> Scripted:
    """The analysis that a driver is told of."""
    return Scripted(spec["log"], spec["seconds"], _faults(spec))


def pieces_from_json(spec: dict[str, Any]) -> ScriptedPieces:
    """The same for pieces."""
    return ScriptedPieces(spec["log"], spec["seconds"], _faults(spec), spec["first"])


def _faults(spec: dict[str, Any]) -> dict[int, str]:
    return {int(k): v for k, v in spec["faults"].items()}  # JSON knows no integer keys
