"""Signals that reach every process of a run at once: Ctrl-C on a terminal, a batch system that ends a job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime import scripted

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow]

SCRIPT = """
import signal
from distverify.runtime.ray.executor import RayExecutor
from distverify.runtime.job import UnitDone
from tests.runtime import scripted
stop = []
for name in (signal.SIGINT, signal.SIGTERM):
    signal.signal(name, lambda *_: stop.append(1))
for event in scripted.run(RayExecutor(), scripted.job(scripted.slow), scripted.units(4), lambda: bool(stop)):
    if isinstance(event, UnitDone):
        print(event.unit.start, event.payload["status"].tolist(), flush=True)
print("ended", len(stop), flush=True)
"""


def started() -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        cwd=Path(__file__).resolve().parents[2], env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_signal_to_the_whole_group_ends_the_run_in_order():
    # SIGINT does not reach the workers: what is in flight is kept. SIGTERM ends Ray, and so the run.
    expected = [(signal.SIGINT, 2), (signal.SIGTERM, 1)]
    with started() as interrupted, started() as ended:  # side by side, for Ray takes long to start and to end
        first: list[str] = []
        for run, (number, _) in zip((interrupted, ended), expected, strict=True):
            assert run.stdout is not None
            first.append(run.stdout.readline())
            os.killpg(run.pid, number)
        told = [run.communicate(timeout=60) for run in (interrupted, ended)]
    for run, line, (out, errors), (number, least) in zip((interrupted, ended), first, told, expected, strict=True):
        lines = [line, *out.splitlines()]
        assert (run.returncode, errors) == (0, ""), number
        assert lines[-1] == "ended 1"
        assert least <= len(lines) - 1 < len(scripted.units(4))
        assert not any("3" in line.split("[")[1] for line in lines[:-1])  # nothing failed
