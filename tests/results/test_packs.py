"""Runs of many units: shards are merged while they go on, and whatever happens between two steps loses nothing."""

from __future__ import annotations

import errno
import fcntl
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from distverify.errors import ResultError
from distverify.results.journal.journal import Journal
from distverify.results.journal.packs import choose
from distverify.results.journal.shards import FINISHED
from distverify.results.reader import open_result
from distverify.status import FAILED, OK
from distverify.work import WorkUnit
from tests.results.runs import END, commit_all, make_manifest, make_payload, units_of
from tests.results.test_journal import assert_holds, parts_of

MOST = 4


@pytest.fixture(autouse=True)
def few_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few files in a view, which follows every commit."""
    monkeypatch.setattr("distverify.results.journal.publication.MOST_FILES", MOST)
    monkeypatch.setattr("distverify.results.journal.publication.MASTER_SHARE", np.inf)
    for module in ("journal", "older"):
        monkeypatch.setattr(f"distverify.results.journal.{module}.VIEW_PATIENCE", 0.0)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.h5"


def files_of(output: Path) -> list[str]:
    return sorted(path.name for path in parts_of(output).glob("*.h5"))


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([], []),
        ([0, 0, 0, 0], []),
        ([0, 0, 0, 0, 0], [0, 1, 2, 3, 4]),
        ([1, 0, 0, 0, 1], [1, 2, 3]),
        ([1, 1, 0, 0, 2], [2, 3]),
        ([1, 1, 1, 0, 0], [0, 1, 2]),
        ([FINISHED, 0, 1, 2, 3], []),
        ([FINISHED, 0, 0, 1, 2], [1, 2]),
    ],
)
def test_the_most_populous_level_is_merged_when_files_are_too_many(levels: list[int], expected: list[int]) -> None:
    assert choose(levels, MOST) == expected


@pytest.mark.parametrize(("units", "most", "rewritten"), [(100, 100, 0), (3_000, 100, 1.0), (20_000, 100, 2.0)])
def test_rows_are_rewritten_a_few_times(units: int, most: int, rewritten: float) -> None:
    files: list[tuple[int, int]] = []  # level, rows
    written = 0
    for _ in range(units):
        files.append((0, 1))
        while chosen := choose([level for level, _ in files], most):
            rows = sum(files[k][1] for k in chosen)
            level = 1 + files[chosen[0]][0]
            files = [own for k, own in enumerate(files) if k not in chosen] + [(level, rows)]
            written += rows
        assert len(files) <= most
    assert sum(rows for _, rows in files) == units
    assert written <= rewritten * units


@pytest.mark.slow
def test_every_moment_shows_what_is_committed_through_few_files(output: Path) -> None:
    manifest = make_manifest(30, 1)
    truth = make_payload(manifest, WorkUnit(0, 30))
    order = np.random.default_rng(0).permutation(30).tolist()
    with Journal.open(output, manifest) as journal:
        for k, position in enumerate(order):
            unit = WorkUnit(position, position + 1)
            journal.commit(unit, make_payload(manifest, unit))
            done = np.isin(np.arange(30), order[: k + 1])
            assert len(files_of(output)) <= MOST
            with open_result(output).at_one_moment() as moment:
                assert ((moment["status"] == OK) == done).all()
                for name in ("radius", "jacobian_upper", "crown_evaluations"):
                    assert moment[name][done].tobytes() == truth[name][done].tobytes()
                assert np.isnan(moment["radius"][~done]).all()
                assert np.array_equal(moment.hull()[0], truth["jacobian_lower"][done].min(axis=0))
        journal.consolidate(END)
    assert_holds(output, manifest)
    assert open_result(output)["hull_upper"].tobytes() == truth["jacobian_upper"].max(axis=0).tobytes()
    assert [path.name for path in output.parent.iterdir()] == ["out.h5"]


def test_retried_samples_override_what_was_merged(output: Path) -> None:
    manifest = make_manifest(12, 1)
    with Journal.open(output, manifest) as journal:
        for unit in units_of(manifest):
            status = FAILED if unit.start % 3 == 0 else OK
            journal.commit(unit, make_payload(manifest, unit, status=status, seed=9 if status == FAILED else 0))
    with Journal.open(output, manifest) as journal:
        assert list(journal.pending(units_of(manifest))) == []
    with Journal.open(output, manifest, retry_failed=True) as journal:
        assert [unit.start for unit in journal.pending(units_of(manifest))] == [0, 3, 6, 9]
        journal.commit(WorkUnit(3, 4), make_payload(manifest, WorkUnit(3, 4)))
    with Journal.open(output, manifest) as journal:
        assert journal.status_counts()["failed"] == 3, "not lost, though they were pending again and files were merged"
    with Journal.open(output, manifest, retry_failed=True) as journal:
        commit_all(journal, manifest)
        journal.consolidate(END)
    assert_holds(output, manifest)


class Killed(BaseException):
    """The process is gone: nothing after this happens."""


class Steps:
    """Counts the calls that change the disk; at one of them something happens instead."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, at: int | None = None, happens: Callable[[], None] | None = None
    ):
        self.count = 0
        self.at, self.happens = at, happens
        for name in ("replace", "fsync", "link", "unlink"):
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            self.count += 1
            if self.happens is not None and self.count == self.at:
                self.happens()
            return real(*arguments, **keywords)

        return call


@pytest.fixture
def fewer_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distverify.results.journal.publication.MOST_FILES", 2)


def session(output: Path, confirmed: list[WorkUnit]) -> None:
    manifest = make_manifest(6, 1, compute=("radius",))
    journal = Journal.open(output, manifest)
    try:
        if not journal.finished:
            for unit in list(journal.pending(units_of(manifest))):
                journal.commit(unit, make_payload(manifest, unit))
                confirmed.append(unit)
            journal.consolidate(END)
        journal.close()
    finally:
        journal._lock.release()  # of a process that is gone nothing else is left to do


def disk_steps(tmp_path: Path) -> int:
    with pytest.MonkeyPatch.context() as patch:
        steps = Steps(patch)
        session(tmp_path / "counted.h5", [])
    (tmp_path / "counted.h5").unlink()
    return steps.count


def kill() -> None:
    raise Killed


def refuse() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.slow
@pytest.mark.usefixtures("fewer_files")
@pytest.mark.parametrize("part", range(8))
def test_killed_before_any_step_on_the_disk_nothing_committed_is_lost(tmp_path: Path, output: Path, part: int) -> None:
    manifest = make_manifest(6, 1, compute=("radius",))
    total = disk_steps(tmp_path)
    assert total > 60
    for step in range(1 + part, total + 1, 8):
        confirmed: list[WorkUnit] = []
        with pytest.MonkeyPatch.context() as patch:
            Steps(patch, step, kill)
            with pytest.raises(Killed):
                session(output, confirmed)
        if output.exists():  # a reader sees some moment, whatever was left
            with open_result(output).at_one_moment() as moment:
                done = moment["status"] == OK
                truth = make_payload(manifest, WorkUnit(0, 6))["radius"]
                assert moment["radius"][done].tobytes() == truth[done].tobytes()
                assert np.isnan(moment["radius"][~done]).all()
        with Journal.open(output, manifest) as journal:
            assert journal.problems == ()
            assert journal.status_counts()["ok"] >= len(confirmed), step
        session(output, [])
        assert_holds(output, manifest)
        assert [path.name for path in tmp_path.iterdir()] == ["out.h5"], step
        output.unlink()


@pytest.mark.slow
@pytest.mark.usefixtures("fewer_files")
@pytest.mark.parametrize("part", range(8))
def test_a_disk_that_refuses_any_one_step_loses_nothing(tmp_path: Path, output: Path, part: int) -> None:
    manifest = make_manifest(6, 1, compute=("radius",))
    told: Counter[str] = Counter()
    steps = range(1 + part, disk_steps(tmp_path) + 1, 8)
    for step in steps:
        confirmed: list[WorkUnit] = []
        with pytest.MonkeyPatch.context() as patch:
            Steps(patch, step, refuse)
            with suppress(ResultError, OSError):
                session(output, confirmed)
                told["went on"] += 1  # a second name for a view, say: not worth the run
        with Journal.open(output, manifest) as journal:
            assert journal.problems == ()
            assert journal.status_counts()["ok"] >= len(confirmed), step
        session(output, [])
        assert_holds(output, manifest)
        output.unlink()
    assert told["went on"] < len(steps) / 2


@pytest.mark.slow
def test_a_damaged_pack_is_not_merged_and_is_found_by_the_next_run(output: Path) -> None:
    manifest = make_manifest(40, 1, compute=("radius",))
    with Journal.open(output, manifest) as journal:
        units = iter(units_of(manifest))
        while not (packs := [name for name in files_of(output) if name.startswith("pack")]):
            unit = next(units)
            journal.commit(unit, make_payload(manifest, unit))
        with h5py.File(parts_of(output) / packs[0], "r+") as file:
            file["radius"][1] += 1e-9  # HDF5's own checksum is right
        held = file_positions(parts_of(output) / packs[0])
        with pytest.raises(
            ResultError, match=rf"{packs[0]}: cannot be read \(the checksum does not match\); run the same"
        ):
            commit_all(journal, manifest)
        count = journal.status_counts()["ok"]
    with Journal.open(output, manifest) as journal:
        assert [problem.partition(":")[0] for problem in journal.problems] == packs[:1]
        assert journal.status_counts()["ok"] == count - len(held)
        commit_all(journal, manifest)
        journal.consolidate(END)
    assert_holds(output, manifest)


def file_positions(path: Path) -> list[int]:
    with h5py.File(path) as file:
        return list(file["position"][:].tolist())


def test_an_open_view_keeps_its_files_until_it_is_closed(output: Path) -> None:
    manifest = make_manifest(20, 1, compute=("radius",))
    truth = make_payload(manifest, WorkUnit(0, 20))["radius"]
    with Journal.open(output, manifest) as journal:
        for unit in units_of(manifest)[:3]:
            journal.commit(unit, make_payload(manifest, unit))
        with h5py.File(output) as view:
            for unit in units_of(manifest)[3:]:
                journal.commit(unit, make_payload(manifest, unit))
            assert view["radius"][:3].tolist() == truth[:3].tolist()
            assert np.isnan(view["radius"][3:]).all()
            assert len(files_of(output)) > MOST
        commit_all(journal, manifest)
        journal.consolidate(END)
    assert not parts_of(output).exists()


def test_a_view_that_is_open_at_the_end_keeps_the_folder(output: Path, caplog: pytest.LogCaptureFixture) -> None:
    manifest = make_manifest(3, 1, compute=("radius",))
    journal = Journal.open(output, manifest)
    commit_all(journal, manifest)
    with h5py.File(output) as view:
        journal.consolidate(END)
        journal.close()
        assert "stays, for a program still has the view of the unfinished run open" in caplog.text
        assert (view["status"][:] == OK).all()
        with Journal.open(output, manifest) as again:
            assert again.finished
        with pytest.raises(ResultError, match="a program still has the view of an unfinished run open"):
            Journal.open(output, manifest, overwrite=True)
        assert (view["status"][:] == OK).all()
        assert open_result(output).complete
    with Journal.open(output, manifest) as again:
        assert again.finished
    assert not parts_of(output).exists()


def test_overwriting_waits_for_programs_that_have_the_view_open(output: Path) -> None:
    manifest = make_manifest(3, 1, compute=("radius",))
    with Journal.open(output, manifest) as journal:
        journal.commit(WorkUnit(0, 1), make_payload(manifest, WorkUnit(0, 1)))
    with h5py.File(output) as view:
        with pytest.raises(ResultError, match="close it there, or choose another output"):
            Journal.open(output, manifest, overwrite=True)
        assert view["status"][:].tolist() == [1, 0, 0]
    assert open_result(output)["status"].tolist() == [1, 0, 0], "nothing was touched"
    with Journal.open(output, manifest, overwrite=True) as journal:
        assert journal.status_counts()["pending"] == 3


def test_a_view_of_the_past_that_is_opened_late_is_an_error(output: Path, tmp_path: Path) -> None:
    """A program finds the file, stands still, and opens it when all is over."""
    manifest = make_manifest(3, 1, compute=("radius",))
    with Journal.open(output, manifest) as journal:
        commit_all(journal, manifest)
        late = os.open(output, os.O_RDONLY)
        journal.consolidate(END)
    try:
        fcntl.flock(late, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with pytest.raises(OSError, match="signature"):
            h5py.File(f"/proc/self/fd/{late}", "r")
    finally:
        os.close(late)


def test_without_hard_links_runs_go_on(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "link", refused)
    manifest = make_manifest(12, 1)
    with Journal.open(output, manifest) as journal:
        commit_all(journal, manifest)
        assert len(files_of(output)) <= MOST
        journal.consolidate(END)
    assert_holds(output, manifest)
