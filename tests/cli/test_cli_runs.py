"""The command line with everything behind it, on a network and data made here; without Ray."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from distverify.cli.main import main
from distverify.demo import DATA, MODEL

CHECKOUT = Path(__file__).resolve().parents[2]


def run(*arguments: str | Path) -> Result:
    texts = [str(a) for a in arguments]
    return CliRunner().invoke(main, texts, prog_name="distverify", catch_exceptions=False)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.h5"


def serial(output: Path, *options: str) -> Result:
    small = ("--executor", "serial", "--samples", "0:6", "--eps", "0.02")
    return run("certify", MODEL, DATA, "-o", output, *small, *options)


def test_certify_then_show_then_the_same_command_again(output: Path) -> None:
    first = serial(output)
    assert first.exit_code == 0, first.output
    assert "6/6 samples" in first.stderr
    assert str(output) in "".join(first.stdout.split())
    shown = run("show", output)
    assert shown.exit_code == 0
    assert shown.stdout.startswith(first.stdout.rstrip())
    words = " ".join(shown.stdout.split())
    assert "radius sample 6 certified radius, the larger of all methods" in words
    assert "lipschitz sample, eps, output 6 x 1 x 10" in words
    assert "seconds sample 6 kernel time of the sample (s)" in words
    assert "--executor serial" in words
    again = serial(output)
    assert again.exit_code == 0
    assert again.stderr.startswith("6 of 6 samples were already done\n")
    assert again.stdout == first.stdout


def test_other_settings_on_the_same_output_are_refused(output: Path) -> None:
    assert serial(output).exit_code == 0
    before = output.read_bytes()
    refused = serial(output, "--method", "recurjac")
    assert refused.exit_code == 2
    assert "method" in refused.stderr
    assert output.read_bytes() == before
    assert serial(output, "--method", "recurjac", "--overwrite").exit_code == 0


def test_an_old_result_survives_what_fails_before_the_first_sample(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    from distverify.runtime.ray import token

    assert serial(output).exit_code == 0
    before = output.read_bytes()
    monkeypatch.setattr(token, "admits_with", lambda address, shown: False)
    monkeypatch.setattr(token, "known_token", lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as head:
        here = f"127.0.0.1:{head.getsockname()[1]}"
        for options, message in (
            (("--address", "127.0.0.1:1"), "nothing answers at '127.0.0.1:1'"),
            (("--address", "nowhere"), "give host:port of the head node"),
            (("--address", here), "demands a token, and none is known here"),
            (("--eps", "-1"), "eps"),
        ):
            refused = run("certify", MODEL, DATA, "-o", output, "--eps", "0.02", "--overwrite", *options)
            assert refused.exit_code == 2, refused.output
            assert message in refused.stderr
            assert output.read_bytes() == before
            assert not Path(f"{output}.parts").exists()


def test_show_tells_the_layers_of_a_model() -> None:
    shown = run("show", MODEL)
    assert shown.exit_code == 0
    words = " ".join(shown.stdout.split())
    for expected in ("Inputs 64", "Outputs 10", "Parameters 5,018", "48 relu", "dense 32 1,568"):
        assert expected in words
    assert "\x1b" not in shown.stdout


def test_show_of_something_else_says_what_it_is_not(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("hello")
    shown = run("show", file)
    assert shown.exit_code == 2
    assert shown.stderr.startswith("error: ")
    assert "notes.txt" in shown.stderr


@pytest.mark.slow
def test_an_interrupted_run_is_kept_shown_and_continued(tmp_path: Path, output: Path) -> None:
    data = tmp_path / "data.npz"
    with np.load(DATA) as digits:
        np.savez(data, x=np.tile(digits["x"], (10, 1)), y=np.tile(digits["y"], 10))
    arguments = ["certify", str(MODEL), str(data), "-o", str(output), "--executor", "serial"]
    arguments += ["--eps", "0.02,0.05", "--compute", "lipschitz"]
    command = [sys.executable, "-m", "distverify", *arguments]
    with subprocess.Popen(command, cwd=CHECKOUT, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("out.h5.parts/*.h5")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        told = process.stderr.read()
        status = process.wait(timeout=60)
    assert status == 130, told
    kept = re.search(r"interrupted: (\d+) of 2000 samples are kept in .*run the same command", told)
    assert kept is not None, told
    assert "Traceback" not in told
    shown = run("show", output)
    assert shown.exit_code == 0
    assert f"unfinished, {kept[1]} of 2000 are done" in " ".join(shown.stdout.split())
    assert "not finished" in shown.stdout
    again = run(*arguments)
    assert again.exit_code == 0
    assert again.stderr.startswith(f"{kept[1]} of 2000 samples were already done\n")
    assert "2000/2000 samples" in again.stderr
