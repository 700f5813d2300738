"""Verdicts in the terminal: on property files, and what is open; demands on them end with a status."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result

import distverify as dv
from distverify.cli.main import main
from distverify.cli.tables import verdict_tables
from tests.results.verdict_runs import property_run, sample_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verdicts")
    property_run(folder / "properties.h5")
    sample_run(folder / "samples.h5")
    return folder


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="distverify")


def lines_of(done: Result) -> list[str]:
    return [" ".join(line.split()) for line in done.stdout.splitlines()]


def test_a_row_per_property_then_what_is_open(folder: Path) -> None:
    lines = lines_of(call("show", folder / "properties.h5"))
    head = lines.index("Property Verdict Bound Witness Subproblems Seconds")
    assert lines[head + 2 : head + 8] == [
        "p0.vnnlib verified, by CROWN 0.5 no 0 0.10",
        "p1.vnnlib verified, by branch and bound > 0 no 1,200 2.00",
        "p2.vnnlib falsified -1 yes 4 0.30",
        "p3.vnnlib unknown -2.5 no 900 9.00",
        "p4.vnnlib unknown -0.37 no 901 8.00",
        "p5.vnnlib no value - no 0.00",
    ]
    head = lines.index("Open property Bound Attacked Subproblems Seconds")
    assert lines[head + 2 : head + 4] == ["p4.vnnlib -0.37 none found 901 8.00", "p3.vnnlib -2.5 none found 900 9.00"]


def test_samples_that_are_open(folder: Path) -> None:
    lines = lines_of(call("show", folder / "samples.h5"))
    head = lines.index("Open sample eps Bound Attacked Subproblems Seconds")
    assert lines[head + 2] == "102 0.01 -0.05 0.015 60 2.00"


def test_samples_have_no_table_of_properties(folder: Path, tmp_path: Path) -> None:
    assert verdict_tables(sample_run(tmp_path / "a.h5")) == []


def test_forbidden_verdicts_end_with_status_1(folder: Path, tmp_path: Path) -> None:
    done = call("check", folder / "properties.h5", "--forbid", "falsified", "--junit", tmp_path / "c.xml")
    assert done.exit_code == 1
    assert "NOT MET  p2.vnnlib is not falsified: falsified, counterexample stored, 0.3 s" in done.output
    assert "ok       p3.vnnlib is not falsified: unknown, bound -2.5, 9 s" in done.output
    suites = ElementTree.fromstring((tmp_path / "c.xml").read_text())
    cases = {case.get("name"): case.find("failure") is None for case in suites.iter("testcase")}
    assert cases["p0.vnnlib is not falsified"]
    assert not cases["p2.vnnlib is not falsified"]
    done = call("check", folder / "samples.h5", "--forbid", "open")
    assert (done.exit_code, "--forbid: got 'open'; choose falsified, unknown, or both" in done.output) == (2, True)


def test_the_status_of_a_run_is_about_the_run_that_of_check_about_its_verdicts(tmp_path: Path) -> None:
    dv.Network.from_layers([(np.array([[1.0, 1.0]]), np.zeros(1))]).save(tmp_path / "net.onnx")
    declared = "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)" + "".join(
        f"(assert (>= X_{i} 0))(assert (<= X_{i} 1))" for i in (0, 1)
    )
    for name, bound in (("holds", -1), ("broken", 1)):
        (tmp_path / f"{name}.vnnlib").write_text(f"{declared}(assert (<= Y_0 {bound}))")
    files = [tmp_path / "holds.vnnlib", tmp_path / "broken.vnnlib"]
    done = call(
        "certify",
        tmp_path / "net.onnx",
        *files,
        "--nodes",
        5,
        "--executor",
        "serial",
        "-o",
        tmp_path / "a.h5",
        "--json",
    )
    assert done.exit_code == 0, done.output
    assert [v["verdict"] for v in json.loads(done.stdout)["verdicts"]] == ["verified", "falsified"]
    assert call("check", tmp_path / "a.h5", "--forbid", "unknown").exit_code == 0
    assert call("check", tmp_path / "a.h5", "--forbid", "falsified").exit_code == 1
