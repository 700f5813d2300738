"""An old result at the place of a run stays as it is until the run has something to keep."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distverify.errors import ResultError
from distverify.results.journal.journal import KEEP_SECONDS, Journal
from distverify.results.reader import open_result
from distverify.status import FAILED
from distverify.work import WorkUnit
from tests.results.runs import END, commit_all, finish, make_manifest, make_payload, units_of
from tests.results.test_journal import assert_holds, parts_of
from tests.results.test_pieces import piece

OLD, NEW = make_manifest(8, 4, compute=("radius",)), make_manifest(6, 2, compute=("lipschitz",))
FIRST = WorkUnit(0, 2)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.h5"


def finished(output: Path) -> None:
    finish(output, OLD)


def unfinished(output: Path) -> None:
    with Journal.open(output, OLD) as journal:
        journal.commit(WorkUnit(0, 4), make_payload(OLD, WorkUnit(0, 4)))
        journal.commit_piece(5, "key", piece(5, 0), 2 * KEEP_SECONDS)


def not_ours(output: Path) -> None:
    output.write_text("precious notes")


def with_failures(output: Path) -> None:
    with Journal.open(output, OLD) as journal:
        journal.commit(WorkUnit(0, 4), make_payload(OLD, WorkUnit(0, 4)))
        journal.commit(WorkUnit(4, 8), make_payload(OLD, WorkUnit(4, 8), status=FAILED, message="lost"))
        journal.consolidate(END)


def all_files(output: Path) -> dict[Path, bytes]:
    """What is there, but for the lock."""
    return {p: p.read_bytes() for p in output.parent.rglob("*") if p.is_file() and p.name != "lock"}


CASES = pytest.mark.parametrize(
    ("old", "manifest", "options"),
    [
        (finished, NEW, {"overwrite": True}),
        (finished, OLD, {"overwrite": True}),
        (unfinished, NEW, {"overwrite": True}),
        (unfinished, OLD, {"overwrite": True}),
        (not_ours, NEW, {"overwrite": True}),
        (with_failures, OLD, {"retry_failed": True}),
    ],
)


@CASES
@pytest.mark.parametrize("end", [Journal.abandon, Journal.close])
def test_a_run_that_computes_nothing_leaves_it(
    output: Path, old: Callable[[Path], None], manifest: Any, options: dict[str, bool], end: Callable[[Journal], None]
) -> None:
    old(output)
    before, folder = all_files(output), parts_of(output).exists()
    journal = Journal.open(output, manifest, **options)
    assert journal.status_counts()["pending"] == (4 if "retry_failed" in options else manifest.samples)
    assert not journal.begun
    assert not journal.kept
    assert not journal.removed
    assert journal.recall(5, "key") is None
    assert journal.manifest.plan is not None
    journal.record_plan(journal.manifest.plan)
    assert all_files(output) == before
    end(journal)
    assert all_files(output) == before
    assert parts_of(output).exists() == folder
    with Journal.open(output, manifest, **options):  # nobody is kept out
        pass


@CASES
def test_it_gives_way_to_the_first_sample(
    output: Path, old: Callable[[Path], None], manifest: Any, options: dict[str, bool]
) -> None:
    old(output)
    with Journal.open(output, manifest, **options) as journal:
        unit = next(journal.pending(manifest.plan.units()))
        journal.commit(unit, make_payload(manifest, unit, seed=1))
        assert journal.begun
        assert journal.kept
    assert not open_result(output).complete
    assert open_result(output).provenance["run_id"] == manifest.run_id
    with Journal.open(output, manifest) as journal:  # and goes on from there
        commit_all(journal, manifest, seed=1)
        journal.consolidate(END)
    if not options.get("retry_failed"):
        assert_holds(output, manifest, seed=1)
    assert open_result(output).complete
    assert os.listdir(output.parent) == ["out.h5"]


@pytest.mark.parametrize("old", [finished, unfinished])
def test_it_gives_way_to_a_piece_of_a_sample(output: Path, old: Callable[[Path], None]) -> None:
    old(output)
    with Journal.open(output, NEW, overwrite=True) as journal:
        journal.commit_piece(0, "other", piece(0, 1), 2 * KEEP_SECONDS)
        assert journal.kept
    with Journal.open(output, NEW) as journal:
        assert journal.recall(0, "other") is not None


@pytest.mark.parametrize(("old", "options"), [(finished, {"overwrite": True}), (with_failures, {"retry_failed": True})])
def test_a_disk_that_refuses_the_first_sample_leaves_a_finished_one(
    output: Path, monkeypatch: pytest.MonkeyPatch, old: Callable[[Path], None], options: dict[str, bool]
) -> None:
    old(output)
    before = output.read_bytes()
    replace = os.replace

    def full(source: Any, target: Any) -> None:
        if str(target).endswith(".1.h5"):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    journal = Journal.open(output, OLD, **options)
    unit = next(journal.pending(units_of(OLD)))
    with pytest.raises(ResultError, match="No space left"):
        journal.commit(unit, make_payload(OLD, unit))
    journal.abandon()
    journal.close()
    assert output.read_bytes() == before


def test_what_was_killed_before_its_first_sample_leaves_it(output: Path) -> None:
    finished(output)
    before = output.read_bytes()
    pid = os.fork()
    if pid == 0:
        Journal.open(output, NEW, overwrite=True)
        os._exit(0)
    os.waitpid(pid, 0)
    assert output.read_bytes() == before
    with Journal.open(output, OLD) as journal:
        assert journal.finished
    assert os.listdir(output.parent) == ["out.h5"]
