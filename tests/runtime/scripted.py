"""Analyses with scripted faults, importable by name in workers, and the jobs that run them."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from distverify.data.dataset import Dataset
from distverify.network.graph import Network
from distverify.questions.pieces import Crew, Piece, Shared
from distverify.runtime.job import Event, Executor, Job, PieceDone, Recall, UnitDone
from distverify.settings import Settings
from distverify.status import MISCLASSIFIED
from distverify.work import Payload, Sample, WorkUnit

VARIABLES: dict[str, tuple[tuple[int, ...], str]] = {
    "logits": ((3,), "float64"),
    "predicted": ((), "int64"),
    "radius": ((), "float64"),
}
SAMPLES = 24
BIG = 2_500_000  # numbers: 20 MB


def network() -> Network:
    rng = np.random.default_rng(0)
    sizes = [6, 16, 16, 3]
    layers = [(rng.normal(size=(n, m)) / np.sqrt(m), rng.normal(size=n)) for m, n in itertools.pairwise(sizes)]
    return Network.from_layers(layers, "relu")


def job(analyse: Any, warm_up: Any = None, samples: int = SAMPLES, **changes: Any) -> Job:
    rng = np.random.default_rng(1)
    values: dict[str, Any] = {
        "network": network(),
        "data": Dataset(
            rng.normal(size=(samples, 6)),
            np.arange(samples, dtype=np.int64) % 3,
            100 + np.arange(samples, dtype=np.int64),
            "scripted",
            (6,),
        ),
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


def never() -> bool:
    return False


def run(
    executor: Executor, job: Job, units: Iterable[WorkUnit], should_stop: Callable[[], bool] = never,
    recall: Recall | None = None,
) -> Generator[Event]:  # fmt: skip
    """The events of a session that gets all units at once."""
    with executor.open(job, should_stop, recall) as session:
        session.add(units)
        yield from session.events()


def nothing() -> None:
    pass


def logits(net: Network, sample: Sample, settings: Settings) -> dict[str, Any]:
    values = net(sample.x)[0]
    predicted = int(np.argmax(values))
    out: dict[str, Any] = {"logits": values, "predicted": predicted, "radius": float(np.ptp(values))}
    if predicted != sample.label:
        out |= {"status": MISCLASSIFIED, "radius": 0.0}
    return out


def poison(net: Network, sample: Sample, settings: Settings) -> dict[str, Any]:
    if sample.index == 105:
        raise FloatingPointError("bad\n  sample")
    return logits(net, sample, settings)


class Died(BaseException):
    """A worker that only pretends to be a process ends."""


class Hung(BaseException):
    """A worker that only pretends to be a process computes for ever."""


class _Pretended(Protocol):
    def sleep(self, seconds: float) -> None: ...


_pretended: _Pretended | None = None  # in whose place faults and sleep happen in this process


@contextmanager
def pretending(pool: _Pretended) -> Iterator[None]:
    """Faults of analyses end no process, and sleep takes no time, while the context lasts."""
    global _pretended
    _pretended = pool
    try:
        yield
    finally:
        _pretended = None


def die() -> None:
    if _pretended is not None:
        raise Died
    os._exit(1)


def hang_on() -> None:
    """In C code that never gives the interpreter lock back, as a runaway kernel does."""
    if _pretended is not None:
        raise Hung
    sum(itertools.repeat(1, 10**15))


def sleep(seconds: float) -> None:
    if _pretended is not None:
        _pretended.sleep(seconds)
    else:
        time.sleep(seconds)


def crash(net: Network, sample: Sample, settings: Settings) -> dict[str, Any]:
    if sample.index == 105:
        die()
    return logits(net, sample, settings)


def hang(net: Network, sample: Sample, settings: Settings) -> dict[str, Any]:
    if sample.index == 105:
        hang_on()
    return logits(net, sample, settings)


def slow(net: Network, sample: Sample, settings: Settings) -> dict[str, Any]:
    sleep(0.2)
    return logits(net, sample, settings)


def big(net: Network, sample: Sample, settings: Settings) -> dict[str, Any]:
    return {"values": np.full(BIG, float(sample.index))}


class Recorded:
    """Appends "pid index" to a file before each sample, then sleeps: what is computed twice counts."""

    def __init__(self, path: Path, seconds: float) -> None:
        self.path = path
        self.seconds = seconds

    def __call__(self, net: Network, sample: Sample, settings: Settings) -> dict[str, Any]:
        with self.path.open("a") as file:
            file.write(f"{os.getpid()} {sample.index}\n")
        sleep(self.seconds)
        return logits(net, sample, settings)

    def lines(self) -> list[tuple[int, int]]:
        text = self.path.read_text() if self.path.exists() else ""
        return [(int(pid), int(index)) for pid, index in map(str.split, text.splitlines())]


def sharing(net: Network, sample: Sample, settings: Settings) -> dict[str, Any]:
    """Reports as "predicted" whether weights and inputs are read where the object store holds them."""
    arrays = [*net.nodes[1].terms[0].operator.arrays, net.nodes[1].bias, sample.x]  # type: ignore[union-attr]
    shared = int(not any(a.flags.writeable or a.flags.owndata or not a.flags.aligned for a in arrays))
    return {"logits": net(sample.x)[0], "predicted": shared, "radius": 0.0}


class Unreadable:
    """An analysis that can be sent, but not received: as where a node lacks a package."""

    def __call__(self, net: Network, sample: Sample, settings: Settings) -> dict[str, Any]:
        return {}

    def __reduce__(self) -> tuple[Any, ...]:
        return (_not_installed, ())


def _not_installed() -> None:
    raise ModuleNotFoundError("no such analysis")


def warm_up_raises() -> None:
    raise ImportError("no kernels here")


def warm_up_exits() -> None:
    die()


def job_in_pieces(analysis: Any, samples: int = SAMPLES, **changes: Any) -> Job:
    return job(logits, samples=samples, **({"analyse_in_pieces": analysis, "piece_worker": Blocks} | changes))


def units_in_pieces(samples: int = SAMPLES) -> list[WorkUnit]:
    return [WorkUnit(i, i + 1, 4) for i in range(samples)]


class InPieces:
    """An analysis in two requests: hidden neurons in blocks, then output rows.

    Parameters
    ----------
    at : (index, kind, start)
        The piece that gets ``fault``, see :class:`Blocks`.
    path : Path, optional
        A folder, where each piece that is computed leaves a line.
    seconds : float
        That each piece sleeps.
    ballast : int
        Numbers that pieces share, and return, and nobody needs.
    """

    def __init__(
        self, fault: str = "", at: tuple[int, str, int] = (105, "neurons", 8), path: Path | None = None,
        seconds: float = 0.0, ballast: int = 0,
    ) -> None:  # fmt: skip
        self.ballast = ballast
        self.fault = fault
        self.at = at
        self.path = path
        self.seconds = seconds

    def __call__(self, net: Network, sample: Sample, settings: Settings, pieces: int, crew: Crew) -> dict[str, Any]:
        index = sample.index

        def request(kind: str, size: int, values: np.ndarray) -> np.ndarray:
            edges = [i * size // pieces for i in range(pieces + 1)]
            found = crew.map(
                [
                    Piece(f"{index}-{kind}-{a}", kind, (a, b), self._request((index, kind, a)))
                    for a, b in itertools.pairwise(edges)
                    if a < b
                ],
                Shared(f"{index}-{kind}", {"values": values, "ballast": np.zeros(self.ballast)}),
            )
            return np.concatenate([block["values"] for block in found])

        outputs = request("rows", 3, request("neurons", 16, sample.x))
        predicted = int(np.argmax(outputs))
        out: dict[str, Any] = {"logits": outputs, "predicted": predicted, "radius": float(np.ptp(outputs))}
        return out if predicted == sample.label else out | {"status": MISCLASSIFIED, "radius": 0.0}

    def _request(self, at: tuple[int, str, int]) -> tuple[str, Path | None, float]:
        return (self.fault if at == self.at else "", self.path, self.seconds)

    def computed(self) -> list[str]:
        """Keys of the pieces that workers began, in order; one that was begun twice is there twice."""
        assert self.path is not None
        file = self.path / "pieces"
        return file.read_text().split() if file.exists() else []


class Blocks:
    """A piece worker; ``request`` of a piece is (fault, folder, seconds to sleep).

    Faults: "raise", "crash" (ends its process), "crash once", "hang", "share" (raises unless what is shared is read in place).
    """

    def __init__(self, net: Network) -> None:
        rng = np.random.default_rng(2)
        self.matrices = {"neurons": rng.normal(size=(16, 6)), "rows": rng.normal(size=(3, 16))}

    def compute(self, piece: Piece, shared: Shared) -> dict[str, np.ndarray]:
        fault, path, seconds = piece.request
        if path is not None:
            with (path / "pieces").open("a") as file:
                file.write(f"{piece.key}\n")
        sleep(seconds)
        values = shared.arrays["values"]
        first = path is not None and fault == "crash once" and not (path / "crashed").exists()
        if first:
            (path / "crashed").touch()
        if fault == "raise":
            raise FloatingPointError("bad\n  block")
        if fault == "crash" or first:
            die()
        if fault == "hang":
            hang_on()
        if fault == "share" and any(a.flags.writeable or _base(a).flags.owndata for a in shared.arrays.values()):
            raise RuntimeError("copied")
        start, stop = piece.block
        found = np.tanh(np.array([row @ values for row in self.matrices[piece.kind][start:stop]]))
        return {"values": found, "ballast": shared.arrays["ballast"]}


def _base(values: np.ndarray) -> np.ndarray:
    while isinstance(values.base, np.ndarray):
        values = values.base
    return values


class Kept:
    """What a journal does with pieces."""

    def __init__(self) -> None:
        self.pieces: dict[tuple[int, str], Payload] = {}
        self.asked: list[tuple[int, str]] = []

    def keep(self, event: Event) -> None:
        if isinstance(event, PieceDone):
            self.pieces[event.position, event.key] = event.payload

    def recall(self, position: int, key: str) -> Payload | None:
        self.asked.append((position, key))
        return self.pieces.get((position, key))
