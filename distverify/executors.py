"""The executor that a run's options name."""

from __future__ import annotations

import os
from dataclasses import replace

from distverify.options.run import Workers
from distverify.runtime.auto import AutoExecutor
from distverify.runtime.job import Executor
from distverify.runtime.serial import SerialExecutor


def choose_executor(workers: Workers) -> Executor:
    """What carries out the work; nothing is started yet."""
    if workers.executor == "serial":
        return SerialExecutor()
    if workers.executor == "auto" and workers == Workers() and not os.environ.get("RAY_ADDRESS"):
        return AutoExecutor(lambda: choose_executor(replace(workers, executor="ray")))
    from distverify.runtime.ray.executor import RayExecutor

    return RayExecutor(
        workers.address, workers.cpus_per_actor, workers.max_actors, workers.time_limit, workers.memory_per_actor
    )
