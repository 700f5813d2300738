"""The actor that computes units and pieces."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from distverify.questions.pieces import Piece, Shared
from distverify.runtime.job import Job
from distverify.runtime.ray.connection import RaySystemError, ray
from distverify.runtime.threads import limit_threads
from distverify.runtime.worker import PieceRunner, receive, run_unit
from distverify.work import Payload, WorkUnit

# What is read first of a result, tiny: as in a TaskDone. How many of the unit's samples are done, kernel seconds, and what went
# wrong with a piece.
Status = tuple[int, float, str]


class Worker:
    """Runs in a process of its own, started by Ray."""

    def __init__(self, job: list[Any], threads: int, time_limit: float | None) -> None:
        self._job_ref = job[0]  # inside a list Ray does not fetch it before `start` does
        self._threads = threads
        self._budget = math.inf if time_limit is None else time_limit

    def start(self) -> str:
        """Make ready to compute; returns the id of the node."""
        self._limit = limit_threads(self._threads)
        self._job = receive(self._fetch)
        self._pieces = PieceRunner(self._job)
        return str(ray.get_runtime_context().get_node_id())

    def compute(self, unit: WorkUnit) -> tuple[Status, Payload]:
        """A unit of whole samples."""
        payload = run_unit(self._job, unit, self._budget, among_others=True)
        return (len(payload["status"]), float(payload["seconds"].sum()), ""), payload

    def compute_piece(self, piece: Piece, shared: Shared) -> tuple[Status, Payload]:
        """A piece of a sample; ``shared`` is read where the object store holds it."""
        seconds, error, arrays = self._pieces.run(piece, shared)
        return (1, seconds, error), arrays

    def _fetch(self) -> Job:
        try:
            job: Job = ray.get(self._job_ref)
        except RaySystemError as error:
            # Ray hides the cause in its own traceback; the cause is in the first line.
            raise ImportError(f"the job cannot be read: {str(error).splitlines()[0]}") from None
        return job


def actor_factory(
    job_ref: Any,
    cpus: float,
    memory: int | None,
    threads: int,
    time_limit: float | None,
    more: Mapping[str, Any] | None = None,
) -> Callable[[], Any]:
    """A function that starts another actor. Ray repeats nothing: every death reaches the driver."""
    needs: dict[str, Any] = {"num_cpus": cpus} | ({} if memory is None else {"memory": memory})
    needs |= more or {}
    actor = ray.remote(max_restarts=0, max_task_retries=0, **needs)(Worker)
    return lambda: actor.remote([job_ref], threads, time_limit)


class Handle:
    """The driver's end of an actor."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.node: str | None = None  # its id, once the actor is ready
        self.call: Any = None  # reference of what it does now
        # Options cost more than a call: asked for once.
        self.compute = actor.compute.options(num_returns=2)
        self.compute_piece = actor.compute_piece.options(num_returns=2)
