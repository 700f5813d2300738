"""Analyses with scripted faults, importable by name in workers, and the jobs that run them."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from distverify.network.graph import Network
from distverify.runtime.work import MISCLASSIFIED, Job, Payload, UnitDone, WorkUnit
from distverify.settings import Settings

VARIABLES: dict[str, tuple[tuple[int, ...], str]] = {
    "logits": ((3,), "float64"),
    "predicted": ((), "int64"),
    "radius": ((), "float64"),
}
SAMPLES = 24


def network() -> Network:
    rng = np.random.default_rng(0)
    sizes = [6, 16, 16, 3]
    layers = [(rng.normal(size=(n, m)) / np.sqrt(m), rng.normal(size=n)) for m, n in itertools.pairwise(sizes)]
    return Network.from_layers(layers, "relu")


def job(analyse: Any, warm_up: Any = None, samples: int = SAMPLES, **changes: Any) -> Job:
    rng = np.random.default_rng(1)
    values: dict[str, Any] = {
        "network": network(),
        "inputs": rng.normal(size=(samples, 6)),
        "labels": np.arange(samples, dtype=np.int64) % 3,
        "indices": 100 + np.arange(samples, dtype=np.int64),
        "settings": Settings(compute=("radius",), eps=()),
        "analyse": analyse,
        "warm_up": warm_up or nothing,
        "variables": VARIABLES,
    }
    return Job(**(values | changes))


def results(events: list[Any], samples: int = SAMPLES) -> Payload:
    """All payloads side by side; fails unless every sample was reported exactly once."""
    done = sorted((e for e in events if isinstance(e, UnitDone)), key=lambda e: e.unit)
    positions = [i for e in done for i in range(e.unit.start, e.unit.stop)]
    assert positions == list(range(samples))
    assert all(len(v) == e.unit.size for e in done for v in e.payload.values())
    return {name: np.concatenate([e.payload[name] for e in done]) for name in done[0].payload}


def units(size: int, samples: int = SAMPLES) -> list[WorkUnit]:
    return [WorkUnit(i, min(i + size, samples)) for i in range(0, samples, size)]


def nothing() -> None:
    pass


def logits(net: Network, x: np.ndarray, label: int, index: int, settings: Settings) -> dict[str, Any]:
    values = net(x)[0]
    predicted = int(np.argmax(values))
    out: dict[str, Any] = {"logits": values, "predicted": predicted, "radius": float(np.ptp(values))}
    if predicted != label:
        out |= {"status": MISCLASSIFIED, "radius": 0.0}
    return out


def poison(net: Network, x: np.ndarray, label: int, index: int, settings: Settings) -> dict[str, Any]:
    if index == 105:
        raise FloatingPointError("bad\n  sample")
    return logits(net, x, label, index, settings)


def crash(net: Network, x: np.ndarray, label: int, index: int, settings: Settings) -> dict[str, Any]:
    if index == 105:
        os._exit(1)
    return logits(net, x, label, index, settings)


def hang(net: Network, x: np.ndarray, label: int, index: int, settings: Settings) -> dict[str, Any]:
    """Hangs in C code that never gives the interpreter lock back, as a runaway kernel does."""
    if index == 105:
        sum(itertools.repeat(1, 10**15))
    return logits(net, x, label, index, settings)


def slow(net: Network, x: np.ndarray, label: int, index: int, settings: Settings) -> dict[str, Any]:
    time.sleep(0.2)
    return logits(net, x, label, index, settings)


class Recorded:
    """Appends "pid index" to a file before each sample, then sleeps: what is computed twice counts."""

    def __init__(self, path: Path, seconds: float) -> None:
        self.path = path
        self.seconds = seconds

    def __call__(self, net: Network, x: np.ndarray, label: int, index: int, settings: Settings) -> dict[str, Any]:
        with self.path.open("a") as file:
            file.write(f"{os.getpid()} {index}\n")
        time.sleep(self.seconds)
        return logits(net, x, label, index, settings)

    def lines(self) -> list[tuple[int, int]]:
        text = self.path.read_text() if self.path.exists() else ""
        return [(int(pid), int(index)) for pid, index in map(str.split, text.splitlines())]


def sharing(net: Network, x: np.ndarray, label: int, index: int, settings: Settings) -> dict[str, Any]:
    """Reports as "predicted" whether weights and inputs are read where the object store holds them."""
    weight = net.nodes[1].terms[0].operator.weight  # type: ignore[union-attr]
    read_only = not net.buffer.flags.writeable and not x.flags.writeable
    borrowed = not net.buffer.flags.owndata and not x.flags.owndata
    in_place = np.shares_memory(weight, net.buffer) and net.buffer.ctypes.data % 64 == 0
    shared = int(read_only and borrowed and in_place)
    return {"logits": net(x)[0], "predicted": shared, "radius": 0.0}


class Unreadable:
    """An analysis that can be sent, but not received: as where a node lacks a package."""

    def __call__(self, net: Network, x: np.ndarray, label: int, index: int, settings: Settings) -> dict[str, Any]:
        return {}

    def __reduce__(self) -> tuple[Any, ...]:
        return (_not_installed, ())


def _not_installed() -> None:
    raise ModuleNotFoundError("no such analysis")


def warm_up_raises() -> None:
    raise ImportError("no kernels here")


def warm_up_exits() -> None:
    os._exit(1)
