"""The executor that a run's options name."""

from __future__ import annotations

from distverify.options.run import Workers
from distverify.runtime.job import Executor
from distverify.runtime.serial import SerialExecutor


def choose_executor(workers: Workers) -> Executor:
    """What carries out the work; nothing is started yet."""
    if workers.executor == "serial":
        return SerialExecutor()
    from distverify.runtime.ray.executor import RayExecutor

    return RayExecutor(
        workers.address, workers.cpus_per_actor, workers.max_actors, workers.time_limit, workers.memory_per_actor
    )
