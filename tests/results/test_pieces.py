from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distverify.errors import ResultError
from distverify.results.journal.journal import KEEP_SECONDS, Journal
from distverify.results.journal.pieces import PieceStore
from distverify.status import FAILED, TIMED_OUT
from distverify.work import Payload, Plan, WorkUnit
from tests.results.runs import END, make_manifest, make_payload, units_of

ROOT = Path(__file__).resolve().parents[2]
LONG = 10.0  # seconds of kernel time


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.h5"


def folder(output: Path) -> Path:
    return output.with_name(output.name + ".parts")


def piece(position: int, number: int, rows: int = 3) -> Payload:
    generator = np.random.default_rng([position, number])
    return {"lower": generator.standard_normal((rows, 5)), "count": np.array([position, number])}


def assert_equal(found: Payload | None, expected: Payload) -> None:
    assert found is not None
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def kept(output: Path) -> list[str]:
    return sorted(p.name for p in folder(output).glob("*.piece"))


@pytest.mark.parametrize(
    "array",
    [
        np.array([-0.0, np.nan, np.inf, 5e-324]),
        np.arange(12, dtype=np.float32).reshape(3, 4).T,
        np.arange(24).reshape(2, 3, 4)[:, ::2, ::-1],
        np.array([True, False]),
        np.zeros((0, 7), dtype=np.int8),
        np.array(3.5),
        np.array(["größer", ""]),
        np.array([b"bytes"]),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    ],
)
def test_any_array_comes_back_bit_by_bit(tmp_path: Path, array: np.ndarray) -> None:
    store = PieceStore(tmp_path, "run")
    array.setflags(write=False)
    store.keep(3, "key", {"a": array, "b": np.arange(2)})
    assert_equal(store.recall(3, "key"), {"a": array, "b": np.arange(2)})
    assert_equal(PieceStore(tmp_path, "run").recall(3, "key"), {"a": array, "b": np.arange(2)})


def test_a_piece_without_arrays_and_keys_of_any_text(tmp_path: Path) -> None:
    store = PieceStore(tmp_path, "run")
    for number, key in enumerate(["", "a/../b", "ä\n\0", "k" * 1000]):
        store.keep(0, key, {"number": np.array(number)} if number else {})
    assert len(store) == 4
    assert store.recall(0, "") == {}
    assert store.recall(0, "k" * 1000) == {"number": 3}
    assert store.recall(0, "a/../b") == {"number": 1}
    assert store.recall(0, "other") is None
    assert store.recall(1, "") is None


def test_python_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="piece of sample 3: a holds Python objects; give numbers or text"):
        PieceStore(tmp_path, "run").keep(3, "key", {"a": np.array([None])})
    assert list(tmp_path.iterdir()) == []


def test_what_is_computed_faster_than_kept_is_not_kept(output: Path) -> None:
    large = {"a": np.zeros(4_000_000)}  # 32 MB: four times as much
    with Journal.open(output, make_manifest()) as journal:
        journal.commit_piece(0, "fast", piece(0, 0), KEEP_SECONDS / 2)
        journal.commit_piece(0, "slow", piece(0, 1), KEEP_SECONDS)
        journal.commit_piece(0, "large, fast", large, 3.9 * KEEP_SECONDS)
        journal.commit_piece(0, "large, slow", large, 4.1 * KEEP_SECONDS)
        there = {key: journal.recall(0, key) is not None for key in ("fast", "slow", "large, fast", "large, slow")}
        assert there == {"fast": False, "slow": True, "large, fast": False, "large, slow": True}
        assert journal.pieces_kept == 2


def test_a_run_with_pieces_only_is_continued_and_leaves_one_file(output: Path) -> None:
    manifest = make_manifest(4, compute=("radius",))
    with Journal.open(output, manifest) as journal:
        journal.record_plan(Plan(4, 1, pieces=3))
        for number in range(3):
            journal.commit_piece(2, f"key {number}", piece(2, number), LONG)
    with Journal.open(output, manifest) as journal:
        assert journal.status_counts()["pending"] == 4
        assert journal.pieces_kept == 3
        for number in range(3):
            assert_equal(journal.recall(2, f"key {number}"), piece(2, number))
        assert journal.recall(1, "key 0") is None
        for unit in journal.pending(units_of(journal.manifest)):
            assert unit.pieces == 3
            journal.commit(unit, make_payload(manifest, unit))
            assert journal.pieces_kept == (3 if unit.start < 2 else 0)
        assert kept(output) == []
        assert journal.recall(2, "key 0") is None
        journal.consolidate(END)
    assert [p.name for p in output.parent.iterdir()] == ["out.h5"]


def test_only_the_pieces_of_the_committed_samples_go(output: Path) -> None:
    manifest = make_manifest(8, 4)
    with Journal.open(output, manifest) as journal:
        for position in (0, 3, 4, 7):
            journal.commit_piece(position, "key", piece(position, 0), LONG)
        journal.commit(WorkUnit(0, 4), make_payload(manifest, WorkUnit(0, 4)))
        assert [journal.recall(p, "key") is not None for p in (0, 3, 4, 7)] == [False, False, True, True]


@pytest.mark.parametrize("status", [FAILED, TIMED_OUT])
def test_a_retry_finds_the_pieces_of_failed_samples(output: Path, status: int) -> None:
    manifest = make_manifest(2, 1)
    with Journal.open(output, manifest) as journal:
        journal.commit_piece(0, "key", piece(0, 0), LONG)
        journal.commit(WorkUnit(0, 1), make_payload(manifest, WorkUnit(0, 1), status=status))
    with Journal.open(output, manifest, retry_failed=True) as journal:
        assert_equal(journal.recall(0, "key"), piece(0, 0))
        for unit in units_of(manifest):
            journal.commit(unit, make_payload(manifest, unit))
        assert kept(output) == []
        journal.consolidate(END)


def test_a_finished_run_with_failed_samples_keeps_no_pieces(output: Path) -> None:
    manifest = make_manifest(2, 1)
    with Journal.open(output, manifest) as journal:
        journal.commit_piece(0, "key", piece(0, 0), LONG)
        for unit in units_of(manifest):
            journal.commit(unit, make_payload(manifest, unit, status=FAILED))
        assert len(kept(output)) == 1
        journal.consolidate(END)
    assert [p.name for p in output.parent.iterdir()] == ["out.h5"]
    with Journal.open(output, manifest, retry_failed=True) as journal:
        assert journal.recall(0, "key") is None


def test_pieces_left_by_a_crash_after_the_commit_are_cleaned_up(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = make_manifest(2, 1)

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    journal = Journal.open(output, manifest)
    for position in (0, 1):
        journal.commit_piece(position, "key", piece(position, 0), LONG)
    monkeypatch.setattr(PieceStore, "forget", die)
    with pytest.raises(Killed):
        journal.commit(WorkUnit(0, 1), make_payload(manifest, WorkUnit(0, 1)))
    journal._lock.release()
    monkeypatch.undo()
    assert len(kept(output)) == 2
    with Journal.open(output, manifest) as journal:
        assert journal.recall(0, "key") is None
        assert_equal(journal.recall(1, "key"), piece(1, 0))
        assert len(kept(output)) == 1


def test_overwrite_and_other_settings(output: Path) -> None:
    manifest = make_manifest()
    with Journal.open(output, manifest) as journal:
        journal.commit_piece(0, "key", piece(0, 0), LONG)
    (folder(output) / "thesis.piece.txt").write_text("mine")
    with pytest.raises(ResultError, match="of another computation"):
        Journal.open(output, replace(manifest, data_digest="d" * 64))
    assert len(kept(output)) == 1
    with Journal.open(output, manifest, overwrite=True) as journal:
        assert journal.recall(0, "key") is None
        assert len(kept(output)) == 1  # until there is something to keep
        for unit in units_of(manifest):
            journal.commit(unit, make_payload(manifest, unit))
            assert kept(output) == []
        journal.consolidate(END)
    assert [p.name for p in folder(output).iterdir()] == ["thesis.piece.txt"]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace_by_another(path: Path) -> None:
    store = PieceStore(path.parent, make_manifest().run_id)
    store.keep(9, "other", piece(9, 9))
    (other,) = path.parent.glob("00000009.*.piece")
    os.replace(other, path)


def replace_by_foreign(path: Path) -> None:
    elsewhere = path.parent / "elsewhere"
    elsewhere.mkdir()
    PieceStore(elsewhere, "another run").keep(0, "key", piece(0, 0))
    shutil.copy(elsewhere / path.name, path)
    shutil.rmtree(elsewhere)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda p: os.truncate(p, p.stat().st_size // 2), "corrupted"),
        (lambda p: os.truncate(p, p.stat().st_size - 1), "corrupted"),
        (lambda p: p.write_bytes(p.read_bytes() + b"0"), "corrupted"),
        (lambda p: p.write_bytes(b""), "corrupted"),
        (lambda p: p.write_bytes(b"no piece"), "corrupted"),
        (flip, "corrupted"),
        (replace_by_another, "foreign: it belongs to another run, or to another piece"),
        (replace_by_foreign, "foreign: it belongs to another run, or to another piece"),
    ],
)
def test_a_bad_piece_is_moved_aside_and_computed_again(
    output: Path, damage: Callable[[Path], None], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = make_manifest()
    with Journal.open(output, manifest) as journal:
        journal.commit_piece(0, "key", piece(0, 0), LONG)
    (name,) = kept(output)
    damage(folder(output) / name)
    with Journal.open(output, manifest) as journal:
        assert journal.recall(0, "key") is None
        (problem,) = journal.problems
        assert problem.startswith(f"{name}: {reason}")
        assert problem.endswith(f"moved aside as {name}.bad, this piece is computed again")
        assert problem in caplog.text
        assert (folder(output) / f"{name}.bad").exists()
        assert journal.recall(0, "key") is None
        assert len(journal.problems) == 1
        journal.commit_piece(0, "key", piece(0, 0), LONG)
        assert_equal(journal.recall(0, "key"), piece(0, 0))
        for unit in units_of(manifest):
            journal.commit(unit, make_payload(manifest, unit))
        journal.consolidate(END)
    assert not folder(output).exists()


def test_a_piece_that_somebody_removed_is_computed_again(output: Path) -> None:
    with Journal.open(output, make_manifest()) as journal:
        journal.commit_piece(0, "key", piece(0, 0), LONG)
        (folder(output) / kept(output)[0]).unlink()
        assert journal.recall(0, "key") is None
        assert "is gone, this piece is computed again" in journal.problems[0]


def test_misuse(output: Path) -> None:
    manifest = make_manifest()
    with Journal.open(output, manifest) as journal:
        for position in (-1, 10):
            with pytest.raises(ResultError, match=f"position: got {position}, outside of the run's 10 samples"):
                journal.commit_piece(position, "key", piece(0, 0), LONG)
    with pytest.raises(ResultError, match="the journal is closed"):
        journal.commit_piece(0, "key", piece(0, 0), LONG)
