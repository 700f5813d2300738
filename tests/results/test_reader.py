from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from distverify.errors import ResultError
from distverify.results.facts import Quantiles
from distverify.results.journal.journal import Journal
from distverify.results.reader import Result, open_result
from distverify.results.schema import MESSAGE_BYTES, encode_message, variables_for
from distverify.results.summary import Failure
from distverify.settings import Settings
from distverify.status import FAILED, MISCLASSIFIED, OK, TIMED_OUT
from distverify.work import WorkUnit
from tests.results.runs import END, commit_all, finish, make_manifest, make_payload, units_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.h5"


@pytest.fixture(params=["finished", "running"])
def half_done(output: Path, request: pytest.FixtureRequest) -> Path:
    """A result whose second half failed (finished) or is pending (running)."""
    manifest = make_manifest(8, 4)
    with Journal.open(output, manifest) as journal:
        journal.commit(WorkUnit(0, 4), make_payload(manifest, WorkUnit(0, 4)))
        if request.param == "finished":
            payload = make_payload(manifest, WorkUnit(4, 8), status=FAILED, message="ValueError: größer als 1 ∞")
            for name, values in payload.items():
                if values.dtype == np.float64:
                    payload[name] = np.full_like(values, np.nan)
            journal.commit(WorkUnit(4, 8), payload)
            journal.consolidate(END)
    return output


def test_arrays_by_name(half_done: Path) -> None:
    manifest = make_manifest(8, 4)
    result = open_result(half_done)
    truth = make_payload(manifest, WorkUnit(0, 4))
    for variable in variables_for(manifest.settings):
        assert result.dims[variable.name] == variable.dims
        assert result[variable.name].shape == variable.shape(manifest.sizes)
    assert np.array_equal(result.radius[:4], truth["radius"])
    assert np.isnan(result.radius[4:]).all()
    assert np.array_equal(result.read("jacobian_lower", np.s_[2, 1]), truth["jacobian_lower"][2, 1])
    assert result.sizes == {"sample": 8, "eps": 2, "output": 3, "input": 6}
    assert result.settings == manifest.settings
    assert set(result) == set(result.keys()) == set(result.dims)
    assert len(result) == len(result.dims)
    assert "radius" in result
    assert "radii" not in result
    assert "Result(" in repr(result)


def test_names_that_are_not_there(half_done: Path) -> None:
    result = open_result(half_done)
    with pytest.raises(KeyError, match="radii"):
        result["radii"]
    with pytest.raises(AttributeError, match=r"no array 'radii'; there are sample, output, input, eps"):
        result.radii  # noqa: B018
    with pytest.raises(ResultError, match="no array 'radii'; there are sample"):
        result.read("radii")
    assert result.get("radii") is None


def test_what_was_not_asked_for_is_absent(output: Path) -> None:
    finish(output, make_manifest(compute=("radius",), eps=()))
    result = open_result(output)
    expected = {"sample", "output", "input", "label", "predicted", "status", "message", "seconds", "logits"}
    radii = {"radius", "radius_crown", "radius_jacobian", "radius_target"}
    assert set(result) == expected | radii | {"crown_evaluations", "jacobian_evaluations"}
    with pytest.raises(ResultError, match=r"no array 'jacobian_lower'.*compute='jacobian'"):
        result.hull()
    assert result.summary().certified == {}


def test_provenance_and_attributes(half_done: Path) -> None:
    result = open_result(half_done)
    manifest = make_manifest(8, 4)
    assert result.attrs["schema_version"] == 1
    assert result.attrs["distverify_version"] == "0.1.0"
    assert result.attrs["Conventions"].startswith("CF-")
    provenance = result.provenance
    assert provenance["model"]["digest"] == manifest.model_digest
    assert provenance["data"]["digest"] == manifest.data_digest
    assert Settings.from_json(provenance["settings"]) == manifest.settings
    assert provenance["environment"]["command"].startswith("distverify certify")
    assert provenance["environment"]["packages"]["numpy"] == np.__version__
    assert provenance["environment"]["platform"]
    assert provenance["start"] == "2024-05-01T12:00:00+00:00"
    assert provenance["end"] == ("2024-05-01T12:01:00+00:00" if result.complete else None)


def test_hull_of_all_samples_with_a_value(half_done: Path) -> None:
    manifest = make_manifest(8, 4)
    truth = make_payload(manifest, WorkUnit(0, 4))
    lower, upper = open_result(half_done).hull()
    assert np.array_equal(lower, truth["jacobian_lower"].min(axis=0))
    assert np.array_equal(upper, truth["jacobian_upper"].max(axis=0))
    assert ("hull_lower" in open_result(half_done)) == open_result(half_done).complete


def test_hull_in_small_blocks_is_the_same(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = make_manifest(20, 4, compute=("jacobian",))
    monkeypatch.setattr("distverify.results.hulls._BLOCK_BYTES", 8 * 6 * 8 * 2)  # two rows, some samples at a time
    monkeypatch.setattr("distverify.results.blocks._BLOCK_BYTES", 1)  # one sample at a time
    finish(output, manifest)
    truth = make_payload(manifest, WorkUnit(0, 20))
    lower, upper = open_result(output).hull()
    assert np.array_equal(lower, truth["jacobian_lower"].min(axis=0))
    assert np.array_equal(upper, truth["jacobian_upper"].max(axis=0))


def test_hull_without_any_value_is_nan(output: Path) -> None:
    with Journal.open(output, make_manifest()):
        lower, upper = open_result(output).hull()
    assert np.isnan(lower).all()
    assert np.isnan(upper).all()


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_xarray_opens_it(half_done: Path, engine: str) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("netCDF4" if engine == "netcdf4" else "h5netcdf")
    manifest = make_manifest(8, 4)
    truth = make_payload(manifest, WorkUnit(0, 4))
    with xarray.open_dataset(half_done, engine=engine) as data:
        for variable in variables_for(manifest.settings):
            assert data[variable.name].dims == variable.dims
            assert data[variable.name].attrs["long_name"] == variable.long_name
            assert data[variable.name].attrs["units"] == variable.units
        assert np.array_equal(data["jacobian_upper"].values[:4], truth["jacobian_upper"])
        assert data["radius"].sel(sample=102) == truth["radius"][2]
        assert np.isnan(data["radius"].sel(sample=106))
        assert data["lipschitz_vector"].sel(eps=0.01).values[:4].tolist() == truth["lipschitz_vector"][:4, 1].tolist()
        finished = open_result(half_done).complete  # both read the same file at the same time
        assert data["status"].values.tolist() == [1] * 4 + [3 if finished else 0] * 4
        assert data["status"].dtype == np.int8
        assert data["status"].attrs["flag_values"].tolist() == [0, 1, 2, 3, 4, 5]
        assert data["status"].attrs["flag_meanings"] == "pending ok misclassified failed timed_out undecided"
        assert [_text(v) for v in data["message"].values] == open_result(half_done).message.tolist()
        assert data.attrs["schema_version"] == 1


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_xarray_reads_text_beyond_ascii(output: Path, engine: str) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("netCDF4" if engine == "netcdf4" else "h5netcdf")
    finish(output, make_manifest(4, 4), status=FAILED, message="größer als 1 ∞")
    with xarray.open_dataset(output, engine=engine) as data:
        assert [_text(v) for v in data["message"].values] == ["größer als 1 ∞"] * 4


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The master follows every commit, whatever it costs."""
    monkeypatch.setattr("distverify.results.journal.publication.MASTER_SHARE", np.inf)


@pytest.mark.usefixtures("prompt")
def test_an_open_master_stays_what_it_was(output: Path) -> None:
    manifest = make_manifest(10, 4)
    truth = make_payload(manifest, WorkUnit(0, 10))
    with Journal.open(output, manifest) as journal:
        with ExitStack() as stack:
            views = []
            for unit in units_of(manifest):
                journal.commit(unit, make_payload(manifest, unit))
                views.append(stack.enter_context(h5py.File(output, "r")))
                for view, done in zip(views, units_of(manifest), strict=False):
                    assert view["status"][:].tolist() == [OK] * done.stop + [0] * (10 - done.stop)
                    assert view["radius"][: done.stop].tolist() == truth["radius"][: done.stop].tolist()
        journal.consolidate(END)


@pytest.mark.usefixtures("prompt")
def test_a_result_that_stays_open_follows_the_run_to_its_end(output: Path) -> None:
    manifest = make_manifest(10, 4)
    with Journal.open(output, manifest) as journal, open_result(output) as result:
        for unit in units_of(manifest):
            journal.commit(unit, make_payload(manifest, unit))
            assert result.summary().counts["ok"] == unit.stop
        assert not result.complete
        journal.consolidate(END)
        assert result.complete
        assert "hull_lower" in result
    with pytest.raises(ResultError, match="was closed; open it again"):
        result["status"]


@pytest.mark.slow
def test_a_reader_in_another_process_never_fails_and_never_goes_back(output: Path) -> None:
    manifest = make_manifest(90, 3)
    script = """
import sys
import numpy as np
from distverify.results.reader import open_result
seen, reads = 0, 0
print("ready", flush=True)
while True:
    result = open_result(sys.argv[1])
    summary = result.summary()
    done = summary.counts["ok"]
    assert done >= seen, (done, seen)
    status, radius = result["status"], result["radius"]
    assert not np.isnan(radius[status == 1]).any()
    seen, reads = done, reads + 1
    if done == 90:
        break
print(seen, reads)
"""
    with Journal.open(output, manifest) as journal:
        with subprocess.Popen(
            [sys.executable, "-c", script, str(output)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
            commit_all(journal, manifest)
            journal.consolidate(END)
            seen, reads = map(int, reader.stdout.readline().split())
        assert reader.returncode == 0
    assert seen == 90
    assert reads > 5


def test_readers_in_threads(output: Path) -> None:
    manifest = make_manifest(40, 4)
    failures: list[BaseException] = []
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                open_result(output).summary()
        except BaseException as error:
            failures.append(error)

    with Journal.open(output, manifest) as journal:
        thread = threading.Thread(target=read)
        thread.start()
        commit_all(journal, manifest)
        journal.consolidate(END)
        stop.set()
        thread.join()
    assert failures == []


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with pytest.raises(ResultError, match=r"x\.h5: no such file"):
        open_result(path)
    with pytest.raises(ResultError, match="is a folder, not a result file"):
        open_result(tmp_path)
    path.write_text("hello")
    with pytest.raises(ResultError, match=r"x\.h5: not an HDF5 file"):
        open_result(path)
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(ResultError, match="an HDF5 file, but not a result of distverify"):
        open_result(path)
    path.unlink()
    finish(path, make_manifest())
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = 2
    with pytest.raises(ResultError, match="has schema version 2, this distverify reads up to 1; upgrade"):
        open_result(path)
    os.truncate(path, path.stat().st_size - 100)
    with pytest.raises(ResultError, match="a truncated HDF5 file"):
        open_result(path)


def test_a_damaged_block_is_an_error_not_a_number(output: Path) -> None:
    finish(output, make_manifest())
    with h5py.File(output) as file:
        at = file["radius"].id.get_chunk_info(0).byte_offset
    with output.open("r+b") as raw:
        raw.seek(at)
        raw.write(b"\x01\x02\x03")
    with pytest.raises(ResultError, match="damaged, a block cannot be read"):
        open_result(output)["radius"]


def test_a_damaged_provenance_is_an_error(output: Path) -> None:
    finish(output, make_manifest())
    with h5py.File(output, "r+") as file:
        file.attrs["provenance"] = '{"run_id": "x", "end": null}'
    with pytest.raises(ResultError, match=r"provenance cannot be read \(KeyError"):
        Journal.open(output, make_manifest())


def test_summary(output: Path) -> None:
    manifest = make_manifest(10, 10, compute=("lipschitz", "radius"), eps=(0.1, 0.2))
    unit = WorkUnit(0, 10)
    payload = make_payload(manifest, unit)
    payload["status"][:] = [OK] * 6 + [MISCLASSIFIED] * 2 + [FAILED, TIMED_OUT]
    payload["message"][8:] = ["ValueError: bad", "longer than 5 s"]
    payload["label"][:] = [0, 1, 2, 0, 1, -1, 0, 1, 2, 2]
    payload["predicted"][:] = [0, 1, 2, 0, 1, 1, 1, 2, 2, 2]
    payload["radius"][:] = [0.1, 0.05, 0.2, 0.3, np.nan, 0.15, 9.0, np.nan, np.nan, np.nan]
    payload["verified"][:, 0] = [1, 0, 1, 2, 0, 1, 0, 0, -1, -1]
    payload["verified"][:, 1] = [0, 0, 1, 2, 0, 0, 0, 0, -1, -1]
    payload["lipschitz_vector"][:] = np.arange(20.0).reshape(10, 2)
    payload["lipschitz_vector"][8:] = np.nan
    payload["seconds"][:] = 0.5
    with Journal.open(output, manifest) as journal:
        assert open_result(output).summary().accuracy is None
        assert open_result(output).summary().spreads == {}
        assert open_result(output).summary().wall_seconds is None
        journal.commit(unit, payload)
        journal.consolidate(END)
    summary = open_result(output).summary()
    assert summary.samples == 10
    assert summary.counts == {"pending": 0, "ok": 6, "misclassified": 2, "failed": 1, "timed_out": 1, "undecided": 0}
    assert summary.computed == 8
    assert (summary.labelled, summary.correct) == (7, 5)
    assert summary.accuracy == 5 / 7
    assert summary.certified == {0.1: 4, 0.2: 2}
    radii = [0.1, 0.05, 0.2, 0.3, 0.0, 0.15, 0.0, 0.0]  # misclassified, or ok without a certificate: 0
    assert summary.spreads["radius"] == {None: Quantiles.of(np.array(radii))}
    radius = summary.spreads["radius"][None]
    assert (radius.count, radius.least, radius.most) == (8, 0.0, 0.3)
    assert (radius.median, radius.mean) == (pytest.approx(np.median(radii)), pytest.approx(np.mean(radii)))
    constants = summary.spreads["lipschitz_vector"][0.1]
    assert [constants.low, constants.median, constants.high] == np.quantile(
        np.arange(0.0, 16.0, 2.0), [0.05, 0.5, 0.95]
    ).tolist()
    assert summary.failures == (
        Failure(108, "failed", "ValueError: bad"),
        Failure(109, "timed_out", "longer than 5 s"),
    )
    assert summary.kernel_seconds == 5.0
    assert summary.wall_seconds == 60.0


def test_dataframe(output: Path) -> None:
    pytest.importorskip("pandas")
    manifest = make_manifest()
    finish(output, manifest)
    frame = open_result(output).to_dataframe()
    truth = make_payload(manifest, WorkUnit(0, 10))
    assert frame.index.tolist() == list(range(100, 110))
    assert frame.index.name == "sample"
    assert frame["radius"].tolist() == truth["radius"].tolist()
    assert frame["lipschitz_vector[eps=0.01]"].tolist() == truth["lipschitz_vector"][:, 1].tolist()
    assert set(frame["status"]) == {"ok"}
    assert "logits" not in frame


def test_dataframe_without_pandas(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(output, make_manifest())
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ResultError, match="pandas is not installed; pip install pandas"):
        open_result(output).to_dataframe()


@pytest.mark.parametrize("character", ["a", "é", "∞", "😀"])
@pytest.mark.parametrize("length", [0, 1, 63, 64, 85, 86, 127, 128, 129, 255, 256, 257, 1000])
def test_long_messages_are_cut_between_characters(character: str, length: int) -> None:
    text = character * length
    data = encode_message(text)
    assert len(data) <= MESSAGE_BYTES
    if len(text.encode()) <= MESSAGE_BYTES:
        assert data.decode() == text
    else:
        assert data.decode() == character * (len(data.decode()) - 1) + "…"
        assert len(data) > MESSAGE_BYTES - 4


def test_messages_that_no_file_can_hold(output: Path) -> None:
    finish(output, make_manifest(4, 4), status=FAILED, message="a\0b \ud800 end")
    assert open_result(output)["message"].tolist() == ["a\N{REPLACEMENT CHARACTER}b ? end"] * 4


def test_a_very_long_command_and_selection_fit(output: Path) -> None:
    manifest = make_manifest(20_000, 20_000, compute=("radius",))
    environment = {**manifest.environment, "command": "x"}
    with Journal.open(output, replace(manifest, environment=environment)) as journal:
        assert journal.status_counts()["pending"] == 20_000
    assert isinstance(open_result(output), Result)
    assert len(open_result(output)["sample"]) == 20_000
