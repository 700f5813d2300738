"""Sending a run to a cluster's job server: what goes up, what comes back, and a whole job on a head of our own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

import distverify as dv
from distverify.cli.main import main
from distverify.cli.submit import job_command, uploaded
from distverify.demo import DATA, MODEL
from distverify.errors import ExecutorError
from distverify.runtime.ray import submission


def test_files_go_up_and_words_follow(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "up").mkdir()
    np.save(tmp_path / "here/x.npy", np.zeros((2, 3)))
    np.save(tmp_path / "here/y.npy", np.zeros(2))
    (tmp_path / "here/factors.txt").write_text("1 1 1")
    (tmp_path / "here/net.onnx").write_bytes(b"model")
    (tmp_path / "here/net.onnx.data").write_bytes(b"weights")
    here = tmp_path / "here"
    words = uploaded(
        (f"{here}/net.onnx", f"{here}/x.npy,{here}/y.npy", f"--feature-eps={here}/factors.txt", "--eps", "0.1,0.2"),
        tmp_path / "up",
    )
    assert [w.rpartition("/")[2] for w in words] == ["net.onnx", "y.npy", "factors.txt", "--eps", "0.1,0.2"]
    model = tmp_path / "up" / words[0]
    assert (model.read_bytes(), model.with_name("net.onnx.data").read_bytes()) == (b"model", b"weights")
    for name in words[1].split(","):
        assert (tmp_path / "up" / name).exists()
    assert (tmp_path / "up" / words[2].partition("=")[2]).read_text() == "1 1 1"
    with pytest.raises(click.UsageError, match="No such option"):
        uploaded((str(MODEL), str(DATA), "--esp", "0.1"), tmp_path / "up")


def test_the_job_sends_what_certify_wrote() -> None:
    command = job_command(["0/net.onnx", "1/my data.npz"], None)
    assert command.startswith("python -m distverify certify 0/net.onnx '1/my data.npz' -o result.h5; status=$?;")
    assert "submission result.h5 || exit 2" in command
    assert "-o /shared/out.h5" in job_command(["a"], "/shared/out.h5")


def test_a_result_comes_through_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = np.random.default_rng(0).bytes(200_000)
    (tmp_path / "a.h5").write_bytes(content)
    submission.send(tmp_path / "a.h5")
    log = f"1/2 samples\n{capsys.readouterr().out}bye"
    shown: list[str] = []
    receiver = submission._Receiver(shown.append)
    for at in range(0, len(log), 7001):
        receiver.take(log[at : at + 7001])
    receiver.end()
    receiver.write(tmp_path / "b.h5")
    assert (tmp_path / "b.h5").read_bytes() == content
    assert shown == ["1/2 samples", "bye"]
    lost = submission._Receiver(shown.append)
    lost.take(log[:90_000])
    with pytest.raises(ExecutorError, match=r"the result came incomplete \(\d[\d,]* bytes\); keep it on the cluster"):
        lost.write(tmp_path / "c.h5")
    assert not (tmp_path / "c.h5").exists()


def test_an_address_that_is_no_url(tmp_path: Path) -> None:
    words = ["submit", str(MODEL), str(DATA), "-o", str(tmp_path / "o.h5"), "--address", "head:6379"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert "address: got 'head:6379'; give the URL of the job server, such as http://head:8265" in done.output


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
@pytest.mark.skipif(find_spec("aiohttp_cors") is None, reason="Ray's job server is not installed")
def test_a_run_on_a_cluster_comes_home(tmp_path: Path) -> None:
    sockets = tempfile.mkdtemp(prefix="dv-", dir="/tmp")  # paths of sockets are short
    bin_folder = Path(sys.executable).parent
    root = str(Path(__file__).parents[2])
    environment = os.environ | {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}", "RAY_AUTH_MODE": "disabled",
        "PYTHONPATH": os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH", "")) if p),
    }  # fmt: skip
    environment.pop("RAY_ADDRESS", None)
    dashboard, gcs = free_port(), free_port()
    head = subprocess.Popen(
        [bin_folder / "ray", "start", "--head", "--block", f"--port={gcs}", f"--dashboard-port={dashboard}", "--num-cpus=1",
         "--disable-usage-stats", f"--temp-dir={sockets}"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    server = f"http://127.0.0.1:{dashboard}"
    try:
        end = time.monotonic() + 90
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", dashboard)) == 0:
                    break
            time.sleep(0.5)
        words = [
            sys.executable,
            "-m",
            "distverify",
            "submit",
            str(MODEL),
            str(DATA),
            "--compute",
            "radius",
            "--address",
            server,
        ]
        done = subprocess.run(
            [*words, "--samples", "0:3", "--executor", "serial", "-o", "out.h5"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        result = dv.open_result(tmp_path / "out.h5")
        assert (result.complete, result.sizes["sample"]) == (True, 3)
        # Cancelled by the second signal: no result, and the status of an interruption.
        with subprocess.Popen(
            [*words, "--executor", "serial", "--nodes", "100000", "-o", "long.h5"],
            cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True,
        ) as long:  # fmt: skip
            assert long.stderr is not None
            for line in long.stderr:
                if "samples" in line:
                    break
            long.send_signal(signal.SIGINT)
            time.sleep(1)
            long.send_signal(signal.SIGINT)
            told = long.stderr.read()
            assert long.wait(60) == 130, told
            assert "press Ctrl-C again" in told
        assert not (tmp_path / "long.h5").exists()
    finally:
        head.terminate()
        head.wait(60)
        shutil.rmtree(sockets, ignore_errors=True)
