"""Results in the forms of other programs: the same numbers, with their units and names."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import distverify as dv
from distverify.errors import ResultError, SettingsError
from distverify.exports.rows import LONG_HEADER, latex
from distverify.status import TIMED_OUT
from tests.results.runs import finish, make_manifest


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dv.Result:
    path = tmp_path_factory.mktemp("results") / "out.h5"
    manifest = make_manifest(axis_names={"output": ("speed [m/s]", "=1+1", "c")})
    finish(path, manifest, message="=HYPERLINK(1)")
    return dv.open_result(path)


def test_json_is_one_object_with_units(result: dv.Result, tmp_path: Path) -> None:
    columns = dv.export(result, tmp_path / "a.json", samples="2,0", arrays=["radius", "logits"])
    told = json.loads((tmp_path / "a.json").read_text())
    assert told["format"] == "distverify samples 1"
    assert [row["sample"] for row in told["samples"]] == [102, 100]
    assert list(told["columns"]) == list(told["samples"][0]) == columns
    assert told["samples"][0]["radius"] == result["radius"][2]
    assert told["columns"]["logits[output=speed [m/s]]"]["meaning"] == "output of the network at the sample"
    assert told["provenance"]["run_id"] == result.provenance["run_id"]


def test_json_lines_have_a_sample_each(result: dv.Result, tmp_path: Path) -> None:
    dv.export(result, tmp_path / "a.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["radius"] for row in rows] == result["radius"].tolist()


def test_what_is_no_number_is_null(tmp_path: Path) -> None:
    finish(tmp_path / "t.h5", make_manifest(), status=TIMED_OUT)
    dv.export(tmp_path / "t.h5", tmp_path / "a.jsonl", samples="0")
    assert '"status": "timed_out"' in (tmp_path / "a.jsonl").read_text()


def test_excel_only_shows_text(result: dv.Result, tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    dv.export(result, tmp_path / "a.xlsx", arrays=["radius", "message", "logits"])
    book = openpyxl.load_workbook(tmp_path / "a.xlsx")
    assert book.sheetnames == ["samples", "columns", "provenance"]
    header, *rows = book["samples"].iter_rows(values_only=True)
    assert header[:3] == ("sample", "radius", "message")
    assert [row[1] for row in rows] == pytest.approx(result["radius"].tolist(), rel=1e-15)
    assert rows[0][2] == "'=HYPERLINK(1)"
    assert ("radius", "1", "certified radius, the larger of all methods") in list(
        book["columns"].iter_rows(values_only=True)
    )


def test_long_tables_name_everything(result: dv.Result, tmp_path: Path) -> None:
    dv.export(result, tmp_path / "a.csv", long=True, arrays=["lipschitz", "radius"], samples="3,1")
    with (tmp_path / "a.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == LONG_HEADER
    assert len(rows) == 2 * (2 * 3 + 1)
    first = dict(zip(header, rows[0], strict=True))
    assert (first["variable"], first["sample"], first["eps"], first["output"]) == ("lipschitz", "103", "0.005", "0")
    assert (first["output_name"], first["input"]) == ("speed [m/s]", "")
    assert float(first["value"]) == result["lipschitz"][3, 0, 0]
    assert rows[1][4] == "'=1+1"
    dv.export(result, tmp_path / "b.csv", long=True, arrays=["jacobian_lower"], samples="0")
    assert len((tmp_path / "b.csv").read_text().splitlines()) == 1 + 2 * 3 * 6
    with pytest.raises(SettingsError, match=r"long: is for .csv, and a.json is none"):
        dv.export(result, tmp_path / "a.json", long=True)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_zarr_stores_open_in_xarray(result: dv.Result, tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    xarray = pytest.importorskip("xarray")
    dv.export(result, tmp_path / "a.zarr", samples="3,1")
    with xarray.open_zarr(tmp_path / "a.zarr") as data:
        assert data["jacobian_lower"].dims == ("sample", "eps", "output", "input")
        np.testing.assert_array_equal(data["jacobian_lower"].values, result["jacobian_lower"][[3, 1]])
        np.testing.assert_array_equal(data["hull_lower"].values, result["hull_lower"])
        assert data["sample"].values.tolist() == [103, 101]
        assert data["output_name"].values.tolist() == ["speed [m/s]", "=1+1", "c"]
        assert data["radius"].attrs["long_name"] == "certified radius, the larger of all methods"
    with pytest.raises(SettingsError, match=r"a.zarr is no regular file"):
        dv.export(result, tmp_path / "a.zarr")


def test_latex_is_a_table_of_the_summary(result: dv.Result, tmp_path: Path) -> None:
    dv.export(result, tmp_path / "a.tex")
    text = (tmp_path / "a.tex").read_text()
    assert text.count(r"\\") == 1 + 2  # a header, and a row for each radius
    assert r"\begin{tabular}{lr" in text
    assert "net.onnx on 10 samples of data.csv" in text
    assert latex("50% of a_b & c") == r"50\% of a\_b \& c"
    with pytest.raises(ResultError, match=r"\.tex is a table about all samples"):
        dv.export(result, tmp_path / "a.tex", samples="0")
