"""Outputs that would destroy what is read are refused, whatever is said beside them."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result

from distverify.cli.main import main
from distverify.demo import DATA, MODEL
from distverify.errors import SettingsError
from distverify.options.files import RESULT_SUFFIXES, check_output


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="distverify", catch_exceptions=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.h5"
    with np.load(DATA) as digits, h5py.File(path, "w") as file:
        file["x"], file["y"] = digits["x"][:3], digits["y"][:3]
    return path


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
@pytest.mark.parametrize("link", ["", "soft", "hard"])
def test_the_data_set_survives(data: Path, tmp_path: Path, link: str, overwrite: tuple[str, ...]) -> None:
    output, before = data, data.read_bytes()
    if link:
        output = tmp_path / "link.h5"
        (os.link if link == "hard" else os.symlink)(data, output)
    done = run("certify", MODEL, data, "-o", output, "--executor", "serial", "--eps", "0.1", *overwrite)
    assert done.exit_code == 2
    assert done.stderr == f"error: --output: {output} is what is read ({data}); name another file\n"
    assert data.read_bytes() == before


@pytest.mark.parametrize("name", ["out.csv", "out.npz", "out.onnx", "out.vnnlib", "out.html"])
def test_other_endings(data: Path, tmp_path: Path, name: str) -> None:
    done = run("certify", MODEL, data, "-o", tmp_path / name, "--executor", "serial", "--eps", "0.1")
    assert done.exit_code == 2
    assert done.stderr == f"error: --output: got '{name}'; its name must end in .h5, .hdf5, .nc, .nc4\n"
    assert not (tmp_path / name).exists()


def test_the_model_survives(data: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.write_bytes(MODEL.read_bytes())
    done = run("certify", model, data, "-o", model, "--executor", "serial", "--eps", "0.1", "--overwrite")
    assert done.exit_code == 2
    assert "is what is read" in done.stderr
    assert model.read_bytes() == MODEL.read_bytes()


def test_devices_and_folders(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/null"), tmp_path / "pipe", tmp_path):
        with pytest.raises(SettingsError, match=r"output: .* is no regular file"):
            check_output(path, RESULT_SUFFIXES)


def test_export_and_report_spare_what_they_read(data: Path, tmp_path: Path) -> None:
    table = tmp_path / "data.csv"
    with h5py.File(data) as file:
        np.savetxt(table, np.column_stack([file["y"][:], file["x"][:]]), delimiter=",")
    before = table.read_bytes()
    output = tmp_path / "out.h5"
    assert run("certify", MODEL, table, "-o", output, "--executor", "serial", "--eps", "0.1").exit_code == 0
    done = run("export", output, "-o", table)
    assert done.exit_code == 2
    assert (
        done.stderr
        == f"error: --output: {table} has the name of the data that the result was computed from; name another file\n"
    )
    assert table.read_bytes() == before
    for command in (("export", output, "-o", output), ("report", output, "-o", output), ("report", output, "-o", data)):
        assert run(*command).exit_code == 2
    assert run("show", output).exit_code == 0
    assert run("export", output, "-o", tmp_path / "other.csv").exit_code == 0
