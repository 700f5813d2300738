from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from distverify.results.journal.coverage import Coverage
from distverify.results.journal.journal import Journal
from distverify.results.journal.listing import BASE_NAME
from distverify.results.journal.shards import FINISHED, Rows, Shard, shard_name
from distverify.status import FAILED, OK, TIMED_OUT
from distverify.work import Plan, WorkUnit
from tests.results.runs import make_manifest

FOLDER = Path("out.h5.parts")
MANY = 100_000


def shard(start: int, stop: int, attempt: int = 1) -> Shard:
    unit = WorkUnit(start, stop)
    level = 0 if attempt else FINISHED
    return Shard(FOLDER / (shard_name(unit, attempt) if attempt else BASE_NAME), Rows.of(unit, attempt), level)


def add(coverage: Coverage, start: int, stop: int, attempt: int = 1, status: int = OK) -> None:
    coverage.add(shard(start, stop, attempt), np.full(stop - start, status, dtype=np.int8))


def told(coverage: Coverage) -> list[tuple[int, int, str, int]]:
    return [(s.start, s.stop, s.shard.path.name, s.row) for s in coverage.segments()]


def name(start: int, stop: int, attempt: int = 1) -> str:
    return shard(start, stop, attempt).path.name


def test_segments_name_the_shard_that_counts() -> None:
    coverage = Coverage(20)
    assert told(coverage) == []
    add(coverage, 2, 6)
    add(coverage, 6, 10)
    add(coverage, 12, 20)
    add(coverage, 14, 16, attempt=2)
    assert told(coverage) == [
        (2, 6, name(2, 6), 0),
        (6, 10, name(6, 10), 0),
        (12, 14, name(12, 20), 0),
        (14, 16, name(14, 16, 2), 0),
        (16, 20, name(12, 20), 4),
    ]
    assert [s.source for s in coverage.segments()][-1] == slice(4, 8)


def test_an_older_attempt_that_comes_later_does_not_count() -> None:
    coverage = Coverage(4)
    add(coverage, 1, 3, attempt=2)
    add(coverage, 0, 4, attempt=1, status=FAILED)
    assert told(coverage) == [(0, 1, name(0, 4), 0), (1, 3, name(1, 3, 2), 0), (3, 4, name(0, 4), 3)]
    assert coverage.status.tolist() == [FAILED, OK, OK, FAILED]


def test_the_finished_file_of_an_earlier_run_is_the_shard_of_attempt_0() -> None:
    coverage = Coverage(4)
    add(coverage, 0, 4, attempt=0)
    assert told(coverage) == [(0, 4, BASE_NAME, 0)]
    assert coverage.next_attempt(WorkUnit(0, 4)) == 1


def test_a_pack_takes_the_place_of_what_it_holds() -> None:
    coverage = Coverage(8)
    for k in (3, 0, 5):
        add(coverage, k, k + 1)
    add(coverage, 6, 8, status=FAILED)
    assert coverage.reopen_failed() == 2
    merged = [s for s in coverage.shards if s.path.name != name(0, 1)]
    positions, attempts = coverage.rows_of(merged)
    assert (positions.tolist(), attempts.tolist()) == ([3, 5, 6, 7], [1] * 4)
    assert [(s.start, s.stop, s.row) for s in coverage.segments_of(merged)] == [(3, 4, 0), (5, 6, 0), (6, 8, 0)]
    assert coverage.unused() == []
    coverage.merge(Shard(FOLDER / "pack", Rows(positions, attempts), 1))
    assert told(coverage) == [(0, 1, name(0, 1), 0), (3, 4, "pack", 0), (5, 6, "pack", 1)]
    assert coverage.status.tolist() == [OK, 0, 0, OK, 0, OK, 0, 0], "what was pending again stays so"
    assert [s.path for s in coverage.unused()] == [s.path for s in merged]
    assert coverage.unused() == []
    assert coverage.next_attempt(WorkUnit(6, 8)) == 2


def test_missing_keeps_the_pieces_of_a_unit_and_cuts_at_what_is_there() -> None:
    coverage = Coverage(12)
    add(coverage, 2, 3)
    add(coverage, 5, 8)
    units = [WorkUnit(0, 6, 4), WorkUnit(6, 8, 4), WorkUnit(8, 12)]
    assert list(coverage.missing(units)) == [WorkUnit(0, 2, 4), WorkUnit(3, 5, 4), WorkUnit(8, 12)]


def test_attempts_count_on_after_samples_were_reopened() -> None:
    coverage = Coverage(4)
    add(coverage, 0, 1, status=FAILED)
    add(coverage, 1, 2, attempt=3, status=TIMED_OUT)
    add(coverage, 2, 3)
    assert coverage.reopen_failed() == 2
    assert list(coverage.missing([WorkUnit(0, 4)])) == [WorkUnit(0, 2), WorkUnit(3, 4)]
    assert [coverage.next_attempt(WorkUnit(k, k + 1)) for k in range(4)] == [2, 4, 2, 1]
    assert coverage.next_attempt(WorkUnit(0, 4)) == 4
    add(coverage, 0, 2, attempt=4)
    assert told(coverage) == [(0, 2, name(0, 2, 4), 0), (2, 3, name(2, 3), 0)]


def test_a_run_without_samples() -> None:
    coverage = Coverage(0)
    assert told(coverage) == []
    assert list(coverage.missing([WorkUnit(0, 0)])) == []


@pytest.mark.slow
def test_a_hundred_thousand_samples_cost_a_few_bytes_each() -> None:
    tracemalloc.start()
    try:
        coverage = Coverage(MANY)
        for start in range(0, MANY, 2 * MANY // 50):
            add(coverage, start, start + MANY // 50)
        pending = sum(unit.size for unit in coverage.missing(Plan(MANY, 1).units()))
        segments = sum(1 for _ in coverage.segments())
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert pending == MANY // 2
    assert segments == 25
    assert now < 40 * MANY
    assert peak < 100 * MANY


def test_a_plan_of_a_hundred_thousand_units_is_written_at_once(tmp_path: Path) -> None:
    manifest = make_manifest(MANY, compute=("radius",))
    with Journal.open(tmp_path / "out.h5", manifest) as journal:
        begin = time.perf_counter()
        journal.record_plan(Plan(MANY, 1))
        assert time.perf_counter() - begin < 2.0  # 10 ms
        begin = time.perf_counter()
        assert sum(1 for _ in journal.pending(Plan(MANY, 1).units())) == MANY
        assert time.perf_counter() - begin < 5.0  # 0.3 s
