"""Ray nodes as an administrator starts them, each a process tree of its own that can be killed; and runs of the command line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from distverify.demo import DATA, MODEL
from tests.multinode import recording
from tests.multinode.recording import Entry

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 0.15  # that a sample, or a piece, takes longer on a node
UNIT = 3  # samples
OPTIONS = ("--eps", "0.02", "--compute", "jacobian,lipschitz")
WHOLE = ("--samples-per-unit", str(UNIT))
MESSAGE = "Ray runtime started"

# Ray notices a lost node in 14-38 s by default, with these in 1.5 s; a call to a machine that was cut off ends after 8 s, not 120.
HEALTH_CHECK = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_grpc_client_keepalive_timeout_ms": "8000",
}


def environment(**more: str) -> dict[str, str]:
    """Without what this process has of Ray, and with the checkout importable."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    return clean | HEALTH_CHECK | {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"} | more


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_command(*options: str, cpus: int = 1) -> list[str]:
    """`ray start` that stays in the foreground, with as little beside the node as possible."""
    return [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", f"--num-cpus={cpus}",
        "--object-store-memory=200000000", "--include-log-monitor=false", *options,
    ]  # fmt: skip


def head_command(address: str, temporary: Path, cpus: int = 1) -> list[str]:
    host, port = address.split(":")
    options = [f"--node-ip-address={host}", f"--port={port}", "--include-dashboard=false", f"--temp-dir={temporary}"]
    return start_command("--head", *options, cpus=cpus)


def node_command(address: str, host: str, cpus: int = 1) -> list[str]:
    return start_command(f"--address={address}", f"--node-ip-address={host}", cpus=cpus)


def on_node(name: str, seconds: float = SECONDS) -> dict[str, str]:
    """For the environment of a node: its name, and how much longer a sample takes on it."""
    return {recording.NODE: name, recording.SECONDS: str(seconds)}


class Tree:
    """A process that was started here, with its descendants."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command, env=env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        self.log = log

    def wait_until_started(self) -> None:
        """For ``ray start``."""
        wait(f"Ray starts ({self.log})", lambda: MESSAGE in self.log.read_text(), alive=[self.process])

    def pids(self) -> list[int]:
        """Itself and all that descend from it, parents first."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except (OSError, IndexError):
                    continue
                children.setdefault(parent, []).append(int(entry.name))
        found = [self.process.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def kill(self) -> None:
        """All at once, as when a machine loses power; again is harmless."""
        if self.process.poll() is None:
            tree = self.pids()
            for pid in tree:
                _kill(pid)
            self.process.wait(timeout=30)

    def stop(self) -> None:
        """In order: SIGTERM, as a batch system does; by force after a while."""
        tree = self.pids() if self.process.poll() is None else []
        if tree:
            self.process.terminate()
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.kill()
        for pid in tree[1:]:
            _kill(pid)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait(
    what: str, condition: Callable[[], bool], seconds: float = 60.0, alive: Iterable[subprocess.Popen[Any]] = ()
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        for process in alive:
            assert process.poll() is None, f"a process ended ({process.args!r}) before: {what}"
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


class Run:
    """A run of the command line on the first ``samples`` of the demo's data, in a process of its own."""

    def __init__(
        self, folder: Path, samples: int, *more: str, env: dict[str, str], prefix: Sequence[str] = (),
        log: str = "computed", cut: Sequence[str] = WHOLE,
    ) -> None:  # fmt: skip
        self.samples = samples
        self.log = folder / log
        self.output = folder / "out.h5"
        command = [
            sys.executable,
            "-W",
            "error",
            "-m",
            "tests.multinode.recording",
            str(self.log),
            "certify",
            str(MODEL),
        ]
        command += [str(DATA), *OPTIONS, *cut, "--samples", f"0:{samples}", "-o", str(self.output), *more]
        self.process = subprocess.Popen(
            [*prefix, *command], cwd=ROOT, env={recording.SECONDS: str(SECONDS)} | env, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def entries(self) -> list[Entry]:
        return recording.entries(self.log)

    def wait_until_begun(self, node: str, count: int) -> None:
        """Until ``node`` has begun so many samples, or pieces of samples."""
        wait(
            f"{node} begins {count}", lambda: sum(e.node == node for e in self.entries()) >= count, alive=[self.process]
        )

    def committed(self) -> list[tuple[int, int]]:
        """The units on disk, while the run goes on."""
        shards = self.output.with_name("out.h5.parts").glob("????????-????????.*.h5")
        return sorted((int(p.name[:8]), int(p.name[9:17])) for p in shards)

    def wait_until_committed(self) -> None:
        """Until a unit is on disk."""
        wait("a unit is committed", lambda: bool(self.committed()), alive=[self.process])

    def end(self, seconds: float = 120.0) -> tuple[int, str]:
        """Exit status and standard error."""
        _, errors = self.process.communicate(timeout=seconds)
        return self.process.returncode, errors

    def by_node(self) -> dict[str, list[int]]:
        """What each node began, in order."""
        found: dict[str, list[int]] = {}
        for entry in self.entries():
            found.setdefault(entry.node, []).append(entry.index)
        return found

    def recomputed(self) -> list[int]:
        """Samples that nodes began more than once, ascending."""
        times = Counter(index for node in self.by_node().values() for index in node)
        return sorted(index for index, n in times.items() if n > 1)

    def assert_bits_of(self, truth: Path) -> None:
        """Everything in the result but the times is what ``truth`` holds."""
        with h5py.File(truth) as expected, h5py.File(self.output) as result:
            assert set(result) == set(expected)
            assert result["status"].shape == (self.samples,)
            for name in set(expected) - {"seconds"}:
                ours, theirs = result[name][()], expected[name][()]
                if ours.dtype.kind == "f":
                    assert (ours.shape, ours.tobytes()) == (theirs.shape, theirs.tobytes()), name
                else:
                    np.testing.assert_array_equal(ours, theirs, err_msg=name)

    def assert_one_unit_lost_on(self, node: str) -> None:
        """What was computed twice is at most what ``node``, with one worker, was about when it was lost."""
        again = self.recomputed()
        assert len(again) <= UNIT
        assert again == self.by_node()[node][len(self.by_node()[node]) - len(again) :]
        assert all(indices.count(i) == 1 for indices in self.by_node().values() for i in indices)
