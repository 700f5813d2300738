"""``distverify show``: its views, and what it says of files that were changed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from distverify.cli.main import main
from distverify.cli.watching import Look, short_line, watch
from distverify.demo import __file__ as demo
from distverify.results.journal.journal import Journal
from distverify.results.manifest import describe_environment
from distverify.results.reader import open_result
from distverify.status import FAILED
from distverify.work import WorkUnit
from tests.results.runs import END, commit_all, finish, make_manifest, make_payload

MODEL = Path(demo).with_name("digits.onnx")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    path = tmp_path / "out.h5"
    manifest = make_manifest(8, 4)
    with Journal.open(path, manifest) as journal:
        journal.commit(WorkUnit(0, 4), make_payload(manifest, WorkUnit(0, 4), status=FAILED, message="ValueError: x"))
    return path


def run(*arguments: object) -> str:
    done = CliRunner().invoke(main, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_json_of_an_unfinished_and_a_finished_result(output: Path, tmp_path: Path) -> None:
    told = json.loads(run("show", output, "--json"))
    assert (told["format"], told["complete"], told["samples"]) == ("distverify result 1", False, 8)
    assert told["counts"]["failed"] == told["counts"]["pending"] == 4
    assert told["failures"][0] == {"sample": 100, "status": "failed", "message": "ValueError: x"}
    assert told["spreads"] == {}
    finish(tmp_path / "done.h5", make_manifest(8, 4))
    told = json.loads(run("show", tmp_path / "done.h5", "--json"))
    radius = open_result(tmp_path / "done.h5")["radius"]
    (spread,) = told["spreads"]["radius"]
    assert spread["median"] == np.median(radius)
    assert (told["complete"], told["wall_seconds"], told["computed"]) == (True, 60.0, 8)
    assert told["arrays"]["jacobian_lower"]["shape"] == [8, 2, 3, 6]
    assert told["provenance"]["model"]["name"] == "net.onnx"
    assert "NaN" not in run("show", tmp_path / "done.h5", "--json")


def test_json_of_a_model() -> None:
    told = json.loads(run("show", MODEL, "--json"))
    assert (told["format"], told["inputs"], told["outputs"]) == ("distverify model 1", 64, 10)
    assert sum(node["parameters"] for node in told["nodes"]) == told["parameters"]


def test_a_short_line(output: Path) -> None:
    assert run("show", output, "--short") == "4/8 samples, 4 failed, unfinished\n"


def test_views_that_exclude_each_other(output: Path) -> None:
    done = CliRunner().invoke(main, ["show", str(output), "--short", "--json"])
    assert (done.exit_code, "--short and --json: are different views" in done.stderr) == (2, True)
    done = CliRunner().invoke(main, ["show", str(MODEL), "--verify"])
    assert (done.exit_code, "are for result files" in done.stderr) == (2, True)


def test_speed_and_time_left_are_those_since_the_look_before() -> None:
    before, now = Look(10, 100, 0, False, 5.0), Look(30, 100, 2, False, 15.0)
    assert short_line(now, before) == "30/100 samples, 2/s, 35 s left, 2 failed, unfinished"
    assert short_line(before, before) == "10/100 samples, 0 failed, unfinished"


def test_watching_ends_with_the_run(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = make_manifest(8, 4)
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        assert clock[0] < 10
        if clock[0] == 4.0:
            with Journal.open(output, manifest) as journal:
                commit_all(journal, manifest)
                journal.consolidate(END)

    watch(open_result(output), 2.0, clock=lambda: clock[0], sleep=sleep)
    assert capsys.readouterr().out.splitlines() == [
        "4/8 samples, 4 failed, unfinished",
        "8/8 samples, 1/s, 4 failed, finished",
    ]


def test_the_command_tells_no_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    command = "distverify certify /home/ann/net.onnx --data=/home/ann/x.npz /home/anna/y /mnt/home/ann/z /home/ann"
    told = describe_environment(command)["command"]
    assert told == "distverify certify ~/net.onnx --data=~/x.npz /home/anna/y /mnt/home/ann/z ~"
