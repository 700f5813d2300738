"""Runs of ``distverify certify`` on a small network, in processes of their own that tests do harm to."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import distverify as dv
from distverify.status import STATUS_MEANINGS
from tests.faults.scripted import Begun, read_log
from tests.network import onnx_models

CHECKOUT = Path(__file__).resolve().parents[2]
INTERRUPTED = re.compile(r"interrupted: (\d+) of (\d+) samples are kept in \S+\.parts; run the same command")
# After a kill of the driver, two agents of Ray try for a minute to report it to a control process that is gone, then end.
_AGENT = re.compile(r"ray::(DashboardAgent|RuntimeEnvAgent)|dashboard/agent\.py|runtime_env/agent/main\.py")
AGENT_SECONDS = 90.0
_PATIENCE = 120.0  # seconds that anything may take on a busy machine
_LISTENS = "0A"  # state of a socket in /proc/net/tcp
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
_SHARD = re.compile(r"(\d{8,})-(\d{8,})\.\d+\.h5")


@dataclass
class Case:
    """A model, its data and an output in ``folder``, and the commands that certify them.

    Attributes
    ----------
    folder : Path
    samples : int
    options : sequence of str
        Of every command, serial ones too.
    """

    folder: Path
    samples: int
    widths: Sequence[int] = (6, 16, 16, 3)
    options: Sequence[str] = ("--eps", "0.02,0.05", "--compute", "jacobian,lipschitz,radius")
    output: Path = field(init=False)
    log: Path = field(init=False)
    marker: Path = field(init=False)

    def __post_init__(self) -> None:
        self.output, self.log, self.marker = (self.folder / name for name in ("out.h5", "log", "marker"))
        if not self.model.exists():
            self._make_files()

    def _make_files(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        nodes: list[Any] = []
        constants: dict[str, Any] = {}
        name = "x"
        for i, (n, m) in enumerate(pairwise(self.widths)):
            constants |= {f"w{i}": rng.normal(size=(n, m)) / np.sqrt(n), f"b{i}": rng.normal(size=m)}
            nodes.append(onnx_models.node("Gemm", f"{name} w{i} b{i}", f"h{i}"))
            name = f"h{i}"
            if i < len(self.widths) - 2:
                nodes.append(onnx_models.node("Relu", name, f"a{i}"))
                name = f"a{i}"
        proto = onnx_models.model(nodes, constants, shape=(1, self.widths[0]), output=name)
        onnx_models.save(proto, self.folder)
        x = rng.normal(size=(self.samples, self.widths[0]))
        np.savez(self.folder / "data.npz", x=x, y=np.arange(self.samples) % self.widths[-1])

    @property
    def model(self) -> Path:
        return self.folder / "model.onnx"

    @property
    def parts(self) -> Path:
        return self.output.with_name(self.output.name + ".parts")

    def arguments(self, *more: str, output: Path | None = None) -> list[str]:
        """What follows ``distverify``."""
        data = self.folder / "data.npz"
        return ["certify", str(self.model), str(data), "-o", str(output or self.output), *self.options, *more]

    def truth(self, patience: float = _PATIENCE) -> Path:
        """The result of an undisturbed serial run, made once, within so many seconds."""
        path = self.folder / "truth.h5"
        if not path.exists():
            command = [sys.executable, "-m", "distverify", *self.arguments("--executor", "serial", output=path)]
            done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=patience, check=False)
            assert done.returncode == 0, done.stderr
        return path

    def begun(self) -> list[Begun]:
        """Every sample that any run began, in order."""
        return read_log(self.log)

    def committed(self) -> set[int]:
        """Samples that a kill of the driver could not take away any more: the folder listing is the journal."""
        if not self.parts.is_dir():
            return set()
        found = [_SHARD.fullmatch(path.name) for path in self.parts.iterdir()]
        packed: set[int] = set()
        for path in self.parts.glob("pack-*.h5"):
            with h5py.File(path, "r") as file:
                packed.update(file["position"][:].tolist())
        return packed | {i for name in found if name for i in range(int(name[1]), int(name[2]))}

    def copy(self, folder: Path) -> Case:
        """The same with nothing computed yet but the truth."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Case(folder, self.samples, self.widths, self.options)

    def script(self, seconds: float, faults: dict[int, str] | None = None, **more: object) -> str:
        return json.dumps(
            {"log": str(self.log), "seconds": seconds, "faults": faults or {}, "marker": str(self.marker), **more}
        )


class Run:
    """A driver, its workers, and all that Ray has started for them."""

    def __init__(self, process: subprocess.Popen[bytes], said: Path) -> None:
        self.process = process
        self.errors = ""
        self._said = said

    @property
    def pid(self) -> int:
        return self.process.pid

    def finish(self) -> int:
        """Wait for its end, not for that of its workers; returns the exit status, and leaves in ``errors`` what it said."""
        status = self.process.wait(timeout=_PATIENCE)
        self.errors = self._said.read_text()
        return status

    def kill(self) -> None:
        """End the driver at once, and nothing but the driver."""
        self.process.kill()
        self.finish()

    def wait_until(self, condition: Callable[[], object], seconds: float = _PATIENCE) -> None:
        """Wait while the driver lives; fails where it ends before ``condition`` holds."""
        end = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None:
                self.finish()
                raise AssertionError(f"the run ended too early, with {self.process.returncode}:\n{self.errors}")
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.02)

    def processes(self) -> list[int]:
        """Processes of its session that have not ended; what Ray starts stays in the driver's session."""
        return [pid for pid, session in _sessions() if session == self.pid]

    def command_lines(self) -> dict[int, str]:
        """What these processes are, by their numbers."""
        return {pid: _command(pid) for pid in self.processes()}

    def listening(self) -> set[str]:
        """The addresses, as the kernel writes them in hexadecimal digits, on which these processes take connections."""
        sockets = set()
        for pid in self.processes():
            with suppress(FileNotFoundError, ProcessLookupError):
                sockets |= {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()}
        found = set()
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in Path(table).read_text().splitlines()[1:]:
                _, local, _, state, *_, inode = line.split()[:10]
                if state == _LISTENS and f"socket:[{inode}]" in sockets:
                    found.add(local.partition(":")[0])
        return found

    def commands(self) -> str:
        """The same as one text, for tests that wait for a process."""
        return "\n".join(self.command_lines().values())

    def said(self) -> str:
        """What it wrote to stderr so far."""
        return self._said.read_text()

    def assert_workers_gone(self, seconds: float = 30.0) -> None:
        """No process but Ray's agents is left, a little later: Ray notices that their driver is gone."""
        end = time.monotonic() + seconds
        while left := {
            pid: name for pid in self.processes() if not _AGENT.search(name := _command(pid)) and name != "gone"
        }:
            assert time.monotonic() < end, left
            time.sleep(0.05)

    def assert_gone(self, seconds: float = 30.0) -> None:
        """No process is left, a little later."""
        end = time.monotonic() + seconds
        while left := {pid: _command(pid) for pid in self.processes()}:
            assert time.monotonic() < end, left
            time.sleep(0.05)


@contextmanager
def start(
    case: Case, *more: str, seconds: float = 0.0, faults: dict[int, str] | None = None, before: Sequence[str] = (),
    **script: object,
) -> Iterator[Run]:  # fmt: skip
    """A run of ``case`` with a scripted analysis; what is left of it ends with the context.

    ``before`` is a command that starts the one that it is given.
    """
    if "--executor" not in more:
        more = (*more, "--executor", "ray")
    driver = [sys.executable, "-m", "tests.faults.driver", case.script(seconds, faults, **script)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    said = case.folder / "errors"
    with said.open("wb") as errors:  # no pipe: its end would be that of the last process, not of the driver
        process = subprocess.Popen(
            [*before, *driver, *case.arguments(*more)], cwd=CHECKOUT, env=environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=errors,
        )  # fmt: skip
    run = Run(process, said)
    try:
        yield run
    finally:
        for pid in run.processes():
            _kill(pid)
        process.wait()


def complete(case: Case, *more: str, **script: object) -> Run:
    """A run until its end, after which no process is left."""
    with start(case, *more, **script) as run:  # type: ignore[arg-type]
        run.finish()
        run.assert_gone()
    return run


def assert_like_truth(case: Case, output: Path | None = None, but: Sequence[int] = ()) -> None:
    """Every value of every sample is bit-equal to the undisturbed run's; those of samples ``but`` are not looked at."""
    rows = np.setdiff1d(np.arange(case.samples), but)
    with h5py.File(case.truth()) as truth, h5py.File(output or case.output) as result:
        assert set(result) == set(truth)
        for name in set(truth) - {"seconds"}:
            per_sample = truth[name].shape[:1] == (case.samples,)
            if not per_sample and but:
                continue
            expected, found = truth[name][()], result[name][()]
            if per_sample:
                expected, found = expected[rows], found[rows]
            assert found.tobytes() == expected.tobytes(), name
    assert not (output or case.output).with_name((output or case.output).name + ".parts").exists()


def outcomes(case: Case) -> dict[int, tuple[str, str]]:
    """Status and message of the samples without results."""
    with dv.open_result(case.output) as result:
        pairs = zip(result["status"].tolist(), result["message"].tolist(), strict=True)
        return {
            i: (STATUS_MEANINGS[status], message)
            for i, (status, message) in enumerate(pairs)
            if STATUS_MEANINGS[status] not in ("ok", "misclassified")
        }


def _sessions() -> Iterator[tuple[int, int]]:
    """Every process that is not a zombie, and the session that it belongs to."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, *numbers = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # has just ended
            if state != "Z":
                yield int(folder.name), int(numbers[2])


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return "gone"


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
