"""The driver's loop: plain actors, one task in flight on each, and ``ray.wait``.

Actors never restart and Ray retries no call, so every death reaches this loop and names one task; what
follows from a death is decided in :mod:`distverify.runtime.policy`. What each task costs here does not grow
with the number of actors or units: 0.8 ms were measured at 2 actors, 0.7 ms at 24.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from distverify.runtime.conversation import SampleInPieces
from distverify.runtime.failures import log_failures, log_lost
from distverify.runtime.job import Event, Job, PieceDone, PieceTask, Recall, Task, UnitDone, UnitLost, WorkersChanged
from distverify.runtime.policy import Scheduler, Verdict
from distverify.runtime.ray.actor import Handle, Status, actor_factory
from distverify.runtime.ray.cluster import Cluster
from distverify.runtime.ray.connection import RayError, answers, explained, get_all, ray, reason
from distverify.runtime.ray.metrics import MeteredTally
from distverify.runtime.threads import ThreadLimit, limit_threads
from distverify.runtime.worker import blank_payload
from distverify.work import Payload, RunStatistics, WorkUnit

POLL_SECONDS = 0.5  # how late a signal, an overdue unit or a new node may be noticed
LARGEST_REQUEST = 256  # actors that an autoscaler is asked for where no number is given
SHARED_KEPT = 4  # of each sample in the object store: an analysis may come back to earlier ones


@dataclass(frozen=True, eq=False)
class _Delivery:
    """A task that is done; its results wait where they were computed."""

    task: Task
    worker: int
    node: str
    seconds: float
    payload: Any


class RaySession:
    """The session that :meth:`RayExecutor.open` gives; carries out what the scheduler decides."""

    def __init__(
        self, job: Job, should_stop: Callable[[], bool], recall: Recall | None, own: bool, *,
        cpus: float, memory: int | None, max_actors: int | None, time_limit: float | None,
    ) -> None:  # fmt: skip
        self._job = job
        self._should_stop = should_stop
        self._recall = recall
        self._max_actors = max_actors
        self._threads = max(1, int(cpus))
        self._scheduler = Scheduler((), max_actors, time_limit, job.in_pieces)
        self._tally = MeteredTally()
        self._handles: dict[int, Handle] = {}
        self._calls: dict[Any, tuple[int, Task | None, Any]] = {}  # first result -> worker, task (None: start), payload
        self._samples: dict[WorkUnit, SampleInPieces] = {}  # begun
        self._shared: dict[WorkUnit, dict[str, Any]] = {}  # references to what their pieces share
        self._limit: ThreadLimit | None = None
        self._deliveries: deque[_Delivery] = deque()
        self._outbox: deque[Event] = deque()
        self._reported = WorkersChanged(alive=0, starting=0)
        self._next_look = -math.inf
        with explained():
            self._cluster = Cluster(cpus, memory, own)
            self._raylet = self._cluster.raylet_here()
            # Put once; every actor reads the arrays in its node's shared memory.
            job_ref = ray.put(job)
            self._new_actor = actor_factory(job_ref, cpus, memory, self._threads, time_limit)

    @property
    def slots(self) -> int:
        """How many actors fit on the machines that are there now; at least 1."""
        self._cluster.look()
        return max(1, min(self._cluster.slots, self._max_actors or self._cluster.slots))

    def add(self, units: Iterable[WorkUnit]) -> None:
        """Queue units; an iterator is consumed as workers need them."""
        self._scheduler.add(units)

    def events(self) -> Generator[Event]:
        """Yield events until every sample added is done, or ``should_stop()`` and nothing is in flight.

        Raises
        ------
        ExecutorError
            Actors cannot start, or Ray itself failed.
        """
        with explained():
            while True:
                yield from self._flush()
                stopping = self._stopping()
                if self._scheduler.finished and not self._deliveries:
                    return
                if stopping and not answers(self._raylet):
                    # A SIGTERM to the process group, or to the batch job, ended Ray as well. Tasks in flight are
                    # lost; waiting for them, Ray would end this process after a minute.
                    return
                if self._cluster.head_answers():  # else workers on other nodes go on all the same
                    self._keep_house()
                self._hand_out()
                if len(self._deliveries) <= self._scheduler.alive:  # so a slow consumer costs time, not memory
                    self._collect()
                    self._report_workers()

    def statistics(self) -> RunStatistics:
        """So far."""
        return self._tally.statistics()

    def close(self) -> None:
        """End every actor, pending ones too."""
        for sample in self._samples.values():
            sample.close()
        self._samples.clear()
        self._shared.clear()
        if answers(self._raylet):
            self._cluster.withdraw()
        for worker in list(self._handles):
            self._forget(worker)
        self._tally.workers(0)
        if self._limit is not None:
            self._limit.restore()

    def _flush(self) -> Iterator[Event]:
        """What is to be told; of the units that are done one at a time is fetched, so that workers need not wait for all."""
        yield from self._told()
        if self._deliveries:
            self._fetch_unit(self._deliveries.popleft())
            yield from self._told()

    def _told(self) -> Iterator[Event]:
        while self._outbox:
            yield self._outbox.popleft()

    def _stopping(self) -> bool:
        """Whether nothing more is begun. Asked often: a signal may have come while this loop waited for something."""
        if not self._scheduler.stopping and self._should_stop():
            self._scheduler.stop()
            for sample in self._samples.values():
                sample.close()  # its pieces in flight are told when they come
        return self._scheduler.stopping

    def _gone(self, node: str) -> bool:
        """Whether that node is to blame. When a run stops, Ray may have been ended as well, and would not answer: not asked then."""
        return self._stopping() or self._cluster.gone(node)

    # Once per poll interval

    def _keep_house(self) -> None:
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + POLL_SECONDS
            self._kill_overdue(now)
            if not self._stopping():
                self._cluster.look()
                if not self._cluster.own:
                    self._cluster.request(self._scheduler.demand(self._max_actors or LARGEST_REQUEST))
                self._cluster.waiting(now, self._scheduler.alive)
        for _ in range(self._scheduler.missing_workers(self._cluster.slots, now)):
            worker = self._scheduler.start()
            handle = self._handles[worker] = Handle(self._new_actor())
            handle.call = handle.actor.start.remote()
            self._calls[handle.call] = worker, None, None
        self._report_workers()

    def _kill_overdue(self, now: float) -> None:
        for unit in self._scheduler.overdue_samples(now):
            verdict = self._scheduler.too_late(unit)
            self._end_sample(unit)
            self._give_up(unit, verdict)
        for worker in self._scheduler.overdue(now):
            call = self._handles[worker].call
            if ray.wait([call], timeout=0)[0]:
                continue  # done in time; this loop was late
            del self._calls[call]
            self._forget(worker)
            task, verdict_or_none = self._scheduler.timed_out(worker)
            self._lost(task, "a sample exceeds the time limit", verdict_or_none)

    def _report_workers(self) -> None:
        now = WorkersChanged(self._scheduler.alive, self._scheduler.starting)
        if now != self._reported:
            if now.alive != self._reported.alive:
                self._tally.workers(now.alive)
            self._reported = now
            self._outbox.append(now)

    # From the scheduler to the actors

    def _hand_out(self) -> None:
        """Give every idle worker a task, as long as there are any."""
        for worker in self._scheduler.idle():
            while True:
                if self._stopping():
                    return
                task = self._scheduler.assign(worker, time.monotonic())
                if task is not None:
                    self._send(worker, task)
                    break
                unit = self._scheduler.begin_sample()
                if unit is None:
                    return
                if self._limit is None:
                    self._limit = limit_threads(self._threads)  # an analysis here computes as one in a worker
                sample = SampleInPieces(self._job, unit, self._recall, self._limit)
                self._samples[unit] = sample
                self._go_on(sample, sample.begin())
                if sample.payload is not None:
                    return  # nothing to compute: tell first, so that such samples do not pile up

    def _send(self, worker: int, task: Task) -> None:
        handle = self._handles[worker]
        if isinstance(task, PieceTask):
            handle.call, payload = handle.compute_piece.remote(task.piece, self._shared_of(task))
        else:
            handle.call, payload = handle.compute.remote(task)
        self._calls[handle.call] = worker, task, payload

    def _shared_of(self, task: PieceTask) -> Any:
        """Reference to what the pieces of a request share, put into the object store by the first of them."""
        kept = self._shared.setdefault(task.unit, {})
        key = task.shared.key
        if key not in kept:
            if len(kept) == SHARED_KEPT:
                del kept[next(iter(kept))]  # calls in flight hold it as long as they need it
            kept[key] = ray.put(task.shared)
        return kept[key]

    # From the actors to the scheduler

    def _collect(self) -> None:
        """Wait for calls to end, for a poll interval at most, and deal with all that have."""
        calls = list(self._calls)
        patience = 0.0 if self._outbox or self._deliveries else POLL_SECONDS
        if not calls:
            time.sleep(patience)
            return
        if not ray.wait(calls, num_returns=1, timeout=patience)[0]:
            return
        ready = ray.wait(calls, num_returns=len(calls), timeout=0)[0]
        pieces: list[_Delivery] = []
        for call, answer in zip(ready, get_all(ready), strict=True):
            worker, task, payload = self._calls.pop(call)
            if isinstance(answer, RayError):
                self._worker_lost(worker, answer)
            elif task is None:
                self._worker_ready(worker, answer)
            else:
                self._settle(worker, answer, payload, pieces)
        self._hand_out()  # before any fetch: transfer and computation overlap
        for delivery in pieces:
            self._fetch_piece(delivery)
        if pieces:
            self._hand_out()  # what the analyses asked for, before anything is written

    def _worker_ready(self, worker: int, node: str) -> None:
        self._handles[worker].node = node
        self._scheduler.ready(worker)
        self._tally.worker_ready(worker, self._cluster.met(node))

    def _settle(self, worker: int, status: Status, payload: Any, pieces: list[_Delivery]) -> None:
        completed, seconds, error = status
        task = self._scheduler.done(worker, completed)
        node = self._handles[worker].node or ""
        if not isinstance(task, PieceTask):
            self._deliveries.append(_Delivery(task, worker, node, seconds, payload))
        elif error:
            self._tally.unit_failed()
            self._fail_piece(task, error)
        elif task.unit in self._samples:  # else its sample is over
            pieces.append(_Delivery(task, worker, node, seconds, payload))

    def _fetch_unit(self, delivery: _Delivery) -> None:
        values = self._fetch(delivery)
        if values is not None and isinstance(delivery.task, WorkUnit):
            self._tally.unit_done(delivery.worker, delivery.task.size, delivery.seconds)
            self._outbox.append(self._done(delivery.task, values))

    def _fetch_piece(self, delivery: _Delivery) -> None:
        task = delivery.task
        values = self._fetch(delivery)
        if values is None or not isinstance(task, PieceTask):
            return
        self._tally.unit_done(delivery.worker, 0, delivery.seconds)
        sample = self._samples.get(task.unit)
        if sample is not None:
            self._outbox.append(PieceDone(task.unit.start, task.piece.key, values, delivery.seconds))
            self._go_on(sample, sample.accept(task, values, delivery.seconds))

    def _fetch(self, delivery: _Delivery) -> Payload | None:
        try:
            values: Payload = ray.get(delivery.payload)
        except RayError as error:
            text = f"its result cannot be fetched ({reason(error)})"
            verdict = self._scheduler.payload_lost(delivery.task, text, self._gone(delivery.node))
            self._lost(delivery.task, text, verdict)
            return None
        self._scheduler.delivered(delivery.task)
        return values

    def _worker_lost(self, worker: int, error: RayError) -> None:
        text = reason(error)
        node = self._handles[worker].node
        self._forget(worker)
        if node is None:
            self._scheduler.start_failed(worker, text, time.monotonic())
            return
        gone = self._gone(node)
        if gone and not self._scheduler.stopping:
            text = f"its machine is gone ({text})"
        task, verdict = self._scheduler.died(worker, text, gone)
        if task is not None:
            self._lost(task, text, verdict)

    def _forget(self, worker: int) -> None:
        self._tally.worker_gone(worker)
        with suppress(RayError):  # already dead, or Ray is gone
            ray.kill(self._handles.pop(worker).actor, no_restart=True)

    # What is told, and what goes on

    def _go_on(self, sample: SampleInPieces, tasks: list[PieceTask]) -> None:
        """The sample's analysis has asked for more, or has ended."""
        if sample.payload is None:
            self._scheduler.add_pieces(tasks)
        else:
            self._end_sample(sample.unit)
            self._outbox.append(self._done(sample.unit, sample.payload))

    def _end_sample(self, unit: WorkUnit) -> None:
        self._scheduler.end_sample(unit)
        self._samples.pop(unit).close()
        self._shared.pop(unit, None)

    def _fail_piece(self, task: PieceTask, text: str) -> None:
        sample = self._samples.get(task.unit)
        if sample is not None:
            self._go_on(sample, sample.fail(task, text))

    def _lost(self, task: Task, text: str, verdict: Verdict | None) -> None:
        unit = task.unit if isinstance(task, PieceTask) else task
        if isinstance(task, PieceTask):
            if task.unit not in self._samples:
                return
            text = f"{task.piece}: {text}"
        if verdict is None:
            self._tally.unit_lost()
            if not self._scheduler.stopping:  # else what ends the run may have ended the worker too
                log_lost(self._job, unit, text)
            self._outbox.append(UnitLost(unit, text))
        elif isinstance(task, PieceTask):
            self._tally.unit_failed()
            self._fail_piece(task, verdict.message)
        else:
            self._give_up(unit, verdict)

    def _give_up(self, unit: WorkUnit, verdict: Verdict) -> None:
        self._tally.unit_failed()
        self._outbox.append(self._done(unit, blank_payload(self._job, unit, verdict.status, verdict.message)))

    def _done(self, unit: WorkUnit, payload: Payload) -> UnitDone:
        self._tally.outcome(payload)
        log_failures(self._job, unit, payload)
        return UnitDone(unit, payload)
