"""Work units on Ray. Only the files of this folder import it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from distverify.errors import SettingsError
from distverify.runtime.job import Job, Recall
from distverify.runtime.loop import Loop
from distverify.runtime.ray.connection import connected, explained
from distverify.runtime.ray.pool import RayPool

# Where analyses keep to the time limit by themselves, what does not end by then is stuck.
_LATE_FACTOR, _LATE_SECONDS = 3.0, 60.0


class RayExecutor:
    """Runs work units on the actors of a Ray cluster.

    Parameters
    ----------
    address : str, optional
        "host:port" of a running cluster, or "auto" to find the one on this machine. Default: RAY_ADDRESS
        of the environment, else ("local") a Ray of its own on this machine, which ends with the session. A
        Ray that this process is already connected to is used as it is, and left running.
    cpus_per_actor : float
        CPUs that each actor reserves; its kernels use that many threads (at least one). Whole above 1.
    max_actors : int, optional
        Default: as many as the CPUs alive can hold; nodes that join are used, nodes that leave are survived.
    time_limit : float, optional
        Seconds per sample, enforced to about a second; a sample that exceeds it is recorded as timed out. For a
        sample in pieces: wall time from when its first piece is begun.
    memory_per_actor : int, optional
        Bytes that each actor reserves of its node's ``memory`` resource; fewer actors fit where memory is short.
    labels : dict, optional
        Names and values of labels; only nodes that have them all are used.
    runtime_env : dict, optional
        Of the actors, as Ray takes it.

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
        memory_per_actor: int | None = None,
        labels: Mapping[str, str] | None = None,
        runtime_env: Mapping[str, Any] | None = None,
    ) -> None:
        if not (math.isfinite(cpus_per_actor) and cpus_per_actor > 0):
            raise SettingsError(f"cpus_per_actor: got {cpus_per_actor}; give a positive number")
        if cpus_per_actor > 1 and cpus_per_actor != int(cpus_per_actor):
            raise SettingsError(f"cpus_per_actor: got {cpus_per_actor}; above 1 Ray takes whole numbers only")
        if max_actors is not None and max_actors < 1:
            raise SettingsError(f"max_actors: got {max_actors}; give at least 1")
        if time_limit is not None and not (math.isfinite(time_limit) and time_limit > 0):
            raise SettingsError(f"time_limit: got {time_limit}; give a positive number of seconds")
        if memory_per_actor is not None and memory_per_actor < 1:
            raise SettingsError(f"memory_per_actor: got {memory_per_actor}; give a positive number of bytes")
        self.address = address
        self.cpus_per_actor = cpus_per_actor
        self.max_actors = max_actors
        self.time_limit = time_limit
        self.memory_per_actor = memory_per_actor
        # More of what Ray is told of each actor.
        self._more: dict[str, Any] = {} if not labels else {"label_selector": dict(labels)}
        self._more |= {} if not runtime_env else {"runtime_env": dict(runtime_env)}

    @contextmanager
    def open(self, job: Job, should_stop: Callable[[], bool], recall: Recall | None = None) -> Iterator[Loop]:
        """Connect; leaving the context ends the actors, and the Ray that was started for it.

        Ray installs a handler for SIGTERM while it connects; a Python handler that was there before is put
        back, others are best installed once this has returned.

        Where no machine of an existing cluster has room for an actor yet, the session waits, and logs what for.

        Raises
        ------
        ExecutorError
            No connection, or more CPUs (or memory) per actor than a Ray of our own has. From the session's
            events: actors that cannot start, or Ray itself failed.
        """
        with connected(self.address) as own, explained():
            limit = self.time_limit
            if limit is not None and job.ends_in_order:
                limit = _LATE_FACTOR * limit + _LATE_SECONDS
            pool = RayPool(job, own, self.cpus_per_actor, self.memory_per_actor, limit, self._more)
            limits: dict[str, Any] = {"max_workers": self.max_actors, "time_limit": limit}
            with closing(pool), Loop(pool, job, should_stop, recall, **limits) as loop:
                yield loop
