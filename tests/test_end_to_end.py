"""The main job as a user runs it: killed in the middle, continued by the same command, and the same bits as without Ray."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

import distverify as dv
from distverify.demo import DATA, MODEL

SAMPLES = 120
REPEATED = ["--eps", "0.02,0.05", "--compute", "jacobian,lipschitz,radius,landscape", "--samples", f"0:{SAMPLES}"]
SHARED = Path(__file__).resolve().parents[1].parent / "shared"


def command(output: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "distverify", "certify", str(MODEL), str(DATA), *REPEATED, "-o", str(output), *more]


def run(output: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(output, *more), capture_output=True, text=True, timeout=300, check=False)


def shards(output: Path) -> list[Path]:
    return sorted(output.with_name(output.name + ".parts").glob("????????-????????.*.h5"))


def wait_for_shards(output: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while len(shards(output)) < count:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.ray
@pytest.mark.slow
def test_killed_and_continued(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole.h5", tmp_path / "killed.h5"
    done = run(whole, "--executor", "serial")
    assert done.returncode == 0, done.stderr

    process = subprocess.Popen(command(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_shards(killed, 1, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    kept = {path.name: path.stat().st_mtime_ns for path in shards(killed)}
    assert kept
    blocks = [name.split(".")[0].split("-") for name in kept]
    done = sum(int(stop) - int(start) for start, stop in blocks)
    assert 0 < done < SAMPLES
    with dv.open_result(killed) as unfinished:
        assert not unfinished.complete
        # Before there is a plan, the file may show a sample that was timed a moment after it is kept.
        assert SAMPLES - done <= unfinished.summary().counts["pending"] <= SAMPLES

    continued = run(killed)
    assert continued.returncode == 0, continued.stderr
    found = re.search(rf"(\d+) of {SAMPLES} samples were already done", continued.stderr)
    assert found is not None, continued.stderr
    assert int(found[1]) == done
    assert not killed.with_name(killed.name + ".parts").exists()
    with h5py.File(whole) as expected, h5py.File(killed) as result:
        assert set(result) == set(expected)
        for name in set(expected) - {"seconds"}:
            np.testing.assert_array_equal(result[name][()], expected[name][()], err_msg=name)

    again = run(killed)
    assert again.returncode == 0
    other = run(killed, "--norm", "2")
    assert other.returncode == 2
    assert "norm: this run has 2.0; the finished result has inf" in other.stderr


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the public benchmark files")
def test_a_public_benchmark(tmp_path: Path) -> None:
    """The figures that MATH.md and the reference give for the first images of mnist-net_256x4."""
    data = SHARED / "data"
    output = tmp_path / "out.h5"
    arguments = [
        str(data / "mnist-net_256x4.onnx"),
        str(data / "mnist_test.csv"),
        "--scale",
        "255",
        "--eps",
        "0.005,0.01",
    ]
    arguments += ["--compute", "jacobian,lipschitz,radius", "--samples", "0:4", "-o", str(output)]
    done = subprocess.run(
        [sys.executable, "-m", "distverify", "certify", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Clean accuracy    100.0%" in done.stdout
    with dv.open_result(output) as result:
        width = (result["jacobian_upper"] - result["jacobian_lower"])[0].mean(axis=(1, 2))
        magnitude = (
            np.maximum(np.abs(result["jacobian_upper"]), np.abs(result["jacobian_lower"]))[0].sum(axis=2).max(axis=1)
        )
        radii = result["radius_crown"]
    np.testing.assert_allclose(width, [0.0047165, 0.024221], rtol=1e-4)
    np.testing.assert_allclose(magnitude, [5.2216, 19.229], rtol=1e-4)
    assert (radii[:3] >= [0.01895, 0.02234, 0.01033]).all()
