"""What tests tell a scheduler, and what they do with its instructions."""

from __future__ import annotations

from typing import Any

from distverify.questions.pieces import Piece, Shared
from distverify.runtime.job import PieceTask
from distverify.runtime.pool import TaskDone, WorkerLost, WorkerReady
from distverify.runtime.scheduler import (
    Scheduler,
)
from distverify.runtime.stimuli import (
    BeginSample,
    Fetch,
    GiveUp,
    Instruction,
    Kill,
    PiecesAsked,
    Refill,
    ResultFetched,
    Send,
    StartWorker,
    Tick,
)
from distverify.work import WorkUnit


def refill(scheduler: Scheduler, now: float = 0.0) -> list[Instruction]:
    """All that is given out, up to a sample whose analysis has to say what it needs."""
    instructions: list[Instruction] = []
    while step := scheduler.handle(Refill(), now):
        instructions += step
        if isinstance(step[0], BeginSample):
            break
    return instructions


def look(scheduler: Scheduler, slots: int | None, now: float = 0.0) -> list[Instruction]:
    return scheduler.handle(Tick(slots), now) + refill(scheduler, now)


def ready(scheduler: Scheduler, *workers: int, now: float = 0.0) -> list[Instruction]:
    for worker in workers:
        assert scheduler.handle(WorkerReady(worker), now) == []
    return refill(scheduler, now)


def starts(*workers: int) -> list[Instruction]:
    return [StartWorker(worker) for worker in workers]


def unit(start: int, stop: int | None = None) -> WorkUnit:
    return WorkUnit(start, start + 1 if stop is None else stop)


def one_by_one(count: int) -> list[WorkUnit]:
    return [unit(i) for i in range(count)]


def run(
    scheduler: Scheduler, dies: set[int], hangs: frozenset[int] = frozenset()
) -> tuple[list[WorkUnit], list[GiveUp], int]:
    """Compute everything, one worker at a time; samples in ``dies`` kill it. Units done, those given up, deaths."""
    done: list[WorkUnit] = []
    given_up: list[GiveUp] = []
    deaths, now = 0, 0.0
    (start,) = look(scheduler, 1)
    while not scheduler.finished:
        if isinstance(start, StartWorker):
            scheduler.handle(WorkerReady(start.worker), now)
            (start,) = scheduler.handle(Refill(), now)
        assert isinstance(start, Send)
        worker, task = start.worker, start.task
        assert isinstance(task, WorkUnit)
        bad = [i for i in range(task.start, task.stop) if i in dies | hangs]
        if not bad:
            assert scheduler.handle(TaskDone(worker, task.size), now) == [Fetch(task)]
            scheduler.handle(ResultFetched(task), now)
            done.append(task)
        else:
            if bad[0] in hangs:
                now += 1000.0
                kill, step = scheduler.handle(Tick(1), now)
                assert kill == Kill(worker)
            else:
                (step,) = scheduler.handle(WorkerLost(worker, "scripted"), now)
            deaths += 1
            assert deaths < 1000
            if isinstance(step, GiveUp):
                given_up.append(step)
        if not scheduler.finished:
            start = scheduler.handle(Refill(), now)[0]
    return done, given_up, deaths


def covered(units: Any) -> list[int]:
    return sorted(i for u in units for i in range(u.start, u.stop))


def sample(position: int, pieces: int = 4) -> WorkUnit:
    return WorkUnit(position, position + 1, pieces)


def tasks(unit: WorkUnit, count: int = 4, request: int = 1) -> tuple[PieceTask, ...]:
    return tuple(PieceTask(unit, request, i, Piece(f"{i}", "rows", (i, i + 1)), Shared("s")) for i in range(count))


def with_pieces(*units: WorkUnit, **options: Any) -> Scheduler:
    return Scheduler(units, in_pieces=lambda unit: unit.pieces > 1, **options)


def ask(scheduler: Scheduler, unit: WorkUnit, count: int = 4) -> tuple[PieceTask, ...]:
    assert scheduler.handle(PiecesAsked(tasks(unit, count)), 0.0) == []
    return tasks(unit, count)
