"""Files of the first version open through every door; files of later ones are refused; texts are text in xarray."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import distverify as dv
from distverify.cli.main import main
from distverify.errors import ResultError
from tests.results import older_files
from tests.results.runs import finish, make_manifest


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("old") / "old.h5"
    older_files.write(path)
    return path


def test_every_array_is_read(old: Path) -> None:
    result = dv.open_result(old)
    assert result.complete
    assert result.unchanged() is None
    for name, values in older_files.arrays().items():
        np.testing.assert_array_equal(result[name], values)
    assert result.message.tolist() == [older_files.MESSAGE] * older_files.SAMPLES
    assert result.settings.eps == older_files.EPS
    assert (result.settings.nodes, result.settings.precision, result.settings.domain) == (0, "float64", None)
    assert "x0" not in result
    lower, upper = result.hull()
    np.testing.assert_array_equal(lower, older_files.arrays()["hull_lower"])
    assert (lower <= upper).all()
    radii = older_files.arrays()["radius"]
    assert result.certified_accuracy([0.5]) == [(radii >= 0.5).mean()]


@pytest.mark.parametrize(
    "words",
    [("show",), ("show", "--json"), ("check",), ("export", "-o", "{}.csv"), ("export", "-o", "{}.json")],
    ids=" ".join,
)
def test_commands_take_it(words: tuple[str, ...], old: Path, tmp_path: Path) -> None:
    command, *rest = (word.format(tmp_path / "out") for word in words)
    done = CliRunner().invoke(main, [command, str(old), *rest])
    assert (done.exit_code, done.exception) == (0, None)


def test_what_needs_a_digest_says_so(old: Path) -> None:
    done = CliRunner().invoke(main, ["show", str(old), "--verify"])
    assert done.exit_code == 2
    assert "has no digest to compare with: its run has not ended, or an earlier version wrote it" in done.output


def test_a_later_version_is_refused(old: Path, tmp_path: Path) -> None:
    later = tmp_path / "later.h5"
    later.write_bytes(old.read_bytes())
    with h5py.File(later, "r+") as file:
        file.attrs["schema_version"] = np.int64(2)
    with pytest.raises(ResultError, match="has schema version 2, this distverify reads up to 1; upgrade distverify"):
        dv.open_result(later)


@pytest.mark.parametrize("write", [older_files.write, lambda path: finish(path, make_manifest(), message="später")])
@pytest.mark.parametrize("engine", ["distverify", "netcdf4"])
def test_texts_are_text_in_xarray(write: Callable[[Path], Any], engine: str, tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("netCDF4" if engine == "netcdf4" else "h5netcdf")
    chosen: Any = engine
    if engine == "distverify":
        from distverify.results.xarray_engine import ResultBackend as chosen
    write(tmp_path / "out.nc")
    with xarray.open_dataset(tmp_path / "out.nc", engine=chosen) as data:
        assert set(data["message"].values.tolist()) == {"später"}
        assert data["message"].dims == ("sample",)
        assert data["radius"].dtype == np.float64
        if engine == "distverify":
            assert data.dv.certified_accuracy([0.0]).sizes == {"eps": 1}


def test_xarray_finds_the_engine() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    named = project["project"]["entry-points"]["xarray.backends"]["distverify"]
    pytest.importorskip("h5netcdf")
    from distverify.results.xarray_engine import ResultBackend

    assert named == f"{ResultBackend.__module__}:{ResultBackend.__qualname__}"
