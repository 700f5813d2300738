"""Programs that read a result file again and again while its run goes on, and compare what they get with the truth."""

from __future__ import annotations

import json
import resource
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from distverify.errors import ResultError

ROOT = Path(__file__).resolve().parents[2]
OPEN_FILES = 256
_NAMES = ("lipschitz", "seconds", "status")  # values before statuses: whoever mixes moments is caught
_PENDING = 0


@dataclass
class Seen:
    """What a reader saw: reads that gave an answer, reads that were refused with an error, wrong answers, samples done at last."""

    samples: int = 0
    reads: int = 0
    refused: int = 0
    wrong: int = 0
    words: list[str] = field(default_factory=list)  # of errors, each once


@contextmanager
def readers(path: Path, truth: Path, pause: float) -> Iterator[Callable[[], dict[str, Seen]]]:
    """A reader of every way in a process of its own.

    Yields
    ------
    callable () -> dict way -> Seen
        Lets each read once more, and ends them.
    """
    running = {
        way: subprocess.Popen(
            [sys.executable, "-m", "tests.bench.polling", way, str(path), str(truth), str(pause)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for way in WAYS
    }  # fmt: skip

    def ended() -> dict[str, Seen]:
        return {way: Seen(**json.loads(process.communicate("end\n")[0])) for way, process in running.items()}

    try:
        yield ended
    finally:
        for process in running.values():
            process.kill()
            process.wait()


def _by_h5py(path: str) -> dict[str, Any]:
    with h5py.File(path) as file:
        return {name: file[name][()] for name in _NAMES}


def _by_xarray(path: str) -> dict[str, Any]:
    import xarray

    with xarray.open_dataset(path, engine="h5netcdf", mask_and_scale=False) as data:
        return {name: data[name].values for name in _NAMES}


def _by_result(path: str) -> dict[str, Any]:
    from distverify.results.reader import open_result

    with open_result(path).at_one_moment() as moment:
        return {name: moment[name] for name in _NAMES}


def _by_show(path: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "distverify", "show", "--json", path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    if done.returncode:
        raise ResultError(done.stderr.strip())
    told: dict[str, Any] = json.loads(done.stdout)
    return told


WAYS: dict[str, Callable[[str], dict[str, Any]]] = {
    "h5py": _by_h5py, "xarray": _by_xarray, "open_result": _by_result, "show --json": _by_show,
}  # fmt: skip


def samples_done(found: dict[str, Any], truth: dict[str, Any]) -> int:
    """How many samples are done in what was read.

    Raises
    ------
    AssertionError
        It is not right for any one moment: a value of a sample that is done differs from the truth, or one that is pending has a value.
    """
    if "counts" in found:
        return _told_done(found, truth)
    status = found["status"]
    done = status != _PENDING
    assert status[done].tobytes() == truth["status"][done].tobytes(), "statuses differ"
    assert found["lipschitz"][done].tobytes() == truth["lipschitz"][done].tobytes(), "lipschitz: differs from the truth"
    for name in ("lipschitz", "seconds"):
        assert np.isnan(found[name][~done]).all(), f"{name}: has values of samples that are pending"
        assert np.isfinite(found[name][done]).all(), f"{name}: has no values of samples that are done"
    return int(done.sum())


def _told_done(told: dict[str, Any], truth: dict[str, Any]) -> int:
    total, pending = len(truth["status"]), told["counts"]["pending"]
    assert sum(told["counts"].values()) == told["samples"] == total, told["counts"]
    assert told["computed"] == total - pending, (told["computed"], pending)
    assert told["complete"] <= (pending == 0), "complete, with samples pending"
    for name, spreads in told["spreads"].items():
        if name == "lipschitz" and pending < total:
            least, most = np.nanmin(truth[name]), np.nanmax(truth[name])
            assert all(least <= s["least"] <= s["median"] <= s["most"] <= most for s in spreads), (name, spreads)
    return total - int(pending)


def read_on(way: str, path: str, truth_path: str, pause: float) -> Seen:
    """Read until a line comes on stdin, and once more then."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    with h5py.File(truth_path) as file:
        truth = {name: file[name][()] for name in _NAMES}
    seen, last = Seen(), False
    while True:
        begin = time.monotonic()
        try:
            done = samples_done(WAYS[way](path), truth)
            assert done >= seen.samples, f"{seen.samples} samples were done, now {done}"
            seen.samples, seen.reads = done, seen.reads + 1
        except AssertionError as error:
            seen.wrong += 1
            _note(seen, f"WRONG: {error}")
        except (OSError, ResultError) as error:
            seen.refused += 1
            _note(seen, str(error))
        if last:
            return seen
        # On a small machine readers leave as much time as they take.
        last = bool(select.select([sys.stdin], [], [], max(pause, time.monotonic() - begin))[0])


def _note(seen: Seen, text: str) -> None:
    if text[:200] not in seen.words and len(seen.words) < 20:
        seen.words.append(text[:200])


if __name__ == "__main__":
    print(json.dumps(asdict(read_on(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])))))
