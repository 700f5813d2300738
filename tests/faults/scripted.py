"""An analysis that writes down what it computes, and fails where it is told to; importable by name in workers."""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.sample import SampleResult, analyse_sample
from distverify.network.graph import Network
from distverify.settings import Settings

RAISES, EXITS, HANGS = "raises", "exits", "hangs"


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
        What happens instead of a result: RAISES, EXITS (the process ends) or HANGS.
    """

    log: str
    seconds: float = 0.0
    faults: dict[int, str] = field(default_factory=dict)

    def __call__(
        self, network: Network, x: NDArray[np.float64], label: int, index: int, settings: Settings
    ) -> SampleResult:
        self._note(index)
        time.sleep(self.seconds)
        fault = self.faults.get(index)
        if fault == RAISES:
            raise FloatingPointError(f"sample {index} is poison")
        if fault == EXITS:
            os._exit(1)
        if fault == HANGS:  # in C code that never gives the interpreter lock back, as a runaway kernel does
            sum(itertools.repeat(1, 10**15))
        return analyse_sample(network, x, label, index, settings)

    def _note(self, index: int) -> None:
        line = f"{index} {os.getpid()} {time.time():.6f}\n".encode()
        file = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, line)  # one write: lines of several processes do not mix
        finally:
            os.close(file)


class Begun(NamedTuple):
    """A line of the log: process ``pid`` began sample ``index`` at ``time`` (seconds since 1970)."""

    index: int
    pid: int
    time: float


def read_log(path: str | os.PathLike[str]) -> list[Begun]:
    """What was begun, in order; empty where nothing was."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="ascii") as file:
        lines = [line.split() for line in file if line.endswith("\n")]
    return [Begun(int(index), int(pid), float(at)) for index, pid, at in lines]


def from_json(spec: dict[str, Any]) -> Scripted:
    """The analysis that a driver is told of; JSON knows no integer keys."""
    return Scripted(spec["log"], spec["seconds"], {int(k): v for k, v in spec["faults"].items()})
