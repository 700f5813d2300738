from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from distverify.errors import ResultError
from distverify.results.journal import publication
from distverify.results.journal.journal import Journal
from distverify.results.manifest import Manifest
from distverify.results.reader import open_result
from distverify.results.schema import variables_for
from distverify.status import FAILED, MISCLASSIFIED, NOT_COMPUTED, OK, TIMED_OUT
from distverify.work import Plan, WorkUnit
from tests.results.runs import END, START, commit_all, finish, make_manifest, make_payload, units_of


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


def test_a_whole_run_is_bit_equal_and_leaves_one_file(output: Path) -> None:
    manifest = make_manifest()
    finish(output, manifest)
    assert_holds(output, manifest)
    assert [p.name for p in output.parent.iterdir()] == ["out.h5"]
    result = open_result(output)
    assert result["sample"].tolist() == list(range(100, 110))
    assert result["eps"].tolist() == [0.005, 0.01]
    with h5py.File(output) as file:
        assert not any(file[name].is_virtual for name in file)
        assert all(file[v.name].fletcher32 for v in variables_for(manifest.settings))


@pytest.mark.parametrize("special", [-0.0, 5e-324, np.inf, -np.inf, np.nextafter(1.0, 2.0)])
def test_special_values_come_back_bit_by_bit(output: Path, special: float) -> None:
    manifest = make_manifest(4, compute=("radius",))
    payload = make_payload(manifest, WorkUnit(0, 4))
    payload["radius"][1] = special
    payload["radius"][2] = np.array([0x7FF80000DEADBEEF], dtype=np.uint64).view(np.float64)[0]  # a NaN with a payload
    with Journal.open(output, manifest) as journal:
        journal.commit(WorkUnit(0, 4), payload)
        journal.consolidate(END)
    assert open_result(output)["radius"].tobytes() == payload["radius"].tobytes()


def test_resume_computes_the_rest_only(output: Path) -> None:
    manifest = make_manifest()
    with Journal.open(output, manifest) as journal:
        assert list(journal.pending(units_of(manifest))) == units_of(manifest)
        journal.commit(WorkUnit(4, 8), make_payload(manifest, WorkUnit(4, 8)))
        assert journal.status_counts() == {
            "pending": 6,
            "ok": 4,
            "misclassified": 0,
            "failed": 0,
            "timed_out": 0,
            "undecided": 0,
        }
    later = replace(manifest, created=END)
    with Journal.open(output, later) as journal:
        assert not journal.finished
        assert journal.manifest.created == START
        assert commit_all(journal, manifest) == [WorkUnit(0, 4), WorkUnit(8, 10)]
        journal.consolidate(END)
    assert_holds(output, manifest)


def test_a_resumed_run_keeps_its_plan(output: Path) -> None:
    first = make_manifest(20)
    plan = Plan(20, 5, workers=7, seconds_per_sample=0.25, bytes_per_sample=1000)
    with Journal.open(output, first) as journal:
        assert journal.manifest.plan is None
        journal.record_plan(plan)
        assert journal.manifest.plan == plan
    with Journal.open(output, first) as journal:
        assert journal.manifest.plan == plan
    with Journal.open(output, replace(first, plan=Plan(20, 10))) as journal:
        assert journal.manifest.plan == plan
    with Journal.open(output, first, overwrite=True) as journal:
        assert journal.manifest.plan is None
        journal.commit(WorkUnit(0, 4), make_payload(first, WorkUnit(0, 4)))
    with Journal.open(output, replace(first, plan=Plan(20, 10))) as journal:  # the interrupted one had none
        assert journal.manifest.plan == Plan(20, 10)


@pytest.mark.parametrize("pieces", [1, 6])
def test_another_plan_keeps_what_is_there(output: Path, pieces: int) -> None:
    manifest = make_manifest(20, 4)
    with Journal.open(output, manifest) as journal:
        for unit in (WorkUnit(4, 8), WorkUnit(12, 16)):
            journal.commit(unit, make_payload(manifest, unit))
    with Journal.open(output, manifest) as journal:
        journal.record_plan(Plan(20, 10, pieces))
        edges = [(0, 4), (8, 10), (10, 12), (16, 20)]
        expected = [WorkUnit(start, stop, pieces) for start, stop in edges]
        assert list(journal.pending(units_of(journal.manifest))) == expected
        commit_all(journal, journal.manifest)
        journal.consolidate(END)
    assert_holds(output, manifest)


def test_a_plan_for_other_samples_is_refused(output: Path) -> None:
    with Journal.open(output, make_manifest(20)) as journal:
        with pytest.raises(ResultError, match="plan: is for 10 samples; the run has 20"):
            journal.record_plan(Plan(10, 5))
        assert journal.manifest.plan is None


def test_a_plan_that_the_disk_does_not_take_leaves_the_old_one(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = make_manifest(20, 4)
    with Journal.open(output, manifest) as journal:
        before = (parts_of(output) / "manifest.json").read_bytes()
        monkeypatch.setattr(os, "replace", _refuse)
        with pytest.raises(ResultError, match=r"manifest\.json: cannot be written \(No space"):
            journal.record_plan(Plan(20, 10))
        monkeypatch.undo()
        assert journal.manifest.plan == Plan(20, 4)
        assert (parts_of(output) / "manifest.json").read_bytes() == before


def _refuse(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_pending_is_asked_for_one_by_one(output: Path) -> None:
    manifest = make_manifest(20, 4)
    asked = []

    def units() -> Iterator[WorkUnit]:
        for unit in units_of(manifest):
            asked.append(unit)
            yield unit

    with Journal.open(output, manifest) as journal:
        pending = journal.pending(units())
        assert asked == []
        assert next(pending) == WorkUnit(0, 4)
        journal.commit(WorkUnit(4, 8), make_payload(manifest, WorkUnit(4, 8)))  # meanwhile
        assert next(pending) == WorkUnit(8, 12)
        assert asked == units_of(manifest)[:3]


def test_the_master_follows_and_keeps_within_its_share(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = make_manifest(40)
    clock, writes = [1000.0], []
    real = publication.write_master

    def write(*arguments: Any) -> None:
        writes.append(clock[0])
        clock[0] += 1.0  # what a master costs
        real(*arguments)

    monkeypatch.setattr(publication, "write_master", write)
    monkeypatch.setattr("distverify.results.journal.publication.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("distverify.results.journal.publication.threading.Timer", Never)
    with Journal.open(output, manifest) as journal:
        for unit in units_of(manifest)[:8]:
            clock[0] += 4.0
            journal.commit(unit, make_payload(manifest, unit))
        inside = len(writes) - 1
        assert 1 <= inside <= 0.1 * (clock[0] - 1000.0)
        assert 0 < (open_result(output)["status"] == OK).sum() < 32
    assert (open_result(output)["status"] == OK).sum() == 32


class Never(threading.Timer):
    def start(self) -> None:
        pass


def test_the_last_commit_of_many_is_seen_though_no_other_follows(output: Path) -> None:
    manifest = make_manifest(16, 4)
    with Journal.open(output, manifest) as journal:
        commit_all(journal, manifest)
        deadline = time.monotonic() + 30
        while (open_result(output)["status"] == OK).sum() < 16:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_unit_that_is_split_is_seen_in_the_master(output: Path) -> None:
    manifest = make_manifest(16, 8)
    with Journal.open(output, manifest) as journal:
        for unit in (WorkUnit(0, 4), WorkUnit(4, 5), WorkUnit(6, 8)):
            journal.commit(unit, make_payload(manifest, unit))
        journal.commit(WorkUnit(5, 6), make_payload(manifest, WorkUnit(5, 6), status=FAILED, message="exit"))
        assert list(journal.pending(units_of(manifest))) == [WorkUnit(8, 16)]
    status = open_result(output)["status"]  # closing brings it up to date at the latest
    assert status.tolist() == [1, 1, 1, 1, 1, 3, 1, 1] + [0] * 8


def test_failed_samples_hold_no_prediction(output: Path) -> None:
    manifest = make_manifest(4, compute=("radius",))
    payload = make_payload(manifest, WorkUnit(0, 4))
    payload["status"][:] = [OK, FAILED, TIMED_OUT, MISCLASSIFIED]
    with Journal.open(output, manifest) as journal:
        journal.commit(WorkUnit(0, 4), payload)
    assert open_result(output)["predicted"].tolist() == [0, -1, -1, 0]
    assert open_result(output)["label"].tolist() == [0, 1, 2, 0]


def test_a_finished_run_has_nothing_to_do(output: Path) -> None:
    manifest = make_manifest()
    finish(output, manifest, status=MISCLASSIFIED)
    before = output.stat()
    with Journal.open(output, manifest) as journal:
        assert journal.finished
        assert list(journal.pending(units_of(manifest))) == []
        assert journal.status_counts()["misclassified"] == 10
        with pytest.raises(ResultError, match="is finished"):
            journal.commit(WorkUnit(0, 4), make_payload(manifest, WorkUnit(0, 4)))
    assert output.stat().st_ino == before.st_ino
    assert not parts_of(output).exists()


def test_foreign_files_in_the_parts_folder_survive(output: Path) -> None:
    parts_of(output).mkdir()
    (parts_of(output) / "thesis.txt").write_text("mine")
    finish(output, make_manifest())
    assert [p.name for p in parts_of(output).iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("interrupt", [False, True])
def test_retry_failed_recomputes_those_only(output: Path, interrupt: bool) -> None:
    manifest = make_manifest(12, 4)
    with Journal.open(output, manifest) as journal:
        for unit in units_of(manifest):
            payload = make_payload(manifest, unit)
            if unit.start == 4:
                payload["status"][1:3] = [FAILED, TIMED_OUT]
                payload["message"][1:3] = ["broken", "slow"]
                payload["radius"][1:3] = np.nan
            journal.commit(unit, payload)
        journal.consolidate(END)
    with Journal.open(output, manifest) as journal:
        assert journal.finished
    retried = WorkUnit(5, 7)
    with Journal.open(output, manifest, retry_failed=True) as journal:
        assert not journal.finished
        assert list(journal.pending(units_of(manifest))) == [retried]
        assert open_result(output).complete, "until there is something to keep"
        if not interrupt:
            for unit in (WorkUnit(5, 6), WorkUnit(6, 7)):
                journal.commit(unit, make_payload(manifest, unit))
                if unit.start == 5:
                    assert open_result(output)["status"].tolist() == [1] * 6 + [0] + [1] * 5
                    assert not open_result(output).complete
    with Journal.open(output, manifest, retry_failed=interrupt) as journal:
        assert list(journal.pending(units_of(manifest))) == ([retried] if interrupt else [])
        commit_all(journal, manifest)
        journal.consolidate(END)
    assert_holds(output, manifest)
    assert [p.name for p in output.parent.iterdir()] == ["out.h5"]


def test_retry_failed_of_an_interrupted_run_and_a_retry_that_fails_again(output: Path) -> None:
    manifest = make_manifest(8, 4)
    with Journal.open(output, manifest) as journal:
        journal.commit(WorkUnit(0, 4), make_payload(manifest, WorkUnit(0, 4), status=FAILED, message="first"))
    with Journal.open(output, manifest) as journal:
        assert list(journal.pending(units_of(manifest))) == [WorkUnit(4, 8)]
    with Journal.open(output, manifest, retry_failed=True) as journal:
        assert list(journal.pending(units_of(manifest))) == units_of(manifest)
        journal.commit(WorkUnit(0, 4), make_payload(manifest, WorkUnit(0, 4), status=FAILED, message="second"))
    with Journal.open(output, manifest) as journal:  # the newer attempt counts, also after a restart
        commit_all(journal, manifest)
        assert open_result(output)["message"].tolist() == ["second"] * 4 + [""] * 4
        journal.consolidate(END)
    assert open_result(output)["message"].tolist() == ["second"] * 4 + [""] * 4


@pytest.mark.parametrize("finished", [False, True])
def test_retry_failed_recomputes_samples_that_lack_a_quantity(output: Path, finished: bool) -> None:
    manifest = make_manifest(8, 4)
    with Journal.open(output, manifest) as journal:
        payload = make_payload(manifest, WorkUnit(0, 4))
        payload["message"][2] = f"{NOT_COMPUTED}radius (ValueError: no)"
        journal.commit(WorkUnit(0, 4), payload)
        if finished:
            commit_all(journal, manifest)
            journal.consolidate(END)
    with Journal.open(output, manifest) as journal:
        assert list(journal.pending([WorkUnit(0, 4)])) == []
    with Journal.open(output, manifest, retry_failed=True) as journal:
        assert list(journal.pending([WorkUnit(0, 4)])) == [WorkUnit(2, 3)]
        commit_all(journal, manifest)
        assert list(journal.pending(units_of(manifest))) == []
        journal.consolidate(END)
    assert_holds(output, manifest)
    with Journal.open(output, manifest, retry_failed=True) as journal:
        assert journal.finished


def test_retry_failed_without_failures_has_nothing_to_do(output: Path) -> None:
    finish(output, make_manifest())
    with Journal.open(output, make_manifest(), retry_failed=True) as journal:
        assert journal.finished


def test_retry_works_without_hard_links(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = make_manifest()
    finish(output, manifest, status=FAILED)

    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    with Journal.open(output, manifest, retry_failed=True) as journal:
        commit_all(journal, manifest)
        journal.consolidate(END)
    assert open_result(output).summary().counts["ok"] == 10


def test_a_deleted_master_is_rebuilt(output: Path) -> None:
    manifest = make_manifest()
    with Journal.open(output, manifest) as journal:
        journal.commit(WorkUnit(0, 4), make_payload(manifest, WorkUnit(0, 4)))
    output.unlink()
    with Journal.open(output, manifest) as journal:
        assert open_result(output)["status"].tolist() == [1] * 4 + [0] * 6
        assert list(journal.pending(units_of(manifest))) == [WorkUnit(4, 8), WorkUnit(8, 10)]


def test_a_crash_between_the_last_two_steps_is_cleaned_up(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = make_manifest()
    journal = Journal.open(output, manifest)
    commit_all(journal, manifest)
    journal.consolidate(END)
    journal._lock.release()  # killed before the folder is removed
    assert len(list(parts_of(output).glob("*.h5"))) == 3
    with Journal.open(output, manifest) as again:
        assert again.finished
    assert not parts_of(output).exists()
    assert_holds(output, manifest)


def test_consolidation_waits_for_all_samples(output: Path) -> None:
    manifest = make_manifest()
    with Journal.open(output, manifest) as journal:
        journal.commit(WorkUnit(0, 4), make_payload(manifest, WorkUnit(0, 4)))
        with pytest.raises(ResultError, match="6 samples are pending"):
            journal.consolidate(END)
    with pytest.raises(ResultError, match="is closed"):
        journal.commit(WorkUnit(4, 8), make_payload(manifest, WorkUnit(4, 8)))
