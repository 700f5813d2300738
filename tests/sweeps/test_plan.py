"""Plans: networks x data x settings, a result each, one table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import distverify as dv
from distverify.cli.main import main
from distverify.errors import DataError
from distverify.sweeps.plan import read_plan
from tests.query_cases import write_model

PLAN = """
networks = ["*.onnx"]
[[data]]
data = "x.npz"
samples = "0:2"
[[settings]]
name = "small"
eps = [0.01, 0.02]
clip = [-5, 5]
[[settings]]
compute = ["radius"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        layers = [(rng.standard_normal((4, 3)), np.zeros(4)), (rng.standard_normal((2, 4)), np.zeros(2))]
        write_model(tmp_path / f"{name}.onnx", layers, [3])
    np.savez(tmp_path / "x.npz", x=rng.standard_normal((3, 3)))
    (tmp_path / "plan.toml").write_text(PLAN)
    return tmp_path


def test_cells_of_a_plan(folder: Path) -> None:
    cells = read_plan(folder / "plan.toml")
    assert [cell.stem for cell in cells] == [
        "a_x.npz_small", "a_x.npz_compute-radius", "b_x.npz_small", "b_x.npz_compute-radius",
    ]  # fmt: skip
    assert cells[0].words == (
        str(folder / "a.onnx"), str(folder / "x.npz"), "--samples=0:2", "--eps=0.01,0.02", "--clip=-5,5",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("*.onnx", "*.pt", r"nothing matches '\*.pt' in .*; check the pattern"),
        ("networks =", "models =", "models is unknown; a plan has networks, data, settings"),
        ('data = "x.npz"', "", "data 1: data: got None; give a file"),
        ("[[data]]", "[data", "is no TOML"),
        ("clip = [-5, 5]", 'output = "x.h5"', "settings 1: output is the sweep's own choice"),
        ('name = "small"', "name = 3", "settings 1: name: got 3; give a text"),
        ("eps = [0.01, 0.02]", "eps = [[1]]", "settings 1: eps: got .*; give a number, a text, or a list of them"),
        ('compute = ["radius"]', 'name = "small"', "two cells are called a_x.npz_small"),
    ],
)
def test_plans_that_make_no_sense(old: str, new: str, message: str, folder: Path) -> None:
    (folder / "plan.toml").write_text(PLAN.replace(old, new))
    with pytest.raises(DataError, match=message):
        read_plan(folder / "plan.toml")


def sweep(folder: Path, *more: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["sweep", str(folder / "plan.toml"), "-o", str(folder / "out"), *more])
    return done.exit_code, done.output


def test_a_plan_from_end_to_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distverify.pages.report.report", lambda results, output: output.write_text(str(len(results))))
    status, told = sweep(folder, "--executor", "serial")
    assert status == 0, told
    assert f"4 results, 0 errors; {folder / 'out' / 'summary.csv'}" in told
    rows = list(csv.DictReader((folder / "out" / "summary.csv").read_text().splitlines()))
    assert [(r["network"], r["settings"], r["samples"]) for r in rows] == [
        (n, s, "2") for n in "ab" for s in ("small", "compute=radius")
    ]
    result = dv.open_result(folder / "out" / rows[0]["file"])
    assert result["eps"].tolist() == [0.01, 0.02]
    assert rows[0]["radius_median"] == f"{np.median(result['radius']):.6g}"
    assert (folder / "out" / "report.html").read_text() == "4"
    # Again: nothing is computed, and a cell that was lost is made anew.
    kept, lost = (folder / "out" / rows[k]["file"] for k in (0, 3))
    before = kept.read_bytes()
    lost.unlink()
    assert sweep(folder, "--executor", "serial")[0] == 0
    assert kept.read_bytes() == before
    assert lost.is_file()


def test_a_cell_that_cannot_run_is_no_one_elses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distverify.pages.report.report", lambda results, output: None)
    write_model(folder / "b.onnx", [(np.ones((2, 5)), np.zeros(2))], [5])
    status, told = sweep(folder, "--executor", "serial")
    assert status == 1
    assert "2 results, 2 errors" in told
    rows = list(csv.DictReader((folder / "out" / "summary.csv").read_text().splitlines()))
    assert [r["status"] for r in rows] == ["ok", "ok", "error", "error"]
    assert "x:" in rows[2]["message"] or "5" in rows[2]["message"]


def test_options_are_checked_before_anything_runs(folder: Path) -> None:
    (folder / "plan.toml").write_text(PLAN.replace("clip =", "clop ="))
    status, told = sweep(folder)
    assert status == 2
    assert "a_x.npz_small: No such option" in told
    assert not (folder / "out").exists()
    status, told = sweep(folder, "--timeout", "3")
    assert status == 2
    assert "for benchmark folders" in told
