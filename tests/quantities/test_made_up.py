"""A made-up quantity, added by one value, is computed, stored, told, exported and attacked; its faults are its own."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from distverify.analysis.sample import analyse_sample
from distverify.quantities import catalogue
from distverify.results.reader import open_result
from distverify.settings import Settings
from distverify.status import OK
from distverify.work import Sample
from tests.networks import build_chain
from tests.quantities.made_up import MADE_UP

ROOT = Path(__file__).parents[2]
FAILS = 3  # position of a sample whose made-up quantity fails


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the file back in this process takes the same value in its catalogue."""
    monkeypatch.setattr(catalogue, "QUANTITIES", (*catalogue.QUANTITIES, MADE_UP))
    monkeypatch.setattr("distverify.settings.COMPUTE", catalogue.names())


def run(folder: Path, *arguments: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.quantities.made_up", *arguments], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}, timeout=300,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made_up")
    from distverify.demo import DATA, MODEL

    with np.load(DATA) as arrays:
        x, y = arrays["x"][:5].copy(), arrays["y"][:5]
    x[FAILS, 0] = -0.01
    np.savez(folder / "data.npz", x=x, y=y)
    (folder / "net.onnx").write_bytes(Path(MODEL).read_bytes())
    options = ("--eps", "0.01,0.02", "--compute", "doubled,lipschitz", "-o", "out.h5", "--executor", "serial")
    run(folder, "certify", "net.onnx", "data.npz", *options, status=1)  # one sample is incomplete
    return folder


def test_it_is_in_the_file_beside_the_others(folder: Path) -> None:
    result = open_result(folder / "out.h5")
    assert result.dims["doubled_slope"] == ("sample", "eps")
    fine = np.delete(np.arange(5), FAILS)
    np.testing.assert_array_equal(result["doubled_slope"][fine], 2 * result["lipschitz_vector"][fine])
    with h5py.File(folder / "out.h5") as file:
        assert file["doubled_slope"].attrs["long_name"] == MADE_UP.variables[0].long_name


def test_a_failing_quantity_leaves_the_others_theirs(folder: Path) -> None:
    result = open_result(folder / "out.h5")
    assert np.isnan(result["doubled_slope"][FAILS]).all()
    assert np.isfinite(result["lipschitz_vector"]).all()
    assert result["status"].tolist() == [OK] * 5
    said = "not computed: doubled (ZeroDivisionError: made up to fail)"
    assert result["message"].tolist() == [said if k == FAILS else "" for k in range(5)]


def test_tables_and_show_tell_it(folder: Path) -> None:
    shown = run(folder, "show", "out.h5")
    for expected in ("Doubled slope 5 %", "Doubled slope: of the vector output", "doubled_slope", "twice the Lipschitz",
                     "Doubled slope median, max at 0.01", "incomplete", "made up to fail"):  # fmt: skip
        assert expected in shown, expected
    middle = float(np.nanmedian(open_result(folder / "out.h5")["doubled_slope"][:, 0]))
    assert f"{middle:.4g}" in shown


def test_report_and_export_have_it(folder: Path) -> None:
    run(folder, "report", "out.h5", "--figures", "figures")
    page = (folder / "out.html").read_text(encoding="utf-8")
    for expected in ("Doubled slope", "says twice how steep the network can be", "made up to fail", 'id="doubled"'):
        assert expected in page, expected
    assert (folder / "figures" / "doubled.png").exists()
    run(folder, "export", "out.h5", "-o", "out.csv")
    with (folder / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    stored = open_result(folder / "out.h5")["doubled_slope"]
    np.testing.assert_array_equal([float(row["doubled_slope[eps=0.02]"]) for row in rows], stored[:, 1])


@pytest.mark.slow
def test_an_audit_attacks_it(folder: Path) -> None:
    arguments = ("audit", "out.h5", "net.onnx", "data.npz", "--executor", "serial", "--points", "8")
    assert "doubled_slope" in run(folder, *arguments)
    with h5py.File(folder / "out.h5", "r+") as file:
        kept = file["doubled_slope"][...]
        file["doubled_slope"][...] = 0.01 * kept
        file.flush()
    try:
        broken = run(folder, *arguments, status=1)
        assert "BROKEN: doubled_slope of sample 0" in broken
        assert "BROKEN: lipschitz" not in broken
    finally:
        with h5py.File(folder / "out.h5", "r+") as file:
            file["doubled_slope"][...] = kept


def test_integers_of_a_failed_quantity_have_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise ArithmeticError("no radius")

    monkeypatch.setattr("distverify.analysis.radius.find_radius", fail)
    network = build_chain([3, 6, 4], ["relu"], np.random.default_rng(3))
    settings = Settings(eps=(0.1, 0.2), compute=("radius", "lipschitz"))
    values = analyse_sample(network, Sample(np.array([0.2, 0.4, 0.6])), settings)
    assert values["message"] == "not computed: radius (ArithmeticError: no radius)"
    assert np.asarray(values["verified"]).tolist() == [-1, -1], "0 would say that it is not verified"
    assert values["crown_evaluations"] == -1
    assert np.isnan(np.asarray(values["radius_target"])).all()
    assert np.isfinite(np.asarray(values["lipschitz"])).all()
    alone = analyse_sample(network, Sample(np.array([0.2, 0.4, 0.6])), Settings(eps=(0.1, 0.2), compute=("lipschitz",)))
    np.testing.assert_array_equal(values["lipschitz"], alone["lipschitz"])
    with pytest.raises(ArithmeticError, match="no radius"):  # nothing is left: the sample fails
        analyse_sample(network, Sample(np.array([0.2, 0.4, 0.6])), Settings(compute=("radius",)))
