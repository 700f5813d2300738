from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from distverify.results.journal.coverage import Coverage
from distverify.results.journal.journal import Journal
from distverify.results.journal.master import write_master
from distverify.results.journal.shards import BASE_NAME, Shard, shard_name
from distverify.status import FAILED, OK, TIMED_OUT
from distverify.work import Plan, WorkUnit
from tests.results.runs import make_manifest

FOLDER = Path("out.h5.parts")
MANY = 100_000


def shard(start: int, stop: int, attempt: int = 1) -> Shard:
    unit = WorkUnit(start, stop)
    return Shard(FOLDER / (shard_name(unit, attempt) if attempt else BASE_NAME), unit, attempt)


def add(coverage: Coverage, start: int, stop: int, attempt: int = 1, status: int = OK) -> None:
    coverage.add(shard(start, stop, attempt), np.full(stop - start, status, dtype=np.int8))


def told(coverage: Coverage) -> list[tuple[int, int, Shard]]:
    return [(s.start, s.stop, s.shard) for s in coverage.segments()]


def test_segments_name_the_shard_that_counts() -> None:
    coverage = Coverage(20, FOLDER)
    assert told(coverage) == []
    add(coverage, 2, 6)
    add(coverage, 6, 10)
    add(coverage, 12, 20)
    add(coverage, 14, 16, attempt=2)
    assert told(coverage) == [
        (2, 6, shard(2, 6)),
        (6, 10, shard(6, 10)),
        (12, 14, shard(12, 20)),
        (14, 16, shard(14, 16, 2)),
        (16, 20, shard(12, 20)),
    ]
    assert [s.source for s in coverage.segments()][-1] == slice(4, 8)


def test_the_finished_file_of_an_earlier_run_is_the_shard_of_attempt_0() -> None:
    coverage = Coverage(4, FOLDER)
    add(coverage, 0, 4, attempt=0)
    assert told(coverage) == [(0, 4, shard(0, 4, 0))]
    assert told(coverage)[0][2].path.name == BASE_NAME


def test_missing_keeps_the_pieces_of_a_unit_and_cuts_at_what_is_there() -> None:
    coverage = Coverage(12, FOLDER)
    add(coverage, 2, 3)
    add(coverage, 5, 8)
    units = [WorkUnit(0, 6, 4), WorkUnit(6, 8, 4), WorkUnit(8, 12)]
    assert list(coverage.missing(units)) == [WorkUnit(0, 2, 4), WorkUnit(3, 5, 4), WorkUnit(8, 12)]


def test_attempts_count_on_after_samples_were_reopened() -> None:
    coverage = Coverage(4, FOLDER)
    add(coverage, 0, 1, status=FAILED)
    add(coverage, 1, 2, attempt=3, status=TIMED_OUT)
    add(coverage, 2, 3)
    assert coverage.reopen_failed() == 2
    assert list(coverage.missing([WorkUnit(0, 4)])) == [WorkUnit(0, 2), WorkUnit(3, 4)]
    assert [coverage.next_attempt(WorkUnit(k, k + 1)) for k in range(4)] == [2, 4, 2, 1]
    assert coverage.next_attempt(WorkUnit(0, 4)) == 4
    add(coverage, 0, 2, attempt=4)
    assert told(coverage) == [(0, 2, shard(0, 2, 4)), (2, 3, shard(2, 3))]


def test_a_run_without_samples() -> None:
    coverage = Coverage(0, FOLDER)
    assert told(coverage) == []
    assert list(coverage.missing([WorkUnit(0, 0)])) == []


def test_a_hundred_thousand_units_cost_a_few_bytes_each() -> None:
    tracemalloc.start()
    try:
        coverage = Coverage(MANY, FOLDER)
        for position in range(0, MANY, 2):
            add(coverage, position, position + 1)
        pending = sum(unit.size for unit in coverage.missing(Plan(MANY, 1).units()))
        segments = sum(1 for _ in coverage.segments())
        # Python's own table of the parts of paths grows by doubling, from whatever it was.
        snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(False, "*pathlib*")])
        now, peak = sum(trace.size for trace in snapshot.traces), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert pending == segments == MANY // 2
    assert now < 100 * MANY
    assert peak < 150 * MANY


def test_a_plan_of_a_hundred_thousand_units_is_written_at_once_and_the_master_maps_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = make_manifest(MANY, compute=("radius",))
    mapped = []

    def counted(output: Path, parts: Path, manifest: object, segments: object) -> None:
        segments = list(segments)  # type: ignore[call-overload]
        mapped.append(len(segments))
        write_master(output, parts, manifest, segments)  # type: ignore[arg-type]

    monkeypatch.setattr("distverify.results.journal.journal.write_master", counted)
    with Journal.open(tmp_path / "out.h5", manifest) as journal:
        begin = time.perf_counter()
        journal.record_plan(Plan(MANY, 1))
        assert time.perf_counter() - begin < 2.0  # 10 ms; mapping all would take 25 s
        assert mapped == [0]
        journal.record_plan(Plan(MANY, 100))
        assert mapped == [0, 1000]
        begin = time.perf_counter()
        assert sum(1 for _ in journal.pending(Plan(MANY, 1).units())) == MANY
        assert time.perf_counter() - begin < 5.0  # 0.3 s
