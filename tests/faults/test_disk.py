"""Disks that are full, and folders that cannot be written."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.harness import AGENT_SECONDS, CHECKOUT, Case, assert_like_truth, complete, start

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow]

# A file system of its own for one command, which nobody else sees and which ends with it.
NAMESPACE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]


@pytest.fixture(scope="module")
def namespace() -> list[str]:
    try:
        tried = subprocess.run([*NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs unshare")
    if tried.returncode:
        pytest.skip("mounting is not permitted here")
    return NAMESPACE


def test_a_file_size_limit_in_the_middle_of_a_run(case: Case) -> None:
    with start(case, seconds=0.1) as run:
        run.wait_until(case.committed)
        for pid in run.processes():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
        status = run.finish()
        run.assert_gone(AGENT_SECONDS)  # the limit ended the raylet too
    assert status == 130
    assert "cannot be written (File too large); everything committed before is kept" in run.errors
    assert "run the same command to continue" in run.errors
    assert "Traceback" not in run.errors
    committed, begun = case.committed(), len(case.begun())
    assert 0 < len(committed) < case.samples
    again = complete(case, "--executor", "serial")
    assert again.process.returncode == 0, again.errors
    assert [b.index for b in case.begun()[begun:]] == sorted(set(range(case.samples)) - committed)
    assert_like_truth(case)


# Runs on a disk of its own, mounted at $1, that is filled as soon as something is committed; makes room, and runs again.
# Exit status: 100 + the first run's, if the second's is 0.
FULL = """
mount -t tmpfs -o size=8m none "$1" || exit 99
folder="$1"; kept="$2"; shift 2
"$@" & run=$!
until ls "$folder"/out.h5.parts/0*.h5 > "$kept/first" 2>&1; do kill -0 $run || exit 98; sleep 0.02; done
dd if=/dev/zero of="$folder/filling" bs=4k 2> "$kept/full"
wait $run; first=$?
ls "$folder/out.h5.parts" > "$kept/listing"
rm "$folder/filling"
"$@" || exit 97
cp "$folder/out.h5" "$kept/out.h5"
ls "$folder" > "$kept/left"
exit $((100 + first))
"""


def test_a_full_disk_then_room(case: Case, namespace: list[str]) -> None:
    disk = case.folder / "disk"
    disk.mkdir()
    output = disk / "out.h5"
    command = [sys.executable, "-m", "tests.faults.driver", case.script(0.05)]
    command += case.arguments("--executor", "serial", output=output)
    script = [*namespace, "sh", "-c", FULL, "full", str(disk), str(case.folder)]
    run = subprocess.run([*script, *command], cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 230, (run.returncode, run.stderr)
    assert "cannot be written (No space left on device); everything committed before is kept" in run.stderr
    assert "Traceback" not in run.stderr
    names = (case.folder / "listing").read_text().split()
    kept = [name.split(".")[0].split("-") for name in names if name.endswith(".h5")]
    committed = {i for a, b in kept for i in range(int(a), int(b))}
    assert 0 < len(committed) < case.samples
    assert not any(name.endswith(".tmp") for name in names)
    assert f"{len(committed)} of {case.samples} samples were already done" in run.stderr
    indices = [b.index for b in case.begun()]
    assert not any(indices.count(i) > 1 for i in committed)
    assert set(indices) == set(range(case.samples))
    assert (case.folder / "left").read_text().split() == ["out.h5"]
    assert_like_truth(case)


def read_only(namespace: list[str], folder: Path) -> list[str]:
    """A command for which nothing in ``folder`` can be written, whoever runs it."""
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    return [*namespace, "sh", "-c", script, str(folder)]


def test_a_folder_that_cannot_be_written(case: Case, namespace: list[str]) -> None:
    away = case.folder / "results"
    away.mkdir()
    case.output = away / "out.h5"
    before = read_only(namespace, away)

    refused = complete(case, before=before)
    assert refused.process.returncode == 2, refused.errors
    assert f"{case.output}: cannot be written (Read-only file system)" in refused.errors
    assert "Traceback" not in refused.errors
    assert (case.begun(), list(away.iterdir())) == ([], [])

    with start(case, "--executor", "serial", seconds=0.1) as run:
        run.wait_until(case.committed)
        run.kill()
    committed, begun = case.committed(), len(case.begun())
    refused = complete(case, before=before)
    assert refused.process.returncode == 2, refused.errors
    assert "Read-only file system" in refused.errors
    assert "Traceback" not in refused.errors
    assert (case.committed(), len(case.begun())) == (committed, begun)

    again = complete(case, "--executor", "serial")
    assert again.process.returncode == 0, again.errors
    assert not committed & {b.index for b in case.begun()[begun:]}
    assert_like_truth(case)
