from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from distverify.results.journal.journal import Journal
from distverify.results.reader import open_result
from distverify.results.statistics import describe_statistics, speed_range
from distverify.work import Plan, RunStatistics, WorkerRecord
from tests.results.runs import END, commit_all, finish, make_manifest


def workers(number: int) -> tuple[WorkerRecord, ...]:
    return tuple(WorkerRecord(k, f"node-{k // 4}", 5, 10, 20.0 + k, 40.0) for k in range(number))


def test_few_workers_are_told_one_by_one() -> None:
    told = describe_statistics(RunStatistics(workers(2), 10, 1, 2), 2, 50.0)
    each = told.pop("each")
    assert each[1] == {
        "number": 1, "node": "node-0", "units": 5, "samples": 10, "kernel_seconds": 21.0, "samples_per_second": 10 / 21
    }  # fmt: skip
    assert told == {
        "seconds": 50.0, "most_workers": 2, "workers": 2, "nodes": 1, "kernel_seconds": 41.0, "worker_seconds": 80.0,
        "efficiency": 41 / 80, "units_done": 10, "units_failed": 1, "units_lost": 2, "samples": 20,
        "samples_per_second": 0.4, "slowest": 10 / 21, "fastest": 0.5,
    }  # fmt: skip


def test_many_workers_are_told_in_totals() -> None:
    told = describe_statistics(RunStatistics(workers(900), 10, 1, 2), 800, 50.0)
    assert "each" not in told
    assert (told["workers"], told["most_workers"], told["nodes"]) == (900, 800, 225)
    assert len(json.dumps(told)) < 1000


def test_nothing_done_yet_is_valid_json() -> None:
    told = describe_statistics(RunStatistics(), 0, 0.0)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["efficiency"] is told["slowest"] is told["samples_per_second"] is None


def test_workers_of_pieces_only_have_no_speed() -> None:
    idle = WorkerRecord(0, "node", 7, 0, 3.0, 5.0)
    assert speed_range((idle,)) == (None, None)
    assert speed_range((idle, *workers(3))) == (10 / 22, 0.5)
    assert math.isclose(RunStatistics((idle,)).efficiency, 0.6)


def test_plan_and_statistics_of_hundreds_of_workers_fit_the_provenance(tmp_path: Path) -> None:
    manifest = make_manifest()
    told = describe_statistics(RunStatistics(workers(900), 10, 1, 2), 800, 50.0)
    plan = Plan(10, 4, workers=800, seconds_per_sample=1.5, bytes_per_sample=100)
    with Journal.open(tmp_path / "out.h5", manifest) as journal:
        commit_all(journal, manifest)
        environment = manifest.environment | {"plan": plan.to_json(), "statistics": told}
        journal.manifest = replace(journal.manifest, environment=environment)
        journal.consolidate(END)
    environment = open_result(tmp_path / "out.h5").provenance["environment"]
    assert environment["statistics"] == told
    assert Plan.from_json(environment["plan"]) == plan
    assert "left_out" not in environment


@pytest.mark.parametrize("size", [50_000, 70_000, 1_000_000])
def test_what_does_not_fit_is_left_out_and_the_run_is_finished(tmp_path: Path, size: int) -> None:
    long = {"long": "x" * size, "longer": "x" * (size + 1), "short": 1}
    finish(tmp_path / "out.h5", make_manifest(environment=long))
    environment = open_result(tmp_path / "out.h5").provenance["environment"]
    assert environment["short"] == 1
    assert ("long" in environment) == (size < 59_000)
    assert environment["left_out"] == (["longer"] if size < 59_000 else ["longer", "long"])
    with Journal.open(tmp_path / "out.h5", make_manifest()) as journal:
        assert journal.finished
