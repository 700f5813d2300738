"""Ray nodes as an administrator starts them, each a process tree of its own that can be killed; and runs of the command line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np

from distverify.demo import DATA, MODEL
from tests.multinode import recording
from tests.multinode.recording import Entry

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = 48
SECONDS = 0.15  # of sleep per sample
OPTIONS = ("--eps", "0.02", "--compute", "jacobian,lipschitz", "--samples", f"0:{SAMPLES}", "--max-actors", "2")

# Ray notices a lost node in 14-38 s by default; with these in 1.5 s.
HEALTH_CHECK = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
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


def head_options(address: str, temporary: Path) -> list[str]:
    host, port = address.split(":")
    return [
        "--head",
        f"--node-ip-address={host}",
        f"--port={port}",
        "--include-dashboard=false",
        f"--temp-dir={temporary}",
    ]


class Tree:
    """A process that was started here, with its descendants."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command, env=env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        self.log = log

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
    what: str, condition: Callable[[], bool], seconds: float = 60.0, alive: Iterable[subprocess.Popen] = ()
) -> None:  # type: ignore[type-arg]
    deadline = time.monotonic() + seconds
    while not condition():
        for process in alive:
            assert process.poll() is None, f"a process ended ({process.args}) before: {what}"
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


def listens(address: str) -> bool:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def certify_command(log: Path, output: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-W", "error", "-m", "tests.multinode.recording", str(log),
        "certify", str(MODEL), str(DATA), *OPTIONS, "-o", str(output), *more,
    ]  # fmt: skip


class Run:
    """A run of the command line, in a process of its own."""

    def __init__(self, folder: Path, *more: str, env: dict[str, str], prefix: tuple[str, ...] = ()) -> None:
        self.log = folder / "computed"
        self.output = folder / "out.h5"
        self.process = subprocess.Popen(
            [*prefix, *certify_command(self.log, self.output, *more)],
            cwd=ROOT, env=env, start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def entries(self) -> list[Entry]:
        return recording.entries(self.log)

    def wait_until_begun(self, node: str, samples: int) -> None:
        """Until ``node`` has begun so many samples."""
        wait(
            f"{node} begins {samples} samples",
            lambda: sum(e.node == node for e in self.entries()) >= samples,
            alive=[self.process],
        )

    def committed(self) -> list[tuple[int, int]]:
        """The units on disk, while the run goes on."""
        shards = self.output.with_name("out.h5.parts").glob("????????-????????.*.h5")
        return sorted((int(p.name[:8]), int(p.name[9:17])) for p in shards)

    def end(self, seconds: float = 120.0) -> tuple[int, str]:
        """Exit status and standard error."""
        try:
            _, errors = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.close()
            raise
        return self.process.returncode, errors

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def recomputed(self) -> set[int]:
        """Samples that workers began more than once."""
        seen = [e.index for e in self.entries() if e.node != "driver"]
        return {index for index in seen if seen.count(index) > 1}


def assert_same_bits(output: Path, truth: Path) -> None:
    """Everything in both results but the times."""
    with h5py.File(truth) as expected, h5py.File(output) as result:
        assert set(result) == set(expected)
        for name in set(expected) - {"seconds"}:
            ours, theirs = result[name][()], expected[name][()]
            if ours.dtype.kind == "f":
                assert ours.tobytes() == theirs.tobytes(), name
            else:
                np.testing.assert_array_equal(ours, theirs, err_msg=name)
