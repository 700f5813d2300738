from __future__ import annotations

import errno
import io
import os
import resource
import shutil
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from distverify.errors import ResultError
from distverify.results.blocks import block_places
from distverify.results.files import chunk_shape
from distverify.results.journal.journal import Journal
from distverify.results.reader import open_result
from distverify.work import Plan, WorkUnit
from tests.results.runs import END, commit_all, make_manifest, make_payload, units_of

ROOT = Path(__file__).resolve().parents[2]
FIRST = "00000000-00000004.1.h5"


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """The parts folder of an interrupted run with two of three units."""
    manifest = make_manifest()
    with Journal.open(tmp_path / "out.h5", manifest) as journal:
        for unit in units_of(manifest)[:2]:
            journal.commit(unit, make_payload(manifest, unit))
    return tmp_path / "out.h5.parts"


def flip_data(path: Path) -> None:
    """Change one stored number so that HDF5's own checksum of the block stays right."""
    with h5py.File(path, "r+") as file:
        file["radius"][2] += 1e-9


def flip_byte(path: Path) -> None:
    """Damage the middle of the biggest block."""
    with h5py.File(path) as file:
        at = file["jacobian_lower"].id.get_chunk_info(0).byte_offset
    with path.open("r+b") as raw:
        raw.seek(at + 64)
        raw.write(b"\x55\xaa")


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def replace_by_foreign(path: Path) -> None:
    other = make_manifest(model_digest="f" * 64)
    with Journal.open(path.parent / "other.h5", other) as journal:
        journal.commit(WorkUnit(0, 4), make_payload(other, WorkUnit(0, 4)))
    shutil.copy(path.parent / "other.h5.parts" / FIRST, path)
    shutil.rmtree(path.parent / "other.h5.parts")
    (path.parent / "other.h5").unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncate, "damaged ("),
        (lambda p: p.write_bytes(b""), "file signature not found|truncated|unable to open"),
        (lambda p: p.write_bytes(b"no shard"), "file signature not found"),
        (flip_data, "corrupted: the checksum does not match"),
        (flip_byte, "damaged ("),
        (replace_by_foreign, "foreign: it belongs to another run"),
        (
            lambda p: shutil.copy(p.parent / "00000004-00000008.1.h5", p),
            "foreign: its header tells of another unit",
        ),
    ],
)
def test_a_bad_shard_is_moved_aside_and_computed_again(
    parts: Path, damage: object, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage(parts / FIRST)  # type: ignore[operator]
    manifest = make_manifest()
    output = parts.with_name("out.h5")
    with Journal.open(output, manifest) as journal:
        (problem,) = journal.problems
        assert problem.startswith(FIRST)
        assert any(text in problem for text in reason.split("|"))
        assert problem in caplog.text
        assert (parts / (FIRST + ".bad")).exists()
        assert open_result(output)["status"].tolist() == [0] * 4 + [1] * 4 + [0] * 2
        assert commit_all(journal, manifest) == [WorkUnit(0, 4), WorkUnit(8, 10)]
        journal.consolidate(END)
    truth = make_payload(manifest, WorkUnit(0, 10))
    assert open_result(output)["jacobian_lower"].tobytes() == truth["jacobian_lower"].tobytes()
    assert not parts.exists()


def test_damage_after_the_start_stops_the_consolidation_and_the_next_run_repairs_it(parts: Path) -> None:
    manifest = make_manifest()
    output = parts.with_name("out.h5")
    with Journal.open(output, manifest) as journal:
        commit_all(journal, manifest)
        flip_byte(parts / FIRST)
        with pytest.raises(ResultError, match=rf"{FIRST}: cannot be read .*run the same command again"):
            journal.consolidate(END)
        assert not open_result(output).complete
    with Journal.open(output, manifest) as journal:
        assert commit_all(journal, manifest) == [WorkUnit(0, 4)]
        journal.consolidate(END)
    assert open_result(output).complete


def test_a_damaged_manifest_is_refused(parts: Path) -> None:
    (parts / "manifest.json").write_text("{")
    with pytest.raises(ResultError, match=r"manifest\.json: not a manifest of distverify"):
        Journal.open(parts.with_name("out.h5"), make_manifest())
    assert (parts / FIRST).exists()


class FullDisk(io.FileIO):
    """A disk that is full after ``room`` more bytes."""

    room = 1 << 40

    def write(self, data: object) -> int:
        size = len(memoryview(data))  # type: ignore[arg-type]
        if type(self).room < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        type(self).room -= size
        return super().write(data)  # type: ignore[arg-type]


@pytest.mark.parametrize("room", [0, 100, 3_000, 9_000])
def test_a_full_disk_loses_nothing_committed(parts: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    manifest = make_manifest()
    output = parts.with_name("out.h5")
    with Journal.open(output, manifest) as journal:
        before = sorted(p.name for p in parts.iterdir())
        monkeypatch.setattr("io.FileIO", FullDisk)
        monkeypatch.setattr(FullDisk, "room", room)
        with pytest.raises(ResultError, match=r"No space left on device.*everything committed before"):
            journal.commit(WorkUnit(8, 10), make_payload(manifest, WorkUnit(8, 10)))
        assert sorted(p.name for p in parts.iterdir()) == before
        assert journal.status_counts()["ok"] == 8
        monkeypatch.setattr(FullDisk, "room", 1 << 40)
        journal.commit(WorkUnit(8, 10), make_payload(manifest, WorkUnit(8, 10)))
        monkeypatch.setattr(FullDisk, "room", room)
        with pytest.raises(ResultError, match=r"out\.h5: cannot be written \(No space left"):
            journal.consolidate(END)
        assert not open_result(output).complete
        monkeypatch.setattr(FullDisk, "room", 1 << 40)
        journal.consolidate(END)
    assert open_result(output).summary().counts["ok"] == 10


_LIMITED = """
import resource, sys
from distverify.errors import ResultError
from distverify.results.journal.journal import Journal
from distverify.work import Plan
from distverify.work import WorkUnit
from tests.results.runs import make_manifest, make_payload
manifest = make_manifest()
with Journal.open(sys.argv[1], manifest) as journal:
    payload = make_payload(manifest, WorkUnit(0, 4))
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    for limit in map(int, sys.argv[2:]):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            journal.commit(WorkUnit(0, 4), payload)
        except ResultError as error:
            assert "File too large" in str(error), error
        else:
            raise SystemExit("no error")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    journal.commit(WorkUnit(0, 4), payload)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs file size limits")
def test_the_operating_system_refusing_a_write_does_not_crash_the_process(tmp_path: Path) -> None:
    limits = ["1", "2000", "6000", "9000", "12000"]
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(tmp_path / "out.h5"), *limits],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert open_result(tmp_path / "out.h5")["status"].tolist() == [1] * 4 + [0] * 6


_WRITER = """
import sys
from distverify.results.journal.journal import Journal
from tests.results.runs import END, commit_all, make_manifest, make_payload, units_of
manifest = make_manifest(60, 3)
with Journal.open(sys.argv[1], manifest) as journal:
    if not journal.finished:
        for unit in journal.pending(units_of(manifest)):
            journal.commit(unit, make_payload(manifest, unit))
            print(unit.stop - unit.start, flush=True)
        journal.consolidate(END)
print("finished", flush=True)
"""


@pytest.mark.slow
def test_killed_at_random_points_nothing_committed_is_lost(tmp_path: Path) -> None:
    """The writer is killed again and again, at random moments after its start-up, until it gets through."""
    generator = np.random.default_rng(0)
    output = tmp_path / "out.h5"
    manifest = make_manifest(60, 3)
    truth = make_payload(manifest, WorkUnit(0, 60))
    kept, kills = 0, 0
    for _ in range(40):
        with subprocess.Popen([sys.executable, "-c", _WRITER, str(output)], cwd=ROOT, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            line = writer.stdout.readline()
            confirmed = 0
            for _ in range(int(generator.integers(0, 4))):
                confirmed += 3 if line not in (b"", b"finished\n") else 0
                line = writer.stdout.readline()
            if line != b"finished\n":
                try:
                    writer.wait(timeout=float(generator.uniform(0, 0.02)))
                except subprocess.TimeoutExpired:
                    writer.kill()
                    kills += 1
        with Journal.open(output, manifest) as journal:
            assert journal.status_counts()["ok"] >= kept + confirmed
        result = open_result(output)
        status = result["status"]
        kept = int((status == 1).sum())
        stored = result["jacobian_upper"]
        assert stored[status == 1].tobytes() == truth["jacobian_upper"][status == 1].tobytes()
        assert np.isnan(stored[status == 0]).all()
        if result.complete:
            break
    assert kept == 60
    assert kills >= 5
    with Journal.open(output, manifest) as journal:
        assert journal.finished
        assert journal.problems == ()
    assert [p.name for p in tmp_path.iterdir()] == ["out.h5"]


@pytest.mark.parametrize("step", range(10))
def test_a_crash_at_every_replace_leaves_a_run_that_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Instead of at random moments: before each rename of a run with a retry of failed samples."""
    output = tmp_path / "out.h5"
    manifest = make_manifest(8, 4)

    class Killed(BaseException):
        pass

    count = 0
    real = os.replace

    def counted(source: object, target: object) -> None:
        nonlocal count
        count += 1
        if count == step + 1:
            raise Killed
        real(source, target)  # type: ignore[arg-type]

    def session(status: int, retry: bool) -> None:
        journal = Journal.open(output, manifest, retry_failed=retry)
        try:
            if not journal.finished:
                commit_all(journal, manifest, status=status)
                journal.consolidate(END)
            journal.close()
        finally:
            journal._lock.release()

    def sessions() -> None:
        session(3, False)
        session(1, True)

    monkeypatch.setattr("distverify.results.journal.publication.MASTER_SHARE", np.inf)  # no thread that writes later
    monkeypatch.setattr(os, "replace", counted)
    with pytest.raises(Killed):
        sessions()
    monkeypatch.setattr(os, "replace", real)
    sessions()
    assert open_result(output).summary().counts["ok"] == 8
    assert [p.name for p in tmp_path.iterdir()] == ["out.h5"]


@pytest.mark.slow
def test_memory_and_time_of_a_long_run(tmp_path: Path) -> None:
    """200 shards: committed, resumed and consolidated in bounded memory (a shard is 0.8 MB, the result 157
    MB).
    """
    script = """
import sys, time
from tests.memory import peak_bytes
from dataclasses import replace
from distverify.results.journal.journal import Journal
from tests.results.runs import END, make_manifest, make_payload, units_of
manifest = make_manifest(1000, 5, compute=("jacobian",), input_size=490, output_size=10)
journal = Journal.open(sys.argv[1], manifest)
payload = make_payload(manifest, units_of(manifest)[0])
t0 = time.perf_counter()
for unit in units_of(manifest):
    journal.commit(unit, payload)
t1 = time.perf_counter()
journal.close()
journal = Journal.open(sys.argv[1], manifest)
assert list(journal.pending(units_of(manifest))) == []
t2 = time.perf_counter()
before = peak_bytes()
journal.consolidate(END)
journal.close()
t3 = time.perf_counter()
grown = peak_bytes() - before
print((t1 - t0) / 200 * 1e3, t2 - t1, t3 - t2, grown / 2**20)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "out.h5")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    commit_ms, resume, consolidate, grown_mb = map(float, done.stdout.split())
    print(f"commit {commit_ms:.1f} ms, resume {resume:.2f} s, end {consolidate:.2f} s, {grown_mb:.0f} MB")
    assert grown_mb < 120  # a few blocks of 32 MB; the result has 157 MB
    assert consolidate < 60
    assert (tmp_path / "out.h5").stat().st_size > 150e6


def test_chunks_hold_whole_matrices_within_the_limit() -> None:
    assert chunk_shape((60000,), 8, 1 << 18) == (32768,)
    assert chunk_shape((100, 2, 10, 784), 8, 1 << 18) == (2, 2, 10, 784)
    assert chunk_shape((3,), 8) == (3,)
    big = chunk_shape((5, 1, 1000, 150528), 8, 1 << 18)
    assert big == (1, 1, 1, 32768)


@pytest.mark.parametrize("limit", [1, 8, 40, 100, 240, 10_000])
@pytest.mark.parametrize("shape", [(7,), (1, 30), (3, 4, 5), (2, 1, 3, 4), (0, 4), (3, 0)])
def test_block_places_cover_an_array_once_in_c_order(shape: tuple[int, ...], limit: int) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    found = [array[where] for where in block_places(shape, 8, limit)]
    assert all(block.nbytes <= max(limit, 8) for block in found)
    assert b"".join(block.tobytes() for block in found) == array.tobytes()


@pytest.mark.slow
def test_a_sample_larger_than_a_block_is_checked_and_consolidated_in_parts(tmp_path: Path) -> None:
    manifest = make_manifest(2, 1, compute=("jacobian",), input_size=600_000, output_size=4, eps=(0.01, 0.02))
    truth = make_payload(manifest, WorkUnit(0, 2))  # 77 MB per sample
    with Journal.open(tmp_path / "out.h5", manifest) as journal:
        commit_all(journal, manifest)
    with Journal.open(tmp_path / "out.h5", manifest) as journal:
        assert journal.problems == ()
        assert list(journal.pending(units_of(manifest))) == []
        tracemalloc.start()
        try:
            journal.consolidate(END)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    result = open_result(tmp_path / "out.h5")
    for name in ("jacobian_lower", "jacobian_upper"):
        assert result[name].tobytes() == truth[name].tobytes()
    assert result["hull_lower"].tobytes() == truth["jacobian_lower"].min(axis=0).tobytes()
    assert peak < 120e6  # a few blocks of 32 MB; a row of one variable has 38 MB, the result 154 MB


def test_the_run_id_is_the_computation_not_its_circumstances() -> None:
    manifest = make_manifest()
    assert (
        replace(manifest, model="x", data="y", plan=Plan(10, 1), created=END, environment={}).run_id == manifest.run_id
    )
    assert replace(manifest, indices=(1,)).run_id != manifest.run_id
