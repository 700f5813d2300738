"""The scheduler with samples in pieces, and with units that are added while it runs."""

from __future__ import annotations

from typing import Any

from distverify.runtime.pool import TaskDone, WorkerLost
from distverify.runtime.scheduler import (
    GRACE,
    MAX_DEATHS,
    MOST_RETRIES,
    Scheduler,
)
from distverify.runtime.stimuli import (
    BeginSample,
    Fetch,
    GiveUp,
    Kill,
    ResultFetched,
    ResultLost,
    Retry,
    SampleEnded,
    Send,
    StartWorker,
    Stop,
    Tick,
)
from distverify.status import FAILED, TIMED_OUT
from tests.runtime.instructions import (
    ask,
    look,
    ready,
    refill,
    sample,
    starts,
    unit,
    with_pieces,
)


def test_a_sample_in_pieces_is_begun_where_a_worker_is_idle_and_no_piece_waits() -> None:
    scheduler = with_pieces(sample(0), sample(1), max_workers=5)
    assert look(scheduler, 5) == starts(0, 1, 2, 3, 4)  # and no sample: there is no worker
    assert ready(scheduler, 0, 1, 2, 3, 4) == [BeginSample(sample(0))]
    pieces = ask(scheduler, sample(0))
    sent = refill(scheduler)
    assert sent == [*(Send(i, pieces[i]) for i in range(4)), BeginSample(sample(1))]  # for the worker that is left
    for worker, piece in enumerate(pieces):
        assert scheduler.handle(TaskDone(worker), 0.0) == [Fetch(piece)]
        scheduler.handle(ResultFetched(piece), 0.0)
    assert not scheduler.finished
    scheduler.handle(SampleEnded(sample(0)), 0.0)
    scheduler.handle(SampleEnded(sample(1)), 0.0)
    assert scheduler.finished


def test_pieces_come_before_fresh_units_and_whole_units_stay_in_order() -> None:
    scheduler = with_pieces(sample(0), unit(1, 3), sample(3), max_workers=1)
    look(scheduler, 1)
    assert ready(scheduler, 0) == [BeginSample(sample(0))]
    assert refill(scheduler) == [Send(0, unit(1, 3))]  # while the analysis has not asked yet
    pieces = ask(scheduler, sample(0), 2)
    for piece in pieces:
        scheduler.handle(TaskDone(0, 2), 0.0)
        assert refill(scheduler) == [Send(0, piece)]


def test_a_piece_that_kills_its_workers_is_given_up_after_three_deaths_and_never_split() -> None:
    scheduler = with_pieces(sample(0), max_workers=1)
    look(scheduler, 1)
    ready(scheduler, 0)
    (piece,) = ask(scheduler, sample(0), 1)
    worker, step = 0, refill(scheduler)
    for death in range(1, MAX_DEATHS + 1):
        for machine_gone in (True, False):
            assert step == [Send(worker, piece)]
            (follows,) = scheduler.handle(WorkerLost(worker, "scripted", machine_gone), 0.0)
            assert isinstance(follows, GiveUp) == (death == MAX_DEATHS and not machine_gone)
            worker += 1
            assert refill(scheduler) == starts(worker)
            step = ready(scheduler, worker)
    assert follows == GiveUp(piece, FAILED, "given up after 3 workers were lost on it (scripted)")
    scheduler.handle(SampleEnded(sample(0)), 0.0)
    assert scheduler.finished


def test_a_piece_without_a_result_is_told_to_its_analysis() -> None:
    scheduler = with_pieces(sample(0), max_workers=1)
    look(scheduler, 1)
    ready(scheduler, 0)
    (piece,) = ask(scheduler, sample(0), 1)
    refill(scheduler)
    assert scheduler.handle(TaskDone(0, error="ValueError: no"), 0.0) == [GiveUp(piece, FAILED, "ValueError: no")]


def test_a_lost_result_of_a_piece_is_computed_again() -> None:
    scheduler = with_pieces(sample(0), max_workers=1)
    look(scheduler, 1)
    ready(scheduler, 0)
    (piece,) = ask(scheduler, sample(0), 1)
    assert refill(scheduler) == [Send(0, piece)]
    scheduler.handle(TaskDone(0), 0.0)
    assert scheduler.handle(ResultLost(piece, "gone"), 0.0) == [Retry(piece, "gone")]
    assert refill(scheduler) == [Send(0, piece)]


def test_a_sample_that_is_over_leaves_nothing_waiting_and_forgets_its_pieces_in_flight() -> None:
    scheduler = with_pieces(sample(0), sample(1), max_workers=2)
    look(scheduler, 2)
    ready(scheduler, 0, 1)
    pieces = ask(scheduler, sample(0), 3)
    assert refill(scheduler) == [Send(0, pieces[0]), Send(1, pieces[1])]
    scheduler.handle(SampleEnded(sample(0)), 0.0)
    assert scheduler.handle(WorkerLost(0, "scripted"), 0.0) == []
    assert scheduler.handle(TaskDone(1), 0.0) == []  # its result is not fetched
    assert scheduler.handle(ResultLost(pieces[2], "late"), 0.0) == []
    assert refill(scheduler) == [BeginSample(sample(1))]  # the third piece is dropped
    scheduler.handle(SampleEnded(sample(1)), 0.0)
    assert scheduler.finished


def test_the_time_limit_of_a_sample_in_pieces_counts_from_its_first_piece() -> None:
    scheduler = with_pieces(sample(0), time_limit=10.0, max_workers=2)
    look(scheduler, 2)
    assert ready(scheduler, 0) == [BeginSample(sample(0))]
    assert scheduler.handle(Tick(2), 1e9) == []  # no piece is begun
    pieces = ask(scheduler, sample(0), 3)
    assert refill(scheduler, 100.0) == [Send(0, pieces[0])]
    scheduler.handle(TaskDone(0), 101.0)
    refill(scheduler, 109.0)
    assert scheduler.handle(Tick(2), 110.0 + GRACE) == []
    late = GiveUp(sample(0), TIMED_OUT, "stopped after the time limit of 10 s")
    assert scheduler.handle(Tick(2), 110.1 + GRACE) == [late, Kill(0)]  # the sample's time, not the piece's
    assert scheduler.finished
    assert scheduler.handle(Tick(2), 1e9) == []


def test_workers_wanted_for_samples_in_pieces() -> None:
    assert len(look(with_pieces(sample(0, 8)), 4)) == 5
    assert len(look(with_pieces(sample(0, 2), unit(1, 9)), 4)) == 3
    scheduler = with_pieces(sample(0, 3))
    assert look(scheduler, 0) == starts(0)
    assert ready(scheduler, 0) == [BeginSample(sample(0, 3))]
    assert look(scheduler, 4) == starts(1, 2)  # also while its analysis has not asked
    ask(scheduler, sample(0, 3), 2)
    assert scheduler.demand(100) == 3


def test_stop_keeps_pieces_in_flight_and_begins_no_other() -> None:
    scheduler = with_pieces(sample(0), sample(1), max_workers=2)
    look(scheduler, 2)
    ready(scheduler, 0)
    pieces = ask(scheduler, sample(0), 2)
    assert refill(scheduler) == [Send(0, pieces[0])]
    scheduler.handle(Stop(), 0.0)
    assert ready(scheduler, 1) == []
    assert not scheduler.finished
    assert scheduler.handle(TaskDone(0), 0.0) == [Fetch(pieces[0])]
    assert scheduler.finished


def test_an_iterator_of_units_is_consumed_as_workers_need_them() -> None:
    taken: list[int] = []

    def endless() -> Any:
        for i in range(10**9):
            taken.append(i)
            yield unit(i)

    scheduler = Scheduler(endless(), max_workers=4)
    look(scheduler, 4)
    ready(scheduler, 0, 1, 2, 3)
    for i in range(100):
        for worker in range(4):
            (fetch,) = scheduler.handle(TaskDone(worker), 0.0)
            assert isinstance(fetch, Fetch)
            scheduler.handle(ResultFetched(fetch.task), 0.0)
            assert refill(scheduler) == [Send(worker, unit(4 * i + worker + 4))]
        assert not scheduler.finished
    assert len(taken) <= 404 + 5


def test_what_is_remembered_of_deaths_and_retries_does_not_grow() -> None:
    scheduler = Scheduler((unit(i) for i in range(10**9)), max_workers=1)
    step = look(scheduler, 1)
    for _ in range(20 * MOST_RETRIES):  # every fresh unit dies once
        if isinstance(step[0], StartWorker):
            step = ready(scheduler, step[0].worker)
        (send,) = step
        assert isinstance(send, Send)
        if send.task in scheduler._deaths:
            scheduler.handle(TaskDone(send.worker), 0.0)
            scheduler.handle(ResultFetched(send.task), 0.0)
        else:
            scheduler.handle(WorkerLost(send.worker, "x"), 0.0)
        step = refill(scheduler)
    assert len(scheduler._deaths) <= MOST_RETRIES + 1
    assert len(scheduler._retries) <= MOST_RETRIES + 1


def test_units_may_be_added_at_any_time() -> None:
    scheduler = Scheduler([unit(0)], max_workers=1)
    look(scheduler, 1)
    ready(scheduler, 0)
    scheduler.add([])
    scheduler.add(iter([unit(1)]))
    scheduler.handle(TaskDone(0), 0.0)
    assert refill(scheduler) == [Send(0, unit(1))]
    scheduler.handle(TaskDone(0), 0.0)
    assert scheduler.finished
    scheduler.add([unit(2)])
    assert not scheduler.finished
