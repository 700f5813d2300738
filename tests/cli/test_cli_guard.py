"""The process that a shell sees, around children that end in every way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

SCRIPT = """
import os, signal, sys, time
from distverify.cli.guard import guarded

def body():
    {body}

guarded(body)
"""


def start(body: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(body=body)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, cwd=Path(__file__).resolve().parents[2], **options,  # type: ignore[call-overload]
    )  # fmt: skip


def run(body: str) -> tuple[int, str, str]:
    with start(body) as process:
        out, errors = process.communicate(timeout=60)
    return process.returncode, out, errors


@pytest.mark.parametrize("status", [0, 1, 2, 130])
def test_a_status_that_is_said_counts(status: int) -> None:
    assert run(f"print('out'); print('err', file=sys.stderr); sys.exit({status})") == (status, "out\n", "err\n")


def test_a_body_that_returns_is_done() -> None:
    assert run("print('out')") == (0, "out\n", "")


@pytest.mark.parametrize(
    ("end", "how"),
    [
        ("os._exit(1)", "as Ray does when its own processes are lost"),
        ("os._exit(0)", "as Ray does when its own processes are lost"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "it was killed, as the system does where memory runs out"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "by signal 11, SIGSEGV"),
    ],
)
def test_a_child_that_ends_without_a_word_was_interrupted(end: str, how: str) -> None:
    status, _, errors = run(end)
    assert status == 130
    assert errors == (
        f"error: the run ended unexpectedly, {how}\n"
        "interrupted: what was finished is kept: run the same command to continue\n"
    )


def test_raw_lines_of_libraries_are_kept_from_the_terminal() -> None:
    line = "[2026-11-27 12:24:13,056 E 4268 4622] rpc_client.h:204: Failed to connect"
    assert run(f"os.write(2, b'{line}\\n'); print('mine', file=sys.stderr)") == (0, "", "mine\n")
    assert "(last words: Failed to connect)\n" in run(f"os.write(2, b'{line}\\n'); os._exit(1)")[2]


def test_an_error_of_ours_is_misuse_and_shown() -> None:
    status, _, errors = run("raise ZeroDivisionError('mine')")
    assert status == 2
    assert errors.endswith("ZeroDivisionError: mine\n")


def test_a_child_that_hangs_after_its_last_word_is_ended() -> None:
    begin = time.monotonic()
    assert run("import atexit; atexit.register(time.sleep, 60); sys.exit(1)")[0] == 1
    assert time.monotonic() - begin < 30


def test_a_press_after_the_last_word_disturbs_nothing() -> None:
    with start(
        "import atexit; atexit.register(lambda: (print('cleans up', flush=True), time.sleep(1))); sys.exit(130)"
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "cleans up\n"
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")


def test_the_child_goes_with_the_process_that_the_shell_knows() -> None:
    if sys.platform != "linux":
        pytest.skip("Linux only")
    with start("print(os.getpid(), flush=True); time.sleep(60)") as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
        for _ in range(500):
            try:
                state = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0]
            except (FileNotFoundError, ProcessLookupError):
                break
            if state == "Z":
                break
            time.sleep(0.01)
        else:
            pytest.fail("the child lives on")


COUNTING = """seen = []
    signal.signal(signal.SIGINT, lambda *_: (seen.append(time.monotonic()), print(len(seen), flush=True)))
    print('ready', flush=True)
    while True: time.sleep(0.01)"""


def test_the_third_press_ends_a_child_that_two_do_not() -> None:
    with start(COUNTING) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(2):
            os.kill(process.pid, signal.SIGINT)  # to the one that the shell knows: it comes through
            process.stdout.readline()
            time.sleep(0.4)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (
        130,
        "interrupted; what was finished is kept: run the same command to continue\n",
    )


@pytest.mark.parametrize(
    ("command", "redirection", "status", "told"),
    [
        ("man", ">/dev/full", 2, "error: stdout: cannot be written (No space left on device)"),
        ("--version", ">/dev/full", 2, "error: stdout: cannot be written (No space left on device)"),
        ("man", ">&-", 0, ""),
        ("man", "| :", 0, ""),
        ("nonsense", "2>/dev/full", 2, ""),
        ("check", ">/dev/full 2>&1", 2, ""),
    ],
)
def test_streams_of_commands_that_are_no_runs(command: str, redirection: str, status: int, told: str) -> None:
    script = f'set -o pipefail; "$0" -m distverify {command} {redirection}'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable], capture_output=True, text=True, cwd=CHECKOUT, check=False
    )
    assert (done.returncode, done.stderr.strip().partition(";")[0]) == (status, told)
