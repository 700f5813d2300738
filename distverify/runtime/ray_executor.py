"""Work units on Ray: plain actors, one unit in flight on each, and a ``ray.wait`` loop.

Actors never restart and Ray retries no call, so every death reaches this loop and names one unit; what
follows from a death is decided in :mod:`distverify.runtime.policy`. This is the only file that imports
Ray.
"""

from __future__ import annotations

import math
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np

from distverify.errors import ExecutorError, SettingsError
from distverify.runtime.policy import Scheduler, Verdict
from distverify.runtime.threads import limit_threads
from distverify.runtime.work import Event, Job, Payload, UnitDone, UnitLost, WorkersChanged, WorkUnit
from distverify.runtime.worker import blank_payload, describe, receive, run_unit

# Deaths are events of the run; Ray's own lines about them are noise. Ray reads both variables while it is
# imported.
os.environ.setdefault(
    "RAY_DEDUP_LOGS_SKIP_REGEX", "A worker died or was killed|has been marked dead|Raylet is terminated"
)
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no notice on the terminal, no report to the network

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RaySystemError, RayTaskError

POLL_SECONDS = 0.5  # how late a signal, an overdue unit or a new node may be noticed
CONNECT_SECONDS = 5.0


class RayExecutor:
    """Runs work units on the actors of a Ray cluster.

    Parameters
    ----------
    address : str, optional
        "host:port" of a running cluster, or "auto" to find the one on this machine. Default: RAY_ADDRESS
        of the environment, else ("local") a Ray of its own on this machine, which ends with the run. A
        Ray that this process is already connected to is used as it is, and left running.
    cpus_per_actor : float
        CPUs that each actor reserves; its kernels use that many threads (at least one). Whole above 1.
    max_actors : int, optional
        Default: as many as the CPUs alive can hold; nodes that join are used, nodes that leave are survived.
    time_limit : float, optional
        Seconds per sample, enforced to about a second; a sample that exceeds it is recorded as timed out.

    Raises
    ------
    SettingsError
        A number out of range.
    """

    def __init__(
        self,
        address: str | None = None,
        cpus_per_actor: float = 1,
        max_actors: int | None = None,
        time_limit: float | None = None,
    ) -> None:
        if not (math.isfinite(cpus_per_actor) and cpus_per_actor > 0):
            raise SettingsError(f"cpus_per_actor: got {cpus_per_actor}; give a positive number")
        if cpus_per_actor > 1 and cpus_per_actor != int(cpus_per_actor):
            raise SettingsError(f"cpus_per_actor: got {cpus_per_actor}; above 1 Ray takes whole numbers only")
        if max_actors is not None and max_actors < 1:
            raise SettingsError(f"max_actors: got {max_actors}; give at least 1")
        if time_limit is not None and not (math.isfinite(time_limit) and time_limit > 0):
            raise SettingsError(f"time_limit: got {time_limit}; give a positive number of seconds")
        self.address = address
        self.cpus_per_actor = cpus_per_actor
        self.max_actors = max_actors
        self.time_limit = time_limit

    def run(self, job: Job, units: list[WorkUnit], should_stop: Callable[[], bool]) -> Generator[Event]:
        """Yield events until every sample is in a UnitDone, or ``should_stop()`` and nothing is in flight.

        The first event, a WorkersChanged, comes when Ray is connected. Ray installs a handler for SIGTERM
        while it connects; a Python handler that was there before is put back by then, others are
        installed after it. Closing the iterator ends the actors, and the Ray that was started for this
        run.

        Raises
        ------
        ExecutorError
            No connection, more CPUs per actor than any node has, actors that cannot start, or Ray itself
            failed.
        """
        with _connected(self.address):
            loop = _DriverLoop(self, job, units, should_stop)
            try:
                yield from loop.events()
            except RayError as error:
                raise ExecutorError(
                    f"Ray failed ({describe(error)}); what was computed is kept: run the same again"
                ) from error
            finally:
                loop.close()


class _Worker:
    """The actor."""

    def __init__(self, job: list[Any], threads: int, time_limit: float | None) -> None:
        self._job_ref = job[0]  # inside a list Ray does not fetch it before `start` does
        self._threads = threads
        self._budget = math.inf if time_limit is None else time_limit

    def start(self) -> str:
        """Make ready to compute; returns the id of the node."""
        self._limit = limit_threads(self._threads)
        self._job = receive(self._fetch)
        return str(ray.get_runtime_context().get_node_id())

    def _fetch(self) -> Job:
        try:
            job: Job = ray.get(self._job_ref)
        except RaySystemError as error:
            # Ray hides the cause in its own traceback; the cause is in the first line.
            raise ImportError(f"the job cannot be read: {str(error).splitlines()[0]}") from None
        return job

    def compute(self, unit: WorkUnit) -> tuple[int, Payload]:
        """How many of the unit's samples are done (tiny: read first), and their payload."""
        payload = run_unit(self._job, unit, self._budget)
        return len(payload["status"]), payload


class _DriverLoop:
    """Carries out what the scheduler decides."""

    def __init__(self, executor: RayExecutor, job: Job, units: list[WorkUnit], should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop
        self._cpus = executor.cpus_per_actor
        self._scheduler = Scheduler(units, executor.max_actors, executor.time_limit)
        self._job = job
        self._handles: dict[int, Any] = {}  # worker -> actor handle
        self._nodes: dict[int, str] = {}  # worker -> node id, once ready
        self._calls: dict[Any, int] = {}  # reference of a call's first result -> worker
        self._payloads: dict[int, Any] = {}  # worker -> reference of its unit's payload
        self._slots = 0
        self._slots_seen = -math.inf
        self._raylet = ""  # socket of the Ray process on this machine
        self._reported = WorkersChanged(alive=0, starting=0)
        # Put once; every actor reads the arrays in its node's shared memory, which takes contiguous ones.
        self._job_ref = ray.put(replace(job, inputs=np.ascontiguousarray(job.inputs)))
        threads = max(1, int(self._cpus))
        actor = ray.remote(num_cpus=self._cpus, max_restarts=0, max_task_retries=0)(_Worker)
        self._new_actor: Callable[[], Any] = lambda: actor.remote([self._job_ref], threads, executor.time_limit)

    def events(self) -> Iterator[Event]:
        yield self._reported
        self._check_capacity()
        here = ray.get_runtime_context().get_node_id()
        self._raylet = next(n["RayletSocketName"] for n in _nodes_alive() if n["NodeID"] == here)
        while True:
            if self._should_stop():
                self._scheduler.stop()
            if self._scheduler.finished:
                return
            if self._scheduler.stopping and not _answers(self._raylet):
                # A SIGTERM to the process group, or to the batch job, ended Ray as well. Units in flight are
                # lost; waiting for them, Ray would end this process after a minute.
                return
            yield from self._kill_overdue()
            self._start_workers()
            for worker in self._scheduler.idle():
                self._refill(worker)
            yield from self._workers_changed()
            yield from self._next_call()

    def close(self) -> None:
        """End every actor, pending ones too."""
        for worker in list(self._handles):
            self._forget(worker)

    def _check_capacity(self) -> None:
        most = max((node["Resources"].get("CPU", 0.0) for node in _nodes_alive()), default=0.0)
        if most < self._cpus:
            raise ExecutorError(
                f"cpus_per_actor: got {self._cpus:g}, but the largest node of this Ray has {most:g} CPUs; "
                f"give at most {most:g}, or add a larger node"
            )

    def _start_workers(self) -> None:
        now = time.monotonic()
        if self._scheduler.stopping:
            return
        if now - self._slots_seen >= POLL_SECONDS:
            self._slots = sum(int(n["Resources"].get("CPU", 0.0) / self._cpus + 1e-9) for n in _nodes_alive())
            self._slots_seen = now
        for _ in range(self._scheduler.missing_workers(self._slots, now)):
            worker = self._scheduler.start()
            self._handles[worker] = self._new_actor()
            self._calls[self._handles[worker].start.remote()] = worker

    def _refill(self, worker: int) -> None:
        if self._should_stop():  # asked anew: a signal may have come while this loop waited
            self._scheduler.stop()
        unit = self._scheduler.assign(worker, time.monotonic())
        if unit is not None:
            call, payload = self._handles[worker].compute.options(num_returns=2).remote(unit)
            self._calls[call] = worker
            self._payloads[worker] = payload

    def _next_call(self) -> Iterator[Event]:
        """Wait for one call to end, for a poll interval at most, and deal with it."""
        if not self._calls:
            time.sleep(POLL_SECONDS)
            return
        for call in ray.wait(list(self._calls), num_returns=1, timeout=POLL_SECONDS)[0]:
            worker = self._calls.pop(call)
            payload = self._payloads.pop(worker, None)
            try:
                answer = ray.get(call)
            except RayError as error:
                yield from self._worker_lost(worker, error)
                continue
            if payload is None:
                self._nodes[worker] = answer
                self._scheduler.ready(worker)
                continue
            node = self._nodes[worker]
            unit = self._scheduler.done(worker, answer)
            self._refill(worker)  # before the fetch: transfer and computation overlap
            yield from self._fetch(unit, payload, node)

    def _fetch(self, unit: WorkUnit, payload: Any, node: str) -> Iterator[Event]:
        try:
            values: Payload = ray.get(payload)
        except RayError as error:
            reason = f"its result cannot be fetched ({_reason(error)})"
            yield self._lost(unit, reason, self._scheduler.payload_lost(unit, reason, _gone(node)))
        else:
            yield UnitDone(unit, values)

    def _worker_lost(self, worker: int, error: RayError) -> Iterator[Event]:
        reason = _reason(error)
        node = self._nodes.get(worker)
        self._forget(worker)
        if node is None:
            self._scheduler.start_failed(worker, reason, time.monotonic())
            return
        unit, verdict = self._scheduler.died(worker, reason, _gone(node))
        if unit is not None:
            yield self._lost(unit, reason, verdict)

    def _kill_overdue(self) -> Iterator[Event]:
        for worker in self._scheduler.overdue(time.monotonic()):
            call = next(call for call, owner in self._calls.items() if owner == worker)
            if ray.wait([call], timeout=0)[0]:
                continue  # done in time; this loop was late
            del self._calls[call], self._payloads[worker]
            self._forget(worker)
            unit, verdict = self._scheduler.timed_out(worker)
            yield self._lost(unit, "a sample exceeds the time limit", verdict)

    def _lost(self, unit: WorkUnit, reason: str, verdict: Verdict | None) -> Event:
        if verdict is None:
            return UnitLost(unit, reason)
        return UnitDone(verdict.unit, blank_payload(self._job, verdict.unit, verdict.status, verdict.message))

    def _forget(self, worker: int) -> None:
        self._nodes.pop(worker, None)
        with suppress(RayError):  # already dead, or Ray is gone
            ray.kill(self._handles.pop(worker), no_restart=True)

    def _workers_changed(self) -> Iterator[Event]:
        now = WorkersChanged(self._scheduler.alive, self._scheduler.starting)
        if now != self._reported:
            self._reported = now
            yield now


def _nodes_alive() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _gone(node: str) -> bool:
    return all(alive["NodeID"] != node for alive in _nodes_alive())


def _answers(unix_socket: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(unix_socket)
        except OSError:
            return False
    return True


def _reason(error: RayError) -> str:
    """One line for people, out of Ray's paragraphs."""
    if isinstance(error, RayTaskError):
        return describe(error.cause)
    if isinstance(error, OutOfMemoryError):
        return "the worker was ended because its machine ran out of memory"
    if isinstance(error, RayActorError):
        text = str(error)
        detail = re.search(r"Worker exit detail: (.*?)\.?(?= Some common causes|$)", text, re.M)
        if detail is None and "__init__" in text:  # the last line of the constructor's traceback
            return text.strip().splitlines()[-1]
        return "the worker process died" + (f": {detail.group(1)}" if detail else "")
    return describe(error)


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Connect to Ray, or start one on this machine; undo what was done."""
    if ray.is_initialized():
        here = ray.get_runtime_context().gcs_address
        if address not in (None, "auto", here):
            raise ExecutorError(f"address: got {address!r}, but Ray is connected to {here}; call ray.shutdown() first")
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        try:
            _connect(address or os.environ.get("RAY_ADDRESS") or "local")
        except SystemExit:  # from the handler of SIGTERM that Ray has while it connects
            raise KeyboardInterrupt from None
        if callable(handler) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
        yield
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        try:
            ray.init(address="local", include_dashboard=False, num_cpus=_cpus_allowed(), **quiet)
        except Exception as error:
            raise ExecutorError(
                f"Ray cannot be started on this machine ({describe(error)}); "
                "the serial executor works without it (--executor serial)"
            ) from error
        return
    if address != "auto":
        _check_address(address)
    try:
        ray.init(address=address, **quiet)
    except Exception as error:
        raise ExecutorError(
            f"address: cannot connect to Ray at {address!r} ({describe(error)}); check that the cluster "
            "runs, with the same versions of Ray and Python, and that its authentication token is known here"
        ) from error


def _check_address(address: str) -> None:
    """Ray itself tries for minutes and then ends the process: look first whether anything listens."""
    match = re.fullmatch(r"\[?([^\s/\]]+)\]?:(\d{1,5})", address)
    if match is None:
        raise ExecutorError(
            f'address: got {address!r}; give host:port of the head node (port: 6379), "auto" or "local"'
        )
    try:
        socket.create_connection((match.group(1), int(match.group(2))), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ExecutorError(
            f"address: nothing answers at {address!r} ({describe(error)}); "
            "check the address, that `ray start --head` has run there, and the firewall"
        ) from error


def _cpus_allowed() -> int | None:
    """CPUs that this process may use, where fewer than the machine has (Slurm, taskset); None: Ray counts."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    allowed = len(os.sched_getaffinity(0))
    return allowed if allowed < (os.cpu_count() or 1) else None
