"""Exit statuses mean what is documented: 0 and 1 a finished file, 2 nothing left behind, 130 kept and resumable. Whatever is killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import distverify as dv
from tests.faults.harness import CHECKOUT, LOOPBACK, Case, Run, assert_like_truth, complete, start

pytestmark = [pytest.mark.ray, pytest.mark.slow]

# Everything that runs for a driver with a Ray of its own, by its command line.
ROLES = {
    "driver": r"tests\.faults\.driver",
    "raylet": r"raylet/raylet",
    "control service": r"gcs_server",
    "dashboard": r"dashboard/dashboard\.py",
    "dashboard agent": r"ray::DashboardAgent|dashboard/agent\.py",
    "runtime environment agent": r"ray::RuntimeEnvAgent|runtime_env/agent/main\.py",
    "log monitor": r"log_monitor\.py",
    "autoscaler monitor": r"autoscaler/_private/monitor\.py",
    "worker": r"ray::Worker",
}
RAW_LINE = re.compile(r"^\[\d{4}-\d\d-\d\d|\.cc:\d+|rpc_client|Traceback", re.M)


def pids(run: Run, role: str) -> list[int]:
    return [
        pid for pid, line in run.command_lines().items() if re.search(ROLES[role], line) and pid != run.pid
    ]  # the process that the shell sees is no child


def assert_documented(case: Case, run: Run, status: int) -> None:
    assert status in (0, 1, 2, 130), (status, run.errors)
    assert not RAW_LINE.search(run.errors), run.errors
    if status in (0, 1):
        with dv.open_result(case.output) as result:
            assert result.summary().counts["pending"] == 0
        assert not case.parts.exists()
    elif status == 2:
        assert not case.output.exists()
        assert not case.parts.exists()
    else:
        assert "interrupted" in run.errors
        assert "same command" in run.errors


def finish_what_is_left(case: Case, status: int) -> None:
    committed, begun = case.committed(), len(case.begun())
    again = complete(case, "--executor", "serial")
    assert again.process.returncode == 0, again.errors
    if status == 130:
        assert not committed & {b.index for b in case.begun()[begun:]}  # nothing is computed twice
    assert_like_truth(case)


@pytest.mark.parametrize("role", sorted(ROLES))
def test_any_process_of_a_run_is_killed(case: Case, role: str) -> None:
    pytest.importorskip("ray")
    with start(case, seconds=0.2) as run:
        run.wait_until(case.committed)
        run.wait_until(lambda: pids(run, role))
        begin = time.monotonic()
        os.kill(pids(run, role)[0], signal.SIGKILL)
        status = run.finish()
        seconds = time.monotonic() - begin
    assert_documented(case, run, status)
    if role in ("log monitor", "autoscaler monitor", "worker", "dashboard"):
        assert status == 0, run.errors  # nothing that the run needs, or can replace
    if role == "control service" and status != 0:
        assert seconds < 45.0, seconds  # told after 20 s, on an idle machine
        assert "has not answered for" in run.errors
    finish_what_is_left(case, status)


@pytest.mark.parametrize("presses", range(1, 7))
def test_interrupted_again_and_again(case: Case, presses: int) -> None:
    pytest.importorskip("ray")
    with start(case, seconds=0.3) as run:
        run.wait_until(case.committed)
        for _ in range(presses):
            if run.process.poll() is None:
                os.killpg(run.pid, signal.SIGINT)
            time.sleep(0.4)
        status = run.finish()
    assert status == 130, run.errors
    assert_documented(case, run, status)
    finish_what_is_left(case, status)


@pytest.mark.parametrize("redirection", ["2>/dev/full", ">/dev/full", ">/dev/full 2>&1", ">&-", "2>&-", ">&- 2>&- <&-"])
def test_a_stream_that_takes_nothing_ends_no_run(case: Case, redirection: str) -> None:
    command = [sys.executable, "-m", "distverify", *case.arguments("--executor", "serial")]
    script = ["sh", "-c", f'exec "$@" {redirection}', "sh", *command]
    done = subprocess.run(script, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr if "2>" not in redirection else "") == (0, done.stderr)
    assert_like_truth(case)


def test_a_reader_that_has_gone_ends_no_run(case: Case) -> None:
    command = [sys.executable, "-m", "distverify", *case.arguments("--executor", "serial")]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        run.stderr.close()
        assert run.wait(timeout=120) == 0
    assert_like_truth(case)


def test_misuse_that_shows_late_leaves_nothing_behind(case: Case) -> None:
    run = complete(case, "--address", "127.0.0.1:1")
    assert run.process.returncode == 2
    assert "nothing answers at '127.0.0.1:1'" in run.errors
    assert_documented(case, run, 2)
    (case.folder / "out").mkdir()
    before = sorted(case.folder.rglob("*"))
    run = complete(case, "--address", "127.0.0.1:1", "--overwrite")
    assert run.process.returncode == 2
    assert sorted(case.folder.rglob("*")) == before


def test_a_parts_folder_that_is_removed_while_the_run_goes_on(case: Case) -> None:
    with start(case, "--executor", "serial", seconds=0.1) as run:
        run.wait_until(case.committed)
        shutil.rmtree(case.parts, ignore_errors=True)
        shutil.rmtree(case.parts, ignore_errors=True)
        status = run.finish()
    assert status == 2, run.errors
    assert "was removed while the run went on, and with it what was finished" in run.errors
    assert "kept" not in run.errors
    assert_documented(case, run, status)


def test_an_output_where_nothing_can_be_made(case: Case) -> None:
    case.output = Path("/proc/x.h5")
    begin = time.monotonic()
    run = complete(case, "--executor", "serial")
    assert run.process.returncode == 2
    assert "/proc/x.h5: cannot be written" in run.errors
    assert time.monotonic() - begin < 60.0


def test_a_stopped_worker_is_told_of(case: Case) -> None:
    pytest.importorskip("ray")
    with start(case, seconds=0.1) as run:
        run.wait_until(lambda: len(case.committed()) > 2)
        addresses = run.listening()
        assert addresses, "Ray's processes listen somewhere"
        assert addresses <= LOOPBACK, "nobody reaches them from another machine"
        stopped = pids(run, "worker")
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        run.wait_until(lambda: "no answer for 6" in run.said())
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        assert run.finish() == 0, run.errors
    assert "the worker is slow, or stopped" in run.errors
    assert_like_truth(case)
