from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from distverify.errors import ResultError
from distverify.results.journal import pieces as pieces_module
from distverify.results.journal.journal import Journal
from distverify.results.journal.pieces import PieceStore
from distverify.results.journal.shards import write_shard
from distverify.results.reader import open_result
from distverify.work import Payload, Plan, WorkUnit
from tests.results.runs import END, make_manifest, make_payload, units_of
from tests.results.test_shards import FullDisk

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


@pytest.mark.parametrize("room", [0, 100, 500])
def test_a_full_disk_loses_no_piece(output: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    with Journal.open(output, make_manifest()) as journal:
        journal.commit_piece(0, "first", piece(0, 0), LONG)
        before = sorted(p.name for p in folder(output).iterdir())
        monkeypatch.setattr("io.FileIO", FullDisk)
        monkeypatch.setattr(FullDisk, "room", room)
        with pytest.raises(ResultError, match=r"\.piece: cannot be written \(No space left on device\).*make room"):
            journal.commit_piece(0, "second", piece(0, 1, rows=300), LONG)
        monkeypatch.undo()
        assert sorted(p.name for p in folder(output).iterdir()) == before
        assert_equal(journal.recall(0, "first"), piece(0, 0))
        assert journal.recall(0, "second") is None


@pytest.mark.parametrize("step", range(9))
def test_a_crash_at_every_replace_loses_no_piece(output: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Killed before each rename of a run of two samples in two pieces each, and continued."""
    manifest = make_manifest(2, compute=("radius",))
    renames, computed, confirmed = 0, [], []
    real = os.replace

    class Killed(BaseException):
        pass

    def counted(source: object, target: object) -> None:
        nonlocal renames
        renames += 1
        if renames == step + 1:
            raise Killed
        real(source, target)  # type: ignore[arg-type]

    def run() -> None:
        journal = Journal.open(output, manifest)
        try:
            if journal.manifest.plan is None:
                journal.record_plan(Plan(2, 1, pieces=2))
            for unit in journal.pending(units_of(journal.manifest)):
                for number in range(2):
                    found = journal.recall(unit.start, f"key {number}")
                    if found is None:
                        computed.append((unit.start, number))
                        journal.commit_piece(unit.start, f"key {number}", piece(unit.start, number), LONG)
                        confirmed.append((unit.start, number))
                    else:
                        assert_equal(found, piece(unit.start, number))
                journal.commit(unit, make_payload(manifest, unit))
            journal.consolidate(END)
            journal.close()
        finally:
            journal._lock.release()

    # The process survives here, and so would its thread that brings the master up to date later.
    monkeypatch.setattr("distverify.results.journal.publication.MASTER_SHARE", np.inf)
    monkeypatch.setattr(os, "replace", counted)
    with pytest.raises(Killed):
        run()
    monkeypatch.setattr(os, "replace", real)
    run()
    assert len(set(confirmed)) == len(confirmed) == 4, "none that was kept is computed again"
    assert len(computed) <= 5
    assert open_result(output).complete
    assert [p.name for p in output.parent.iterdir()] == ["out.h5"]


_WRITER = """
import sys
from distverify.results.journal.journal import Journal
from tests.results.runs import make_manifest
from tests.results.test_pieces import LONG, piece
with Journal.open(sys.argv[1], make_manifest(200)) as journal:
    for number in range(4000):
        position = number % 200
        if journal.recall(position, str(number)) is None:
            journal.commit_piece(position, str(number), piece(position, number), LONG)
            print(number, flush=True)
"""


@pytest.mark.slow
def test_killed_at_random_points_no_piece_is_lost(output: Path) -> None:
    generator = np.random.default_rng(1)
    confirmed: list[int] = []
    for _ in range(6):
        arguments = [sys.executable, "-c", _WRITER, str(output)]
        with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            confirmed.append(int(writer.stdout.readline()))
            with pytest.raises(subprocess.TimeoutExpired):
                writer.wait(timeout=float(generator.uniform(0, 0.05)))
            writer.kill()
            confirmed += [int(line) for line in writer.stdout if line.endswith("\n")]
        with Journal.open(output, make_manifest(200)) as journal:
            for number in confirmed:
                assert_equal(journal.recall(number % 200, str(number)), piece(number % 200, number))
            assert journal.problems == ()
            assert journal.pieces_kept <= len(confirmed) + 6  # one more each time, written but not confirmed
            assert not list(folder(output).glob("*.tmp"))
    assert len(confirmed) > 20
    assert len(set(confirmed)) == len(confirmed)


def test_large_pieces_and_shards_go_to_disk_without_a_copy_in_memory(tmp_path: Path) -> None:
    large = {"lower": np.zeros((1000, 4000)), "upper": np.zeros((4000, 1000)).T}  # 32 MB each
    manifest = make_manifest(4, compute=("jacobian",), input_size=100_000, output_size=5)  # 64 MB
    payload = make_payload(manifest, WorkUnit(0, 4))
    store = PieceStore(tmp_path, "run")
    tracemalloc.start()
    try:
        store.keep(0, "key", large)
        assert tracemalloc.get_traced_memory()[1] < 20e6
        tracemalloc.reset_peak()
        assert_equal(store.recall(0, "key"), large)
        recalled = tracemalloc.get_traced_memory()[1]
        assert recalled < 64e6 + 70e6  # the arrays, and the bytes that the comparison makes
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        write_shard(tmp_path, WorkUnit(0, 4), 1, payload, manifest)
        assert tracemalloc.get_traced_memory()[1] - before < 10e6
    finally:
        tracemalloc.stop()


def test_no_more_than_a_block_of_a_damaged_file_is_read_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header that asks for terabytes is not believed before the checksum."""
    store = PieceStore(tmp_path, "run")
    store.keep(0, "key", {"a": np.zeros(4)})
    (path,) = tmp_path.glob("*.piece")
    path.write_bytes(path.read_bytes().replace(b"(4,), ", b"(4" + b"0" * 12 + b",), "))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("was read")

    monkeypatch.setattr(pieces_module.np.lib.format, "read_array", refuse)
    with pytest.raises(ResultError, match="corrupted: the checksum does not match"):
        store.recall(0, "key")
