"""Result files in other programs' hands, as tables, and one sample at a time; damaged and misplaced files."""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

from distverify.errors import ResultError
from distverify.results.columns import sample_columns
from distverify.results.journal.journal import Journal
from distverify.results.opening import OpenResult
from distverify.results.reader import open_result
from distverify.work import WorkUnit
from tests.results.runs import finish, make_manifest, make_payload, units_of


@pytest.fixture
def output(tmp_path: Path) -> Path:
    path = tmp_path / "out.h5"
    finish(path, make_manifest())
    return path


def test_plain_h5py_reads_it(output: Path) -> None:
    with h5py.File(output) as file:
        assert file["jacobian_lower"].shape == (10, 2, 3, 6)
        assert [axis.keys()[0] for axis in file["lipschitz"].dims] == ["sample", "eps", "output"]
        assert file["message"].asstr()[0] == ""


def test_pytables_reads_it(output: Path) -> None:
    tables = pytest.importorskip("tables")
    expected = open_result(output)["jacobian_upper"]
    with warnings.catch_warnings():
        # PyTables warns of the dimension lists that netCDF needs, and reads on.
        warnings.simplefilter("ignore")
        with tables.open_file(str(output)) as file:
            np.testing.assert_array_equal(file.root.jacobian_upper[:], expected)
            assert file.root.status[:].tolist() == [1] * 10


def test_to_xarray_is_lazy_and_equal(output: Path) -> None:
    pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    result = open_result(output)
    with result.to_xarray() as data:
        assert not data["jacobian_lower"]._in_memory
        np.testing.assert_array_equal(data["radius"].values, result["radius"])
        assert data["seconds"].dtype == np.float64, "seconds are a number, not a time difference"


@pytest.mark.parametrize(("method", "package"), [("to_xarray", "xarray"), ("to_xarray", "h5netcdf")])
def test_a_missing_package_is_named(output: Path, monkeypatch: pytest.MonkeyPatch, method: str, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ResultError, match=rf"{package} is not installed; pip install {package} \(or 'distverify\[xarray\]'\)"
    ):
        getattr(open_result(output), method)()


def test_one_sample_is_read_without_the_others(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = make_payload(make_manifest(), WorkUnit(3, 4))
    sizes: list[int] = []
    original = h5py.Dataset.__getitem__

    def counted(dataset: h5py.Dataset, where: object, **options: object) -> object:
        values = original(dataset, where, **options)
        sizes.append(np.size(values))
        return values

    monkeypatch.setattr(h5py.Dataset, "__getitem__", counted)
    values = open_result(output).read_sample(103)
    np.testing.assert_array_equal(values["jacobian_lower"], truth["jacobian_lower"][0])
    assert values["message"] == ""
    assert "hull_lower" not in values
    assert max(sizes) == 2 * 3 * 6, "one sample's Jacobian is the largest read"


def test_a_sample_that_is_not_there(output: Path) -> None:
    with pytest.raises(ResultError, match="no sample 3; the array sample lists those that there are"):
        open_result(output).read_sample(3)


def test_columns_of_chosen_arrays_and_rows(output: Path) -> None:
    truth = make_payload(make_manifest(), WorkUnit(0, 10))
    columns = sample_columns(open_result(output), ["status", "radius_target", "lipschitz"], slice(2, 4))
    assert list(columns)[:5] == [
        "sample",
        "status",
        "radius_target[output=0]",
        "radius_target[output=1]",
        "radius_target[output=2]",
    ]
    assert columns["sample"].tolist() == [102, 103]
    assert columns["status"].tolist() == ["ok", "ok"]
    assert columns["lipschitz[eps=0.01,output=2]"].tolist() == truth["lipschitz"][2:4, 1, 2].tolist()
    with pytest.raises(ResultError, match="hull_lower: has dimensions eps, output, input; a table per sample takes"):
        sample_columns(open_result(output), ["hull_lower"])


def test_close_radii_have_columns_of_their_own(tmp_path: Path) -> None:
    eps = (0.0050001, 0.00500012)
    finish(tmp_path / "out.h5", make_manifest(eps=eps))
    columns = sample_columns(open_result(tmp_path / "out.h5"))
    assert [f"lipschitz_vector[eps={e!r}]" in columns for e in eps] == [True, True]


def test_an_unfinished_result_without_its_shards_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "100%.h5"
    manifest = make_manifest(12, 4)
    with Journal.open(path, manifest) as journal:
        journal.commit(units_of(manifest)[0], make_payload(manifest, units_of(manifest)[0]))
    assert open_result(path).summary().counts["ok"] == 4
    renamed = path.rename(tmp_path / "other.h5")
    assert open_result(renamed).summary().counts["ok"] == 4, "HDF5 finds the shards by their folder's own name"
    (tmp_path / "elsewhere").mkdir()
    moved = Path(shutil.copy(renamed, tmp_path / "elsewhere"))
    with pytest.raises(
        ResultError, match=r"unfinished run, but the folder .*100%\.h5\.parts with its samples is gone; put it back"
    ):
        open_result(moved)


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (
            "unable to lock file, errno = 11",
            "locked by another program, or on a network file system.*HDF5_USE_FILE_LOCKING=FALSE",
        ),
        ("[Errno 13] unable to open file (Permission denied)", "permission denied"),
        ("something else", r"cannot be opened \(something else\)"),
    ],
)
def test_files_that_the_system_does_not_give(
    output: Path, monkeypatch: pytest.MonkeyPatch, cause: str, message: str
) -> None:
    def refuse(path: Path) -> h5py.File:
        raise OSError(cause)

    monkeypatch.setattr("distverify.results.opening.open_to_read", refuse)
    with pytest.raises(ResultError, match=message) as caught:
        OpenResult(output)
    assert "\n" not in str(caught.value)


def test_a_file_cut_off_at_any_place_is_one_clear_line(output: Path, tmp_path: Path) -> None:
    whole = output.read_bytes()
    path = tmp_path / "cut.h5"
    for share in (0.0, 0.001, 0.1, 0.5, 0.9, 0.999):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ResultError, match=r"cut\.h5: (not an HDF5 file|a truncated HDF5 file|damaged)") as caught:
            open_result(path)
        assert "\n" not in str(caught.value)
    assert os.path.getsize(output) == len(whole)


def test_settings_of_a_later_version_are_refused_with_the_remedy(output: Path) -> None:
    with h5py.File(output, "r+") as file:
        provenance = json.loads(file.attrs["provenance"])
        provenance["settings"]["unheard_of"] = 1
        file.attrs["provenance"] = json.dumps(provenance)
    with pytest.raises(
        ResultError, match=r"its settings cannot be read .*unheard_of.*another version of distverify \(0\.1\.0\)"
    ):
        open_result(output)
