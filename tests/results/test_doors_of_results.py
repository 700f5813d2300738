"""Result files in the hands of others: few reads, CF attributes, xarray's accessor, files elsewhere, older files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import distverify as dv
from distverify.errors import ResultError, SettingsError
from tests.results.runs import finish, make_manifest

IMAGE = {"inputs": {"shape": [1, 2, 3], "model_layout": None}, "command": "distverify certify a b -o c.h5"}
MOST_READS = 8


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("results") / "out.h5"
    finish(path, make_manifest(environment=IMAGE, axis_names={"output": ("ant", "bee", "cät")}))
    return path


class Counted(io.RawIOBase):
    """A file that counts its reads."""

    def __init__(self, path: Path) -> None:
        self.reads = 0
        self._file = path.open("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        self.reads += 1
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


def test_listing_a_finished_file_takes_few_reads(output: Path) -> None:
    stream = Counted(output)
    with h5py.File(stream, "r", page_buf_size=1 << 18) as file:
        listed = {name: (file[name].shape, dict(file[name].attrs)) for name in file}
        assert dict(file.attrs)
    assert len(listed) > 20
    assert stream.reads <= MOST_READS
    stream.close()


def test_attributes_are_those_of_cf(output: Path) -> None:
    with h5py.File(output) as file:
        assert file.attrs["history"].decode() == "2024-05-01T12:01:00+00:00 distverify certify a b -o c.h5"
        assert b"net.onnx (aaaaaaaaaaaa)" in file.attrs["source"]
        assert b"arXiv:1810.11783" in file.attrs["references"]
        for name in ("radius", "radius_target", "eps"):
            assert file[name].attrs["norm"] == "inf"
        assert "norm" not in file["lipschitz"].attrs
        assert file["radius"].attrs["ancillary_variables"] == "status"
        assert "ancillary_variables" not in file["status"].attrs
        assert file["logits"].attrs["coordinates"] == "output_name"
        named = "output_name input_row input_column input_channel"
        assert file["jacobian_lower"].attrs["coordinates"] == named
        assert file["input_row"][:].tolist() == [0, 0, 0, 1, 1, 1]
        assert file["input_column"][:].tolist() == [0, 1, 2] * 2
        assert file["input_channel"][:].tolist() == [0] * 6
    assert dv.open_result(output).unchanged()


def test_the_accessor_answers_with_coordinates(output: Path) -> None:
    pytest.importorskip("h5netcdf")
    result = dv.open_result(output)
    with result.to_xarray() as data:
        assert data["message"].dtype.kind == "U"
        assert data["output_name"].values.tolist() == ["ant", "bee", "cät"]
        accuracy = data.dv.certified_accuracy([0.0, 0.005])
        np.testing.assert_array_equal(accuracy.values, result.certified_accuracy([0.0, 0.005]))
        assert accuracy["eps"].values.tolist() == [0.0, 0.005]
        image = data.dv.image(103)
        assert dict(image.sizes) == {"row": 2, "column": 3, "channel": 1}
        np.testing.assert_array_equal(image.isel(channel=0).values.ravel(), result["x0"][3])
        found = data.dv.derivative_map(103, 1, eps=0.01)
        np.testing.assert_array_equal(found["lower"].isel(channel=0).values.ravel(), result["jacobian_lower"][3, 1, 1])
        assert data.dv.provenance["run_id"] == result.provenance["run_id"]
        for call, message in (
            (lambda: data.dv.image(5), "sample: 5 is not in this result"),
            (lambda: data.dv.image(103, "counterexample"), "counterexample: is not in this result"),
            (lambda: data.dv.derivative_map(103, 9), "output: got 9; there are 0 to 2"),
            (
                lambda: data.dv.derivative_map(103, 1, 0.02),
                "eps: 0.02 is no radius of this result; there are 0.005, 0.01",
            ),
        ):
            with pytest.raises(ResultError, match=message):
                call()


def test_several_results_are_a_tree(output: Path, tmp_path: Path) -> None:
    pytest.importorskip("h5netcdf")
    (tmp_path / "a.h5").write_bytes(output.read_bytes())
    (tmp_path / "b.h5").write_bytes(output.read_bytes())
    tree = dv.open_results(tmp_path / "*.h5")
    assert sorted(tree.children) == ["a", "b"]
    assert tree["a"].ds.dv.certified_accuracy(0.0).sizes == {"eps": 1}
    tree.close()
    with pytest.raises(ResultError, match=r"none-\*.h5: no such file; check the pattern"):
        dv.open_results(tmp_path / "none-*.h5")
    with pytest.raises(SettingsError, match="paths: got int; give a pattern"):
        dv.open_results(3)  # type: ignore[arg-type]


def test_files_elsewhere_are_read_in_place(output: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.put(str(output), "/results/out.h5")
    with dv.open_result("memory://results/out.h5") as result:
        here = dv.open_result(output)
        assert list(result) == list(here)
        np.testing.assert_array_equal(result["radius"], here["radius"])
        assert result.summary() == here.summary()
        assert result.unchanged()
        with result.at_one_moment() as moment:
            assert moment.complete
        data = result.to_xarray()
        np.testing.assert_array_equal(data["radius"].values, here["radius"])
        data.close()
    with pytest.raises(ResultError, match="the result was closed"):
        result["radius"]
    memory.pipe("/results/none.h5", b"no HDF5")
    for url, message in (
        ("memory://results/absent.h5", "absent.h5: no such file; check the URL"),
        ("memory://results/none.h5", "none.h5: cannot be opened as HDF5"),
        ("nowhere://a.h5", "nowhere://a.h5: "),
    ):
        with pytest.raises(ResultError, match=message):
            dv.open_result(url)


def test_a_notebook_shows_the_summary(output: Path) -> None:
    shown = dv.open_result(output)._repr_html_()
    assert "<td" in shown
    assert "net.onnx" in shown
    assert "0.005" in shown
    assert "<script" not in shown
    hostile = make_manifest(model="<script>alert(1)</script>")
    finish(output.with_name("hostile.h5"), hostile)
    assert "<script" not in dv.open_result(output.with_name("hostile.h5"))._repr_html_()
