from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from distverify.cli.main import main
from distverify.errors import ResultError, SettingsError
from distverify.exports import formats
from distverify.exports.formats import export, safe_cell
from distverify.results.journal.journal import Journal
from distverify.results.reader import Result, open_result
from distverify.results.schema import run_variables_for
from distverify.status import FAILED
from tests.results.runs import END, commit_all, finish, make_manifest


@pytest.fixture
def result(tmp_path: Path) -> Result:
    finish(tmp_path / "out.h5", make_manifest())
    return open_result(tmp_path / "out.h5")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_csv_gives_back_every_bit(result: Result, tmp_path: Path) -> None:
    names = export(result, tmp_path / "a.csv")
    rows = rows_of(tmp_path / "a.csv")
    assert list(rows[0]) == names
    assert names[0] == "sample"
    assert [float(r["radius"]) for r in rows] == result["radius"].tolist()
    assert [float(r["lipschitz_vector[eps=0.01]"]) for r in rows] == result["lipschitz_vector"][:, 1].tolist()
    assert [r["status"] for r in rows] == ["ok"] * 10
    assert not [n for n in names if "logits" in n or "jacobian_lower" in n]


def test_csv_of_chosen_arrays_and_samples(result: Result, tmp_path: Path) -> None:
    export(result, tmp_path / "a.csv", arrays=["radius_target"], samples="7,2")
    rows = rows_of(tmp_path / "a.csv")
    assert [r["sample"] for r in rows] == ["107", "102"]
    assert [float(r["radius_target[output=2]"]) for r in rows] == result["radius_target"][[7, 2], 2].tolist()


def test_npz_holds_numbers_of_the_network_too(tmp_path: Path) -> None:
    manifest = make_manifest(4, 4, compute=("global", "lipschitz"))
    with Journal.open(tmp_path / "out.h5", manifest) as journal:
        commit_all(journal, manifest)
        facts = {v.name: np.full(v.shape(manifest.sizes), 2.5) for v in run_variables_for(manifest.settings)}
        journal.consolidate(END, facts)
    names = export(open_result(tmp_path / "out.h5"), tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as arrays:
        assert sorted(arrays) == sorted(names)
        assert arrays["global_lipschitz_vector"] == 2.5
        assert arrays["global_lipschitz_vector"].shape == ()


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-2", "'-2"),
        ("  =1+1", "'  =1+1"),
        ("\ufeff=1+1", "'\N{REPLACEMENT CHARACTER}=1+1"),
        ("\xa0 +1", "'\N{REPLACEMENT CHARACTER} +1"),
        (" text", " text"),
        ("\t=1", "'\N{REPLACEMENT CHARACTER}=1"),
        ("a\x1b[2J\nb", "a\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}b"),
        ('größer, "1"', 'größer, "1"'),
    ],
)
def test_text_of_others_is_no_formula(text: str, cell: str) -> None:
    assert safe_cell(text) == cell


def test_hostile_messages_in_csv(tmp_path: Path) -> None:
    finish(tmp_path / "out.h5", make_manifest(), status=FAILED, message='=cmd|"/c calc"!A1,\n<b>')
    export(open_result(tmp_path / "out.h5"), tmp_path / "a.csv")
    rows = rows_of(tmp_path / "a.csv")
    assert {r["message"] for r in rows} == {'\'=cmd|"/c calc"!A1,\N{REPLACEMENT CHARACTER}<b>'}
    assert len(rows) == 10


def test_parquet(result: Result, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    export(result, tmp_path / "a.parquet")
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table["radius"].to_pylist() == result["radius"].tolist()
    assert table["status"].to_pylist() == ["ok"] * 10
    assert b"run_id" in table.schema.metadata[b"provenance"]


def test_parquet_without_pyarrow(result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        ResultError, match=r"pyarrow is not installed; pip install pyarrow \(or 'distverify\[parquet\]'\)"
    ):
        export(result, tmp_path / "a.parquet")
    assert [p.name for p in tmp_path.iterdir()] == ["out.h5"]


@pytest.mark.parametrize("block", [1, 1 << 26])
def test_npz_in_blocks(result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(formats, "_BLOCK_BYTES", block)
    export(result, tmp_path / "a.npz", arrays=["jacobian_upper", "message", "hull_lower"], samples="8,1:4")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as data:
        assert data.files == ["sample", "jacobian_upper", "message", "hull_lower"]
        assert data["sample"].tolist() == [108, 101, 102, 103]
        np.testing.assert_array_equal(data["jacobian_upper"], result["jacobian_upper"][[8, 1, 2, 3]])
        np.testing.assert_array_equal(data["hull_lower"], result["hull_lower"])
        assert data["message"].tolist() == [""] * 4


def test_npz_leaves_large_arrays_out_unless_named(result: Result, tmp_path: Path) -> None:
    names = export(result, tmp_path / "a.npz")
    assert {"radius", "lipschitz", "logits", "eps", "input"} < set(names)
    assert not {"jacobian_lower", "hull_upper", "x0"} & set(names)


def test_misuse(result: Result, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"output: got 'a\.txt'; its name must end in \.csv, \.npz, \.parquet"):
        export(result, tmp_path / "a.txt")
    with pytest.raises(ResultError, match="no array 'radii'; there are sample"):
        export(result, tmp_path / "a.csv", arrays=["radii"])
    with pytest.raises(ResultError, match="hull_upper: has dimensions eps, output, input"):
        export(result, tmp_path / "a.csv", arrays=["hull_upper"])
    with pytest.raises(ResultError, match=r"a\.csv: cannot be written \(No such file or directory\)"):
        export(result, tmp_path / "missing" / "a.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["out.h5"]


def test_command_line(result: Result, tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    done = CliRunner().invoke(main, ["export", str(result.path), "-o", str(target), "--arrays", "label, radius"])
    assert (done.exit_code, done.output) == (0, f"{target}: sample, label, radius\n")
    wrong = CliRunner().invoke(main, ["export", str(target), "-o", str(tmp_path / "b.csv")])
    assert wrong.exit_code == 2
    assert "a.csv: not an HDF5 file" in wrong.stderr
