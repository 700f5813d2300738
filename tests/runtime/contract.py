"""What every executor must do. To test another one, inherit these classes and give the fixtures that they need."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distverify.errors import ExecutorError
from distverify.runtime.job import Executor, Job, PieceDone, UnitDone, UnitLost, WorkersChanged
from distverify.runtime.worker import PieceRunner, run_unit
from distverify.status import FAILED, TIMED_OUT
from distverify.work import Payload, WorkUnit
from tests.runtime import scripted

SAMPLES = 8  # in pieces
PER_SAMPLE = 4 + 3  # pieces
NAMES = ("logits", "predicted", "radius", "status", "label")
OTHERS = np.arange(scripted.SAMPLES) != 5  # samples without a fault
OTHERS_IN_PIECES = OTHERS[:SAMPLES]


def truth(job: Job) -> Payload:
    """Without any executor."""
    return run_unit(job, WorkUnit(0, job.data.size))


def truth_in_pieces(samples: int = SAMPLES) -> Payload:
    """Without any executor: the pieces one after the other."""
    job = scripted.job_in_pieces(scripted.InPieces(), samples)
    runner, analyse = PieceRunner(job), job.analyse_in_pieces
    assert analyse is not None

    class Crew:
        def map(self, pieces: Any, shared: Any) -> list[Any]:
            return [runner.run(piece, shared)[2] for piece in pieces]

    results = [analyse(job.network, job.data.sample(i), job.settings, 4, Crew()) for i in range(samples)]
    payload = run_unit(job, WorkUnit(0, samples))
    for name in ("logits", "predicted", "radius"):
        payload[name] = np.array([result[name] for result in results])
    payload["status"] = np.array([result.get("status", 1) for result in results], dtype=np.int8)
    return payload


def assert_equal_bits(ours: Payload, expected: Payload, rows: np.ndarray | slice = slice(None)) -> None:
    for name in NAMES:
        assert ours[name][rows].tobytes() == expected[name][rows].tobytes(), name
    assert ours["message"][rows].tolist() == expected["message"][rows].tolist()


def in_pieces(executor: Executor, analysis: Any, samples: int = SAMPLES, **options: Any) -> list[Any]:
    job = scripted.job_in_pieces(analysis, samples)
    return list(scripted.run(executor, job, scripted.units_in_pieces(samples), **options))


class ExecutorContract:
    """Fixture: ``executor``, with at most two workers."""

    # Whole units

    @pytest.mark.parametrize("size", [1, 7])
    def test_results_are_bit_equal_however_the_run_is_cut(self, executor: Executor, size: int) -> None:
        job = scripted.job(scripted.poison)
        events = list(scripted.run(executor, job, scripted.units(size)))
        assert isinstance(events[0], WorkersChanged)
        assert events[0].alive == 0
        assert events[0].starting >= 1
        assert [e for e in events if isinstance(e, UnitLost)] == []
        payload = scripted.results(events)
        assert np.flatnonzero(payload["status"] == FAILED).tolist() == [5]
        assert_equal_bits(payload, truth(job))

    def test_should_stop_keeps_units_in_flight_and_begins_no_other(self, executor: Executor) -> None:
        stop: list[bool] = []
        events = []
        for event in scripted.run(executor, scripted.job(scripted.slow), scripted.units(2), lambda: bool(stop)):
            events.append(event)
            if isinstance(event, UnitDone):
                stop.append(True)
        done = [e for e in events if isinstance(e, UnitDone)]
        assert 1 <= len(done) <= 3  # the one that was seen, and one in flight on each of two workers
        assert isinstance(events[-1], UnitDone)
        assert all((e.payload["status"] != FAILED).all() for e in done)

    def test_should_stop_before_anything_began(self, executor: Executor) -> None:
        assert list(scripted.run(executor, scripted.job(scripted.slow), scripted.units(2), lambda: True)) == []

    def test_a_warm_up_that_fails_ends_the_run(self, executor: Executor) -> None:
        job = scripted.job(scripted.logits, scripted.warm_up_raises)
        with pytest.raises(ExecutorError, match="ImportError: no kernels here"):
            list(scripted.run(executor, job, scripted.units(8)))

    def test_an_iterator_of_units_is_not_consumed_ahead(self, executor: Executor) -> None:
        taken, ahead, done = [], [], 0

        def units() -> Any:
            for unit in scripted.units(1, 60):
                taken.append(unit)
                yield unit

        for event in scripted.run(executor, scripted.job(scripted.logits, samples=60), units()):
            if isinstance(event, UnitDone):
                done += 1
                ahead.append(len(taken) - done)
        assert done == 60
        assert max(ahead) <= 6  # in flight, done but not told, and the next one

    def test_units_are_added_between_events_and_after_them(self, executor: Executor) -> None:
        job = scripted.job_in_pieces(scripted.InPieces(), SAMPLES)
        events: list[Any] = []
        with executor.open(job, scripted.never) as session:
            assert session.slots in (1, 2)
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

    def test_a_consumer_that_leaves_the_events_finds_the_others_when_it_comes_back(self, executor: Executor) -> None:
        job = scripted.job_in_pieces(scripted.InPieces(), SAMPLES)
        events: list[Any] = []
        with executor.open(job, scripted.never) as session:
            session.add([WorkUnit(i, i + 1) for i in range(SAMPLES)])
            while sum(isinstance(e, UnitDone) for e in events) < SAMPLES:
                iterator: Any = session.events()
                events.append(next(iterator))
                assert isinstance(iterator, Generator)
                iterator.close()
        scripted.results(events, SAMPLES)

    def test_statistics_add_up(self, executor: Executor) -> None:
        units = [*scripted.units_in_pieces(4), WorkUnit(4, 7), WorkUnit(7, 8)]
        analysis = scripted.InPieces("raise", (102, "rows", 1))
        seconds, told = 0.0, 3 * PER_SAMPLE + 2
        with executor.open(scripted.job_in_pieces(analysis, SAMPLES), scripted.never) as session:
            assert session.statistics().workers == ()
            assert np.isnan(session.statistics().efficiency)
            session.add(units)
            for event in session.events():
                if isinstance(event, PieceDone):
                    seconds += event.seconds
                elif isinstance(event, UnitDone) and event.unit.pieces == 1:
                    seconds += float(event.payload["seconds"].sum())
            inside = session.statistics()
        after = session.statistics()
        assert inside.units_done == sum(w.units for w in inside.workers)
        assert told + 4 <= inside.units_done <= told + 4 + 2
        assert (inside.units_failed, inside.units_lost) == (1, 0)
        assert sum(w.samples for w in inside.workers) == 4
        assert sum(w.kernel_seconds for w in inside.workers) == pytest.approx(seconds, rel=0.5)
        assert all(w.kernel_seconds >= 0 and w.node for w in inside.workers)
        assert [w.alive_seconds for w in after.workers] == [w.alive_seconds for w in session.statistics().workers]

    # Samples in pieces

    def test_pieces_are_told_before_their_sample_and_bits_are_those_of_no_executor(self, executor: Executor) -> None:
        events = in_pieces(executor, scripted.InPieces())
        assert_equal_bits(scripted.results(events, SAMPLES), truth_in_pieces())
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

    def test_pieces_of_several_samples_share_the_workers_with_whole_units(self, executor: Executor) -> None:
        units = [
            *scripted.units_in_pieces(4),
            WorkUnit(4, 8), WorkUnit(8, 12), WorkUnit(12, 13, 4), WorkUnit(13, 24),
        ]  # fmt: skip
        job = scripted.job_in_pieces(scripted.InPieces())
        payload = scripted.results(list(scripted.run(executor, job, units)))
        rows = np.r_[4:12, 13:24]
        assert payload["logits"][rows].tobytes() == truth(job)["logits"][rows].tobytes()
        assert payload["logits"][:4].tobytes() == truth_in_pieces(4)["logits"].tobytes()

    @pytest.mark.parametrize("missing", ["analyse_in_pieces", "piece_worker"])
    def test_a_job_that_knows_no_pieces_is_analysed_whole(self, executor: Executor, missing: str) -> None:
        job = scripted.job_in_pieces(scripted.InPieces(), SAMPLES, **{missing: None})
        events = list(scripted.run(executor, job, scripted.units_in_pieces(SAMPLES)))
        assert_equal_bits(scripted.results(events, SAMPLES), truth(job))
        assert not any(isinstance(e, PieceDone) for e in events)

    def test_what_was_kept_is_recalled_and_not_computed_again(self, executor: Executor, tmp_path: Path) -> None:
        kept = scripted.Kept()
        for event in in_pieces(executor, scripted.InPieces()):
            kept.keep(event)
        missing = ["102-neurons-4", "102-rows-0", "107-rows-2"]
        for key in missing:
            del kept.pieces[int(key[:3]) - 100, key]
        analysis = scripted.InPieces(path=tmp_path)
        events = in_pieces(executor, analysis, recall=kept.recall)
        assert_equal_bits(scripted.results(events, SAMPLES), truth_in_pieces())
        assert sorted(analysis.computed()) == missing
        assert sorted(e.key for e in events if isinstance(e, PieceDone)) == missing
        for event in events:
            kept.keep(event)
        events = in_pieces(executor, analysis, recall=kept.recall)  # all of it is kept now
        assert_equal_bits(scripted.results(events, SAMPLES), truth_in_pieces())
        assert len(analysis.computed()) == 3

    def test_a_piece_that_raises_fails_its_sample_with_its_text(self, executor: Executor, caplog: Any) -> None:
        with caplog.at_level(logging.WARNING, "distverify.runtime"):
            payload = scripted.results(in_pieces(executor, scripted.InPieces("raise")), SAMPLES)
        assert np.flatnonzero(payload["status"] == FAILED).tolist() == [5]
        assert payload["message"][5] == "neurons 8:12: FloatingPointError: bad block"
        assert np.isnan(payload["logits"][5]).all()
        assert_equal_bits(payload, truth_in_pieces(), OTHERS_IN_PIECES)
        assert caplog.messages == ["sample 105 failed: neurons 8:12: FloatingPointError: bad block"]

    def test_an_analysis_that_raises_fails_its_sample(self, executor: Executor) -> None:
        def analysis(net: Any, sample: Any, *rest: Any) -> dict[str, Any]:
            if sample.index == 105:
                raise ZeroDivisionError("mine")
            return scripted.InPieces()(net, sample, *rest)

        payload = scripted.results(in_pieces(executor, analysis), SAMPLES)
        assert payload["message"][5] == "ZeroDivisionError: mine"
        assert_equal_bits(payload, truth_in_pieces(), OTHERS_IN_PIECES)

    def test_stopping_within_a_sample_keeps_its_pieces_and_the_next_run_goes_on(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        stop: list[bool] = []
        kept, done = scripted.Kept(), []
        analysis = scripted.InPieces(path=tmp_path, seconds=0.02)
        job, units = scripted.job_in_pieces(analysis, SAMPLES), scripted.units_in_pieces(SAMPLES)
        for event in scripted.run(executor, job, units, lambda: bool(stop)):
            kept.keep(event)
            if isinstance(event, UnitDone):
                done.append(event.unit)
            if isinstance(event, PieceDone) and event.key == "102-neurons-8":
                stop.append(True)
        assert sorted(analysis.computed()) == sorted(key for _, key in kept.pieces)  # what was begun was kept
        assert WorkUnit(2, 3, 4) not in done
        assert len(analysis.computed()) < SAMPLES * PER_SAMPLE
        left = [unit for unit in units if unit not in done]
        events = list(scripted.run(executor, job, left, recall=kept.recall))
        assert {e.unit for e in events if isinstance(e, UnitDone)} == set(left)
        assert len(analysis.computed()) == len(set(analysis.computed())) == SAMPLES * PER_SAMPLE  # none twice


class FaultContract(ExecutorContract):
    """For executors whose workers may die and be killed. Fixture: ``limited``, which makes an executor with a time limit."""

    @pytest.fixture
    def limited(self) -> Callable[[float], Executor]:
        raise NotImplementedError

    def test_a_sample_that_always_ends_its_worker_is_given_up_and_the_others_are_kept(self, executor: Executor) -> None:
        events = list(scripted.run(executor, scripted.job(scripted.crash), scripted.units(8)))
        payload = scripted.results(events)
        assert np.flatnonzero(payload["status"] == FAILED).tolist() == [5]
        assert payload["message"][5].startswith("given up after 3 workers were lost on it (the worker process")
        assert_equal_bits(payload, truth(scripted.job(scripted.logits)), OTHERS)
        assert sum(isinstance(e, UnitLost) for e in events) == 3 + 2  # 8, 4, 2, and twice alone

    def test_a_sample_that_hangs_is_timed_out_and_its_neighbours_are_kept(self, limited: Any) -> None:
        begin = time.monotonic()
        payload = scripted.results(list(scripted.run(limited(0.5), scripted.job(scripted.hang), scripted.units(8))))
        assert np.flatnonzero(payload["status"] == TIMED_OUT).tolist() == [5]
        assert payload["message"][5] == "stopped after the time limit of 0.5 s"
        assert_equal_bits(payload, truth(scripted.job(scripted.logits)), OTHERS)
        assert time.monotonic() - begin < 30.0

    def test_workers_that_end_before_they_are_ready_end_the_run(self, executor: Executor) -> None:
        job = scripted.job(scripted.logits, scripted.warm_up_exits)
        message = r"no worker can start: \d attempts in a row failed \(the worker process died"
        with pytest.raises(ExecutorError, match=message):
            list(scripted.run(executor, job, scripted.units(8)))

    def test_a_piece_that_ends_its_worker_once_is_computed_again(
        self, executor: Executor, tmp_path: Path, caplog: Any
    ) -> None:
        analysis = scripted.InPieces("crash once", path=tmp_path)
        with caplog.at_level(logging.WARNING, "distverify.runtime"):
            events = in_pieces(executor, analysis)
        assert_equal_bits(scripted.results(events, SAMPLES), truth_in_pieces())
        lost = [e for e in events if isinstance(e, UnitLost)]
        assert [e.unit for e in lost] == [WorkUnit(5, 6, 4)]
        assert lost[0].reason.startswith("neurons 8:12: the worker process died")
        assert Counter(Counter(analysis.computed()).values()) == {1: SAMPLES * PER_SAMPLE - 1, 2: 1}
        (line,) = caplog.messages
        assert line.startswith("sample 105 lost, will be computed again: neurons 8:12: the worker process died")

    def test_a_piece_that_always_ends_its_worker_is_given_up_and_named(self, executor: Executor, caplog: Any) -> None:
        with caplog.at_level(logging.WARNING, "distverify.runtime"):
            events = in_pieces(executor, scripted.InPieces("crash", (105, "rows", 1)))
        payload = scripted.results(events, SAMPLES)
        assert np.flatnonzero(payload["status"] == FAILED).tolist() == [5]
        assert payload["message"][5].startswith(
            "rows 1:2: given up after 3 workers were lost on it (the worker process"
        )
        assert_equal_bits(payload, truth_in_pieces(), OTHERS_IN_PIECES)
        assert sum(isinstance(e, UnitLost) for e in events) == 2
        assert [line.split(":")[0] for line in caplog.messages] == [
            *["sample 105 lost, will be computed again"] * 2, "sample 105 failed",
        ]  # fmt: skip

    def test_a_piece_that_hangs_times_its_sample_out(self, limited: Any, caplog: Any) -> None:
        with caplog.at_level(logging.WARNING, "distverify.runtime"):
            payload = scripted.results(in_pieces(limited(0.5), scripted.InPieces("hang")), SAMPLES)
        assert np.flatnonzero(payload["status"] == TIMED_OUT).tolist() == [5]
        assert payload["message"][5] == "stopped after the time limit of 0.5 s"
        assert_equal_bits(payload, truth_in_pieces(), OTHERS_IN_PIECES)
        assert caplog.messages == ["sample 105 timed out: stopped after the time limit of 0.5 s"]

    def test_the_time_limit_holds_for_the_sample_not_for_each_piece(self, limited: Any) -> None:
        events = in_pieces(limited(1.0), scripted.InPieces(seconds=0.9), 1)  # seven of them: 3.6 s on two workers
        assert scripted.results(events, 1)["status"].tolist() == [TIMED_OUT]

    def test_a_session_that_is_left_in_the_middle_ends_its_workers(self, executor: Executor, tmp_path: Path) -> None:
        analysis = scripted.InPieces(path=tmp_path, seconds=0.1)
        with executor.open(scripted.job_in_pieces(analysis, SAMPLES), scripted.never) as session:
            session.add(scripted.units_in_pieces(SAMPLES))
            next(e for e in session.events() if isinstance(e, PieceDone))
        time.sleep(1.0)  # a worker may take a moment to end
        computed = len(analysis.computed())
        assert computed < PER_SAMPLE * SAMPLES
        time.sleep(0.5)
        assert len(analysis.computed()) == computed
