"""Benchmark folders: their lists, the table of results, and that a sweep goes on where it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from distverify.cli.main import main
from distverify.errors import DataError
from distverify.sweeps.instances import BenchmarkInstance, read_folder
from distverify.sweeps.results import InstanceResult, ResultsTable
from distverify.sweeps.run import sweep
from tests.query_cases import write_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two queries about y = relu(x0 + x1), one that is satisfiable and one that is not."""
    write_model(tmp_path / "net.onnx", [(np.ones((1, 2)), np.zeros(1)), (np.ones((1, 1)), np.zeros(1))], [2])
    head = "".join(f"(declare-const {v} Real)" for v in ("X_0", "X_1", "Y_0"))
    head += "".join(f"(assert (>= X_{i} 0)) (assert (<= X_{i} 1))" for i in range(2))
    (tmp_path / "sat.vnnlib").write_text(head + "(assert (>= Y_0 1.5))")
    (tmp_path / "unsat.vnnlib").write_text(head + "(assert (>= Y_0 2.5))")
    (tmp_path / "instances.csv").write_text("net.onnx,sat.vnnlib,60\nnet.onnx,unsat.vnnlib,60\n")
    return tmp_path


def test_lists_of_all_forms(folder: Path) -> None:
    first, second = read_folder(folder, 10.0)
    assert (first.query, first.seconds, first.models) == ("sat.vnnlib", 60.0, (("", folder / "net.onnx"),))
    assert second.category == folder.name
    (folder / "instances.csv").write_text(
        "category,network,property,verdict,timeout\nsome,net.onnx,sat.vnnlib,sat,7.5\n"
    )
    assert [(i.category, i.seconds, i.expected) for i in read_folder(folder, 10.0)] == [("some", 7.5, "sat")]
    (folder / "instances.csv").write_text("\"[('f', 'net.onnx'), ('g', 'net.onnx')]\", sat.vnnlib\n")
    (several,) = read_folder(folder, 10.0)
    assert ([name for name, _ in several.models], several.seconds) == (["f", "g"], 10.0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("net.onnx,other.vnnlib,60", "names other.vnnlib, which is not there"),
        ("net.onnx,sat.vnnlib,soon", "has 'soon' for a limit"),
        ("net.onnx,sat.vnnlib,-1", "give seconds above 0"),
        ("[('f'],sat.vnnlib,60", "no list of"),
        ("net.onnx", "names no network or no query"),
        ("", "holds no instance"),
    ],
)
def test_lists_that_make_no_sense(line: str, message: str, folder: Path) -> None:
    (folder / "instances.csv").write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        read_folder(folder, 10.0)


def test_a_table_is_kept_line_by_line(folder: Path) -> None:
    instances = read_folder(folder, 10.0)
    table = ResultsTable(folder / "out")
    table.add(instances[0], InstanceResult("sat", 1.25, "sat\n((X_0 1.0))\n"))
    with (folder / "out" / "results.csv").open("a") as stream:
        stream.write("cut,off")
    again = ResultsTable(folder / "out")
    assert again.done == {("net.onnx", "sat.vnnlib"): "sat"}
    assert again.path.read_text() == f"{folder.name},net.onnx,sat.vnnlib,0.0,sat,1.250\n"
    (witness,) = (folder / "out" / "witnesses").iterdir()
    assert witness.name == "net.onnx_sat.vnnlib.counterexample"
    assert ResultsTable(folder / "out", overwrite=True).done == {}


def test_only_what_is_open_is_answered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(instance: BenchmarkInstance) -> InstanceResult:
        asked.append(instance.query)
        return InstanceResult("unsat", 0.5)

    monkeypatch.setattr("distverify.sweeps.run.run_instance", answer)
    instances = read_folder(folder, 10.0)
    table = ResultsTable(folder / "out")
    table.add(instances[0], InstanceResult("sat", 1.0))
    assert sweep(instances, table, lambda instance, result: None, executor="serial") == 1
    assert asked == ["unsat.vnnlib"]
    assert sweep(instances, ResultsTable(folder / "out"), lambda instance, result: None, executor="serial") == 0


def test_the_command_tells_of_verdicts_against_the_list(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distverify.sweeps.run.run_instance", lambda instance: InstanceResult("unsat", 0.5))
    (folder / "instances.csv").write_text("onnx,vnnlib,verdict\nnet.onnx,sat.vnnlib,sat\nnet.onnx,unsat.vnnlib,unsat\n")
    result = CliRunner().invoke(main, ["sweep", str(folder), "-o", str(folder / "out"), "--executor", "serial"])
    assert result.exit_code == 1
    assert "unsat 2" in result.stdout
    assert "sat.vnnlib: unsat, the list says sat" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["serial", "ray"])
def test_a_folder_from_end_to_end(folder: Path, executor: str) -> None:
    result = CliRunner().invoke(main, ["sweep", str(folder), "-o", str(folder / "out"), "--executor", executor])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("sat 1, unsat 1; ")
    (witness,) = (folder / "out" / "witnesses").iterdir()
    lines = witness.read_text().splitlines()
    assert lines[0] == "sat"
    assert lines[1].startswith("((X_0 ")
    assert lines[-1].endswith("))")
