"""Each kind of user gets from start to end, and finds the files there that the script promised."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

WRITTEN = {
    "researcher": ("linear.h5", "fastlip.h5", "comparison.html", "table.tex"),
    "control_engineer": ("controller.h5", "bounds.csv"),
    "cluster_user": ("part-1.h5", "whole.h5"),
    "analyst": ("out.h5", "radii.csv", "radii.xlsx", "out.html"),
    "verification_specialist": ("query.vnnlib", "out.h5", "check.xml"),
}
NEEDS = {"analyst": ("pandas", "xarray", "h5netcdf", "openpyxl")}


@pytest.mark.slow
@pytest.mark.parametrize("user", WRITTEN)
def test_a_script_gets_to_its_end(user: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for package in NEEDS.get(user, ()):
        pytest.importorskip(package)
    importlib.import_module(f"tests.journeys.{user}").main(tmp_path)
    for name in WRITTEN[user]:
        assert (tmp_path / name).stat().st_size > 0, name
    assert capsys.readouterr().out
