"""What a continued run finds damaged, foreign or gone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from tests.faults.harness import CHECKOUT, Case, Run, assert_like_truth, complete, start

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def interrupted(prepared: Case, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A run that was killed when it had committed several units."""
    case = prepared.copy(tmp_path_factory.mktemp("interrupted") / "case")
    with start(case, "--executor", "serial", seconds=0.1) as run:
        run.wait_until(lambda: len(shards(case)) >= 3)
        run.kill()
    assert len(case.committed()) < case.samples
    return case


@pytest.fixture
def continued(interrupted: Case, tmp_path: Path) -> Case:
    """The same in a folder of this test, with a log that begins anew."""
    case = interrupted.copy(tmp_path / "case")
    case.log.unlink()
    return case


def shards(case: Case) -> list[Path]:
    return sorted(case.parts.glob("????????-????????.*.h5"))


def samples_of(shard: Path) -> set[int]:
    first, last = shard.name.split(".")[0].split("-")
    return set(range(int(first), int(last)))


def continue_it(case: Case, expected: set[int]) -> Run:
    """Run to the end; exactly ``expected`` are computed."""
    run = complete(case, "--executor", "serial")
    assert run.process.returncode == 0, run.errors
    assert sorted(b.index for b in case.begun()) == sorted(expected)
    assert_like_truth(case)
    return run


def truncate(shard: Path, case: Case) -> None:
    with shard.open("r+b") as file:
        file.truncate(shard.stat().st_size // 2)


def corrupt(shard: Path, case: Case) -> None:
    """One wrong number, with every checksum of HDF5 in order."""
    with h5py.File(shard, "r+") as file:
        file["radius"][0] += 1e-9


def scratch(shard: Path, case: Case) -> None:
    """One wrong bit in a block of numbers."""
    with h5py.File(shard) as file:
        chunk = file["jacobian_lower"].id.get_chunk_info(0)
    with shard.open("r+b") as file:
        file.seek(chunk.byte_offset + 3)
        byte = file.read(1)[0]
        file.seek(chunk.byte_offset + 3)
        file.write(bytes([byte ^ 4]))


def exchange(shard: Path, case: Case) -> None:
    """The same samples, computed with another norm."""
    other = Case(case.folder / "other", case.samples)
    with start(other, "--executor", "serial", "--norm", "2", seconds=0.1) as run:
        run.wait_until(lambda: shards(other))
        run.kill()
    shutil.copy(shards(other)[0], shard)


@pytest.mark.parametrize("damage", [truncate, corrupt, scratch, exchange])
def test_a_bad_shard_is_told_of_and_computed_again(continued: Case, damage: object) -> None:
    bad = shards(continued)[1]
    pending = set(range(continued.samples)) - continued.committed()
    assert callable(damage)
    damage(bad, continued)
    run = continue_it(continued, pending | samples_of(bad))
    assert f"{bad.name}: " in run.errors
    assert f"moved aside as {bad.name}.bad, its samples are computed again" in run.errors
    if damage is exchange:
        assert "foreign: it belongs to another run" in run.errors


def test_a_result_file_that_was_deleted_is_made_again_from_the_shards(continued: Case) -> None:
    pending = set(range(continued.samples)) - continued.committed()
    continued.output.unlink()
    continue_it(continued, pending)


def test_a_parts_folder_that_was_deleted_is_told_of_and_computed_again(continued: Case) -> None:
    shutil.rmtree(continued.parts)
    command = [sys.executable, "-m", "distverify", "show", str(continued.output)]
    shown = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)
    assert shown.returncode == 2
    assert "out.h5.parts" in shown.stderr
    assert "Traceback" not in shown.stderr
    refused = complete(continued, "--executor", "serial", "--norm", "2")  # it is not anybody's
    assert refused.process.returncode == 2
    assert "norm: this run has 2.0; the interrupted run has inf" in refused.errors
    assert continued.begun() == []
    continue_it(continued, set(range(continued.samples)))


def test_a_manifest_that_was_damaged_is_refused_and_nothing_touched(continued: Case) -> None:
    manifest = continued.parts / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text[: len(text) // 2])
    committed = continued.committed()
    refused = complete(continued, "--executor", "serial")
    assert refused.process.returncode == 2
    assert f"{manifest}: not a manifest of distverify" in refused.errors
    assert (continued.begun(), continued.committed()) == ([], committed)
