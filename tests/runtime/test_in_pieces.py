"""Samples in pieces, on both executors."""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
import pytest

from distverify.runtime.job import Executor, PieceDone, UnitDone, UnitLost
from distverify.runtime.ray.executor import RayExecutor
from distverify.runtime.serial import SerialExecutor
from distverify.status import FAILED, TIMED_OUT
from distverify.work import WorkUnit
from tests.runtime import scripted

SAMPLES = 8
NAMES = ("logits", "predicted", "radius", "status", "label")
PER_SAMPLE = 4 + 3  # pieces


@pytest.fixture(params=["serial", "ray"])
def executor(request: pytest.FixtureRequest) -> Executor:
    if request.param == "serial":
        return SerialExecutor()
    request.getfixturevalue("local_ray")
    return RayExecutor(max_actors=2)


pytestmark = pytest.mark.ray


def run(executor: Executor, analysis: Any, **options: Any) -> list[Any]:
    units = scripted.units_in_pieces(SAMPLES)
    return list(scripted.run(executor, scripted.job_in_pieces(analysis, SAMPLES), units, **options))


def truth() -> dict[str, np.ndarray]:
    return scripted.results(run(SerialExecutor(), scripted.InPieces()), SAMPLES)


def assert_equal_bits(ours: Any, rows: np.ndarray | slice = slice(None)) -> None:
    expected = truth()
    for name in NAMES:
        assert ours[name][rows].tobytes() == expected[name][rows].tobytes()
    assert ours["message"][rows].tolist() == expected["message"][rows].tolist()


def test_results_are_bit_equal_and_every_piece_is_told_before_its_sample(executor):
    events = run(executor, scripted.InPieces())
    payload = scripted.results(events, SAMPLES)
    assert_equal_bits(payload)
    told = [(e.position, e.key) for e in events if isinstance(e, PieceDone)]
    assert len(set(told)) == len(told) == SAMPLES * PER_SAMPLE
    for i, event in enumerate(events):
        if isinstance(event, UnitDone):
            position = event.unit.start
            assert event.unit == WorkUnit(position, position + 1, 4)
            earlier = [e for e in events[:i] if isinstance(e, PieceDone) and e.position == position]
            assert len(earlier) == PER_SAMPLE
            assert event.payload["seconds"][0] >= sum(e.seconds for e in earlier)
    assert all(e.payload["values"].size in (1, 4) and e.seconds > 0 for e in events if isinstance(e, PieceDone))


def test_pieces_of_several_samples_share_the_workers_with_whole_units(executor):
    units = [
        *scripted.units_in_pieces(4),
        *scripted.units(4, 24)[1:3],
        WorkUnit(12, 13, 4),
        *scripted.units(11, 24)[2:],
    ]
    units[-1:] = [WorkUnit(13, 24)]
    job = scripted.job_in_pieces(scripted.InPieces())
    payload = scripted.results(list(scripted.run(executor, job, units)))
    whole = scripted.results(list(scripted.run(SerialExecutor(), job, [WorkUnit(0, 24)])))
    rows = np.r_[4:12, 13:24]
    assert payload["logits"][rows].tobytes() == whole["logits"][rows].tobytes()
    assert payload["logits"][:4].tobytes() == truth()["logits"][:4].tobytes()


@pytest.mark.parametrize("missing", ["analyse_in_pieces", "piece_worker"])
def test_a_job_that_knows_no_pieces_is_analysed_whole(executor, missing):
    job = scripted.job_in_pieces(scripted.InPieces(), SAMPLES, **{missing: None})
    events = list(scripted.run(executor, job, scripted.units_in_pieces(SAMPLES)))
    whole = scripted.results(list(scripted.run(SerialExecutor(), job, [WorkUnit(0, SAMPLES)])), SAMPLES)
    assert scripted.results(events, SAMPLES)["logits"].tobytes() == whole["logits"].tobytes()
    assert not any(isinstance(e, PieceDone) for e in events)


def test_what_was_kept_is_recalled_and_not_computed_again(executor, tmp_path):
    kept = scripted.Kept()
    for event in run(SerialExecutor(), scripted.InPieces()):
        kept.keep(event)
    for position, key in [(2, "102-neurons-4"), (2, "102-rows-0"), (7, "107-rows-2")]:
        del kept.pieces[position, key]
    analysis = scripted.InPieces(path=tmp_path)
    events = run(executor, analysis, recall=kept.recall)
    assert_equal_bits(scripted.results(events, SAMPLES))
    assert sorted(analysis.computed()) == ["102-neurons-4", "102-rows-0", "107-rows-2"]
    assert sorted(e.key for e in events if isinstance(e, PieceDone)) == sorted(analysis.computed())


def test_everything_is_recalled(executor, tmp_path):
    kept = scripted.Kept()
    for event in run(SerialExecutor(), scripted.InPieces()):
        kept.keep(event)
    analysis = scripted.InPieces(path=tmp_path)
    assert_equal_bits(scripted.results(run(executor, analysis, recall=kept.recall), SAMPLES))
    assert analysis.computed() == []


def test_a_piece_that_raises_fails_its_sample_with_its_text(executor, caplog):
    with caplog.at_level(logging.WARNING, "distverify.runtime"):
        payload = scripted.results(run(executor, scripted.InPieces("raise")), SAMPLES)
    assert np.flatnonzero(payload["status"] == FAILED).tolist() == [5]
    assert payload["message"][5] == "neurons 8:12: FloatingPointError: bad block"
    assert np.isnan(payload["logits"][5]).all()
    assert_equal_bits(payload, np.arange(SAMPLES) != 5)
    assert caplog.messages == ["sample 105 failed: neurons 8:12: FloatingPointError: bad block"]


def test_an_analysis_that_raises_fails_its_sample(executor):
    def analysis(net: Any, sample: Any, *rest: Any) -> dict[str, Any]:
        if sample.index == 105:
            raise ZeroDivisionError("mine")
        return scripted.InPieces()(net, sample, *rest)

    payload = scripted.results(run(executor, analysis), SAMPLES)
    assert payload["message"][5] == "ZeroDivisionError: mine"
    assert_equal_bits(payload, np.arange(SAMPLES) != 5)


def test_stopping_in_the_middle_of_a_sample_keeps_its_pieces_and_the_next_run_goes_on(executor, tmp_path):
    stop, kept = [], scripted.Kept()
    analysis = scripted.InPieces(path=tmp_path, seconds=0.02)
    done = []
    for event in scripted.run(
        executor, scripted.job_in_pieces(analysis, SAMPLES), scripted.units_in_pieces(SAMPLES), lambda: bool(stop)
    ):
        kept.keep(event)
        if isinstance(event, UnitDone):
            done.append(event.unit)
        if isinstance(event, PieceDone) and event.key == "102-neurons-8":
            stop.append(True)
    assert sorted(analysis.computed()) == sorted(key for _, key in kept.pieces)  # what was begun was kept
    assert WorkUnit(2, 3, 4) not in done
    before = len(analysis.computed())
    assert before < SAMPLES * PER_SAMPLE
    left = [u for u in scripted.units_in_pieces(SAMPLES) if u not in done]
    events = list(scripted.run(executor, scripted.job_in_pieces(analysis, SAMPLES), left, recall=kept.recall))
    assert {e.unit for e in events if isinstance(e, UnitDone)} == set(left)
    assert len(analysis.computed()) == len(set(analysis.computed())) == SAMPLES * PER_SAMPLE  # none twice


def test_statistics_add_up(executor):
    units = [*scripted.units_in_pieces(4), WorkUnit(4, 7), WorkUnit(7, 8)]
    seconds, begin = 0.0, time.monotonic()
    with executor.open(
        scripted.job_in_pieces(scripted.InPieces("raise", (102, "rows", 1)), SAMPLES), scripted.never
    ) as s:
        assert s.statistics().workers == ()
        assert np.isnan(s.statistics().efficiency)
        s.add(units)
        for event in s.events():
            if isinstance(event, PieceDone):
                seconds += event.seconds
            elif isinstance(event, UnitDone) and event.unit.pieces == 1:
                seconds += float(event.payload["seconds"].sum())
        open_seconds = time.monotonic() - begin
        inside = s.statistics()
    after = s.statistics()
    told = 3 * PER_SAMPLE + 2
    assert inside.units_done == sum(w.units for w in inside.workers)
    assert told + 4 <= inside.units_done <= told + 4 + 2
    assert (inside.units_failed, inside.units_lost) == (1, 0)
    assert sum(w.samples for w in inside.workers) == 4
    assert sum(w.kernel_seconds for w in inside.workers) == pytest.approx(seconds, rel=0.5)
    assert all(0 <= w.kernel_seconds <= w.alive_seconds <= open_seconds and w.node for w in inside.workers)
    assert 0 < after.efficiency < 1
    assert after == s.statistics()  # their time has ended


def test_units_are_added_between_events_and_after_them(executor):
    job = scripted.job_in_pieces(scripted.InPieces(), SAMPLES)
    events: list[Any] = []
    with executor.open(job, scripted.never) as session:
        assert session.slots == (1 if isinstance(executor, SerialExecutor) else 2)
        session.add([WorkUnit(0, 1)])
        for event in session.events():  # a probe, and what was planned after it
            events.append(event)
            if isinstance(event, UnitDone) and event.unit == WorkUnit(0, 1):
                session.add([WorkUnit(1, 2, 4)])
        assert list(session.events()) == []
        session.add(iter([WorkUnit(2, 6), WorkUnit(6, 7, 4)]))
        session.add([WorkUnit(7, 8)])
        events += session.events()
    scripted.results(events, SAMPLES)


def test_a_consumer_that_leaves_the_events_finds_the_others_when_it_comes_back(executor):
    job = scripted.job_in_pieces(scripted.InPieces(), SAMPLES)
    events: list[Any] = []
    with executor.open(job, scripted.never) as session:
        session.add([WorkUnit(i, i + 1) for i in range(SAMPLES)])
        while sum(isinstance(e, UnitDone) for e in events) < SAMPLES:
            iterator = session.events()
            events.append(next(iterator))
            iterator.close()
    scripted.results(events, SAMPLES)


def test_an_iterator_of_units_is_not_consumed_ahead(executor):
    taken, ahead, done = [], [], 0

    def units():
        for unit in scripted.units(1, 60):
            taken.append(unit)
            yield unit

    for event in scripted.run(executor, scripted.job(scripted.logits, samples=60), units()):
        if isinstance(event, UnitDone):
            done += 1
            ahead.append(len(taken) - done)
    assert done == 60
    assert max(ahead) <= 6  # in flight, done but not told, and the next one


# Faults that only workers in processes of their own survive


@pytest.fixture
def workers(local_ray: str) -> RayExecutor:
    return RayExecutor(max_actors=2)


def test_a_piece_that_ends_its_worker_once_is_computed_again(workers, tmp_path, caplog):
    analysis = scripted.InPieces("crash once", path=tmp_path)
    with caplog.at_level(logging.WARNING, "distverify.runtime"):
        events = run(workers, analysis)
    assert_equal_bits(scripted.results(events, SAMPLES))
    lost = [e for e in events if isinstance(e, UnitLost)]
    assert [e.unit for e in lost] == [WorkUnit(5, 6, 4)]
    assert lost[0].reason.startswith("neurons 8:12: the worker process died")
    assert len(analysis.computed()) == SAMPLES * PER_SAMPLE + 1
    (line,) = caplog.messages
    assert line.startswith("sample 105 lost, will be computed again: neurons 8:12: the worker process died")


def test_a_piece_that_always_ends_its_worker_is_given_up_and_named(workers, caplog):
    with caplog.at_level(logging.WARNING, "distverify.runtime"):
        events = run(workers, scripted.InPieces("crash", (105, "rows", 1)))
    payload = scripted.results(events, SAMPLES)
    assert np.flatnonzero(payload["status"] == FAILED).tolist() == [5]
    assert payload["message"][5].startswith("rows 1:2: given up after 3 workers were lost on it (the worker process")
    assert_equal_bits(payload, np.arange(SAMPLES) != 5)
    assert sum(isinstance(e, UnitLost) for e in events) == 2
    assert [line.split(":")[0] for line in caplog.messages] == [
        *["sample 105 lost, will be computed again"] * 2, "sample 105 failed",
    ]  # fmt: skip


def test_a_piece_that_hangs_times_its_sample_out(local_ray, caplog):
    begin = time.monotonic()
    executor = RayExecutor(max_actors=2, time_limit=0.5)
    with caplog.at_level(logging.WARNING, "distverify.runtime"):
        payload = scripted.results(run(executor, scripted.InPieces("hang")), SAMPLES)
    assert np.flatnonzero(payload["status"] == TIMED_OUT).tolist() == [5]
    assert payload["message"][5] == "stopped after the time limit of 0.5 s"
    assert_equal_bits(payload, np.arange(SAMPLES) != 5)
    assert time.monotonic() - begin < 20.0
    assert caplog.messages == ["sample 105 timed out: stopped after the time limit of 0.5 s"]


def test_the_time_limit_holds_for_the_sample_not_for_each_piece(local_ray):
    executor = RayExecutor(max_actors=2, time_limit=1.0)
    analysis = scripted.InPieces(seconds=0.9)  # seven of them: 3.6 s on two workers
    job, units = scripted.job_in_pieces(analysis, 1), scripted.units_in_pieces(1)
    assert scripted.results(list(scripted.run(executor, job, units)), 1)["status"].tolist() == [TIMED_OUT]


def test_what_pieces_share_is_read_where_the_object_store_holds_it(workers):
    analysis = scripted.InPieces(
        "share", (100, "neurons", 0), ballast=10**6
    )  # Ray sends less than 100 kB with the call
    job = scripted.job_in_pieces(analysis, 1)
    payload = scripted.results(list(scripted.run(workers, job, scripted.units_in_pieces(1))), 1)
    assert payload["status"].tolist() != [FAILED], payload["message"]


def test_a_session_that_is_left_in_the_middle_ends_actors_and_analyses(workers, tmp_path):
    import threading

    analysis = scripted.InPieces(path=tmp_path, seconds=0.1)
    with workers.open(scripted.job_in_pieces(analysis, SAMPLES), scripted.never) as session:
        session.add(scripted.units_in_pieces(SAMPLES))
        next(e for e in session.events() if isinstance(e, PieceDone))
    assert not any(t.name == "distverify-analysis" for t in threading.enumerate())
    time.sleep(1.0)  # Ray ends an actor a moment after it is told to
    computed = len(analysis.computed())
    assert computed < 7 * SAMPLES
    time.sleep(0.5)
    assert len(analysis.computed()) == computed
