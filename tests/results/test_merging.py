"""Results over different samples as one: of all parts of a run, that run bit by bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distverify as dv
from distverify.results.merging import _runs

RNG = np.random.default_rng(8)
NETWORK = dv.Network.from_layers(
    [(RNG.normal(size=(5, 3)), RNG.normal(size=5)), (RNG.normal(size=(2, 5)), np.zeros(2))]
)
X = RNG.uniform(size=(7, 3))
Y = NETWORK(X).argmax(axis=1)
COMPUTE = {"jacobian", "lipschitz", "radius"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "data.npz"
    np.savez(path, x=X, y=Y)
    return path


def run(data: Any, output: Path, **options: Any) -> Path:
    told = {"eps": (0.01, 0.05), "compute": COMPUTE, "executor": "serial", "output_names": "a,b"} | options
    dv.certify(NETWORK, data, output=output, **told)
    return output


@pytest.fixture(scope="module")
def parts(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("parts")
    return [run(data, folder / f"{k}.h5", part=f"{k}/3", samples="6,0:6") for k in (1, 2, 3)]


def same(a: dv.Result, b: dv.Result) -> bool:
    assert list(a) == list(b)
    return all(np.array_equal(a[n], b[n], equal_nan=a[n].dtype.kind == "f") for n in a if n != "seconds")


def test_all_parts_are_the_run_in_one_piece(data: Path, parts: list[Path], tmp_path: Path) -> None:
    whole = dv.open_result(run(data, tmp_path / "whole.h5", samples="6,0:6"))
    merged = dv.merge([parts[2], parts[0], parts[1]], tmp_path / "merged.h5")
    assert same(whole, merged)
    assert merged["sample"].tolist() == [6, 0, 1, 2, 3, 4, 5]
    assert merged.provenance["run_id"] == whole.provenance["run_id"]
    assert merged.unchanged()
    # The command of the whole run finds it complete.
    again = dv.certify(
        NETWORK, data, eps=(0.01, 0.05), compute=COMPUTE, output=merged.path, samples="6,0:6", output_names="a,b"
    )
    assert same(again, whole)


def test_some_parts_are_audited_as_what_they_are(data: Path, parts: list[Path], tmp_path: Path) -> None:
    assert dv.audit(parts[1], NETWORK, data, points=8, executor="serial").violations == 0
    merged = dv.merge(parts[:2], tmp_path / "merged.h5")
    assert merged["sample"].tolist() == [0, 2, 3, 5, 6]
    assert [p["samples"] for p in merged.provenance["environment"]["merged"]] == [[6, 2, 5], [0, 3]]
    assert dv.audit(merged, NETWORK, data, points=8, executor="serial").violations == 0
    np.savez(tmp_path / "other.npz", x=X + 1e-9, y=Y)
    with pytest.raises(dv.ResultError, match="data: has digest"):
        dv.audit(merged, NETWORK, tmp_path / "other.npz", points=8, executor="serial")


def test_what_cannot_be_merged_is_told(data: Path, parts: list[Path], tmp_path: Path) -> None:
    other = run(data, tmp_path / "other.h5", samples="1", eps=0.03)
    target = tmp_path / "out.h5"
    with pytest.raises(
        dv.ResultError, match=r"other.h5: cannot be merged; eps: .*other.h5 has 0.03; .*1.h5 has 0.01, 0.05"
    ):
        dv.merge([parts[0], other], target)
    with pytest.raises(
        dv.ResultError, match=r"sample 2 is in .*1.h5 and in .*1.h5; merge results over different samples"
    ):
        dv.merge([parts[0], parts[0]], target)
    with pytest.raises(dv.SettingsError, match="results: got 1; give at least two"):
        dv.merge([parts[0]], target)
    with pytest.raises(dv.SettingsError, match="results: got str"):
        dv.merge("parts/*.h5", target)
    target.write_text("mine")
    with pytest.raises(dv.SettingsError, match=r"output: .*out.h5 exists; name another file, or replace it"):
        dv.merge(parts, target)
    assert target.read_text() == "mine"
    assert dv.merge(parts, target, overwrite=True).complete


@pytest.mark.parametrize(
    ("part", "message"), [("0/3", "got '0/3'; write I/N"), ("8/8", "8/8 holds none of 7 samples"), (3, "part: ")]
)
def test_parts_that_make_no_sense(part: Any, message: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises((dv.SettingsError, dv.DataError), match=message):
        run(data, tmp_path / "out.h5", part=part)


@pytest.mark.parametrize(
    ("rows", "count"),
    [([], 0), ([7], 1), ([0, 8, 16, 24], 1), ([3, 2, 1], 3), ([0, 1, 2, 10, 12, 14, 5], 3), ([1, 4, 5, 6, 9], 3)],
)
def test_rows_as_few_slices(rows: list[int], count: int) -> None:
    runs = list(_runs(np.array(rows, dtype=np.int64)))
    assert [row for run, _ in runs for row in range(run.start, run.stop, run.step)] == rows
    assert [k for _, at in runs for k in range(at.start, at.stop)] == list(range(len(rows)))
    assert len(runs) == count
