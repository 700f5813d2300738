from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from distverify.errors import ResultError
from distverify.results.journal.journal import Journal
from distverify.results.manifest import Manifest
from distverify.results.reader import open_result
from distverify.results.schema import variables_for
from distverify.settings import Settings
from distverify.work import Plan, WorkUnit
from tests.results.runs import END, commit_all, finish, make_manifest, make_payload


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.h5"


def parts_of(output: Path) -> Path:
    return output.with_name(output.name + ".parts")


def assert_holds(output: Path, manifest: Manifest, seed: int = 0) -> None:
    """Every array of the file equals the payloads bit by bit."""
    truth = make_payload(manifest, WorkUnit(0, manifest.samples), seed=seed)
    result = open_result(output)
    for variable in variables_for(manifest.settings):
        stored = result[variable.name]
        if variable.name == "message":
            assert stored.tolist() == truth["message"].tolist()
        else:
            assert stored.dtype == variable.dtype
            assert stored.tobytes() == truth[variable.name].tobytes(), variable.name


def _changed(manifest: Manifest, **settings: object) -> Manifest:
    data = manifest.settings.to_json() | settings
    return replace(manifest, settings=Settings.from_json(data))


@pytest.mark.parametrize("state", ["interrupted", "finished", "parts lost"])
@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda m: _changed(m, eps=[0.005]), r"eps: this run has 0\.005; the \w+ \w+ has 0\.005, 0\.01"),
        (lambda m: _changed(m, method="recurjac"), r"method: this run has recurjac; the \w+ \w+ has linear"),
        (lambda m: _changed(m, clip=[0.0, 1.0]), r"clip: this run has 0\.0, 1\.0; the \w+ \w+ has None"),
        (lambda m: _changed(m, norm=2.0), r"norm: this run has 2\.0; the \w+ \w+ has inf"),
        (
            lambda m: replace(m, model="other.onnx", model_digest="c" * 64),
            r"model: this run has other\.onnx \(cccccccccccc\); the \w+ \w+ has net\.onnx \(aaaaaaaaaaaa\)",
        ),
        (lambda m: replace(m, data_digest="d" * 64), r"data: this run has data\.csv \(dddddddddddd\)"),
        (
            lambda m: replace(m, indices=(3, 7), plan=Plan(2, 2), data_digest="d" * 64),
            r"samples: this run has 2 of .*\(3, 7\); the \w+ \w+ has 10 of data\.csv \(100, .*, 109\)",
        ),
        (lambda m: replace(m, distverify_version="0.2.0"), r"distverify version: this run has 0\.2\.0"),
    ],
)
def test_another_computation_is_refused_and_nothing_touched(
    output: Path, state: str, change: object, line: str
) -> None:
    manifest = make_manifest()
    if state == "finished":
        finish(output, manifest)
    else:
        with Journal.open(output, manifest) as journal:
            journal.commit(WorkUnit(0, 4), make_payload(manifest, WorkUnit(0, 4)))
    if state == "parts lost":
        for path in parts_of(output).iterdir():
            path.unlink()
        parts_of(output).rmdir()
    before = {p: p.read_bytes() for p in output.parent.rglob("*") if p.is_file() and p.name != "lock"}
    with pytest.raises(ResultError, match=f"{line}(.|\n)*another output(.|\n)*overwrite=True"):
        Journal.open(output, change(manifest))  # type: ignore[operator]
    after = {p: p.read_bytes() for p in output.parent.rglob("*") if p.is_file() and p.name != "lock"}
    assert after == before


def test_names_plan_and_time_are_no_difference(output: Path) -> None:
    manifest = make_manifest()
    with Journal.open(output, manifest) as journal:
        journal.commit(WorkUnit(0, 4), make_payload(manifest, WorkUnit(0, 4)))
    renamed = replace(manifest, model="copy.onnx", data="copy.csv", plan=Plan(10, 3), created=END, environment={})
    with Journal.open(output, renamed) as journal:
        assert journal.status_counts()["ok"] == 4
        assert journal.manifest.run_id == manifest.run_id


def test_overwrite_starts_afresh(output: Path) -> None:
    finish(output, make_manifest())
    other = make_manifest(7, 2, compute=("radius",))
    with Journal.open(output, other, overwrite=True) as journal:
        assert journal.status_counts()["pending"] == 7
        commit_all(journal, other, seed=5)
        journal.consolidate(END)
    assert_holds(output, other, seed=5)
    with Journal.open(output, other) as journal:
        assert journal.finished
    with Journal.open(output, other, overwrite=True) as journal:
        assert not journal.finished


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"precious notes", "not an HDF5 file"),
        (b"", "not an HDF5 file|cannot be opened|truncated"),
        (None, "an HDF5 file, but not a result of distverify"),
    ],
)
def test_a_file_that_is_not_ours_is_left_alone(output: Path, content: bytes | None, message: str) -> None:
    if content is None:
        with h5py.File(output, "w") as file:
            file["x"] = 1
    else:
        output.write_bytes(content)
    before = output.read_bytes()
    with pytest.raises(ResultError, match=f"({message}).*left alone.*overwrite=True"):
        Journal.open(output, make_manifest())
    assert output.read_bytes() == before
    assert not parts_of(output).exists()
    finished = make_manifest()
    with Journal.open(output, finished, overwrite=True) as journal:
        commit_all(journal, finished)
        journal.consolidate(END)
    assert_holds(output, finished)


_HOLDER = """
import sys
from distverify.results.journal.journal import Journal
from tests.results.runs import make_manifest
journal = Journal.open(sys.argv[1], make_manifest())
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_driver_is_refused_and_a_dead_one_forgotten(output: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(output)],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        for keywords in ({}, {"overwrite": True}):
            with pytest.raises(ResultError, match=rf"another run writes there \(process {holder.pid} on .+\); wait"):
                Journal.open(output, make_manifest(), **keywords)
        holder.kill()
    with Journal.open(output, make_manifest()) as journal:
        assert not journal.finished


def test_a_file_system_without_locks_is_explained(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(ResultError, match=r"cannot lock files \(No locks available\).*local disk.*NFS"):
        Journal.open(output, make_manifest())


def test_places_that_cannot_hold_a_result(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="is a folder; name the result file"):
        Journal.open(tmp_path, make_manifest())
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultError, match="is a file where a folder is needed"):
        Journal.open(tmp_path / "file" / "out.h5", make_manifest())
    (tmp_path / "out.h5.parts").write_text("")
    with pytest.raises(ResultError, match="is a file where a folder is needed"):
        Journal.open(tmp_path / "out.h5", make_manifest())
    finish(tmp_path / "new" / "folder" / "out.h5", make_manifest())
    assert (tmp_path / "new" / "folder" / "out.h5").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)  # the tests may run as root, whom no permission stops
    with pytest.raises(ResultError, match=r"out\.h5: cannot be written \(Permission denied\)"):
        Journal.open(tmp_path / "out.h5", make_manifest())


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    link = tmp_path / "out.h5"
    link.symlink_to(tmp_path / "scratch" / "real.h5")
    finish(link, make_manifest())
    assert link.is_symlink()
    assert_holds(tmp_path / "scratch" / "real.h5", make_manifest())


def test_names_with_percent_signs_and_spaces(tmp_path: Path) -> None:
    output = tmp_path / "a %b 100%.h5"
    manifest = make_manifest(12, 4)
    with Journal.open(output, manifest) as journal:
        journal.commit(WorkUnit(0, 4), make_payload(manifest, WorkUnit(0, 4)))
    assert open_result(output)["status"].tolist() == [1] * 4 + [0] * 8


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.pop("radius"), "missing: radius"),
        (lambda p: p.update(extra=np.zeros(4)), "not of this run: extra"),
        (lambda p: p.update(radius=np.zeros(3)), r"radius has shape \(3,\), expected \(4,\) \(sample\)"),
        (lambda p: p.update(label=np.zeros(4)), "label has dtype float64, expected int64"),
        (lambda p: p.update(status=np.array([1, 1, 0, 1], dtype=np.int8)), "status must be 1 to 5"),
    ],
)
def test_a_payload_that_does_not_fit(output: Path, spoil: object, message: str) -> None:
    manifest = make_manifest()
    payload = make_payload(manifest, WorkUnit(0, 4))
    spoil(payload)  # type: ignore[operator]
    with Journal.open(output, manifest) as journal:
        with pytest.raises(ResultError, match=f"payload of samples 0:4: .*{message}"):
            journal.commit(WorkUnit(0, 4), payload)
        assert journal.status_counts()["pending"] == 10
        with pytest.raises(ResultError, match="got samples 8:12, outside of the run's 10 samples"):
            journal.commit(WorkUnit(8, 12), make_payload(manifest, WorkUnit(8, 12)))
