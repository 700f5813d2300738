"""Independent tasks on Ray's workers: as many at a time as there are processors, answers as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from distverify.runtime.ray.connection import RayError, connected, explained, ray, reason

T = TypeVar("T")
R = TypeVar("R")

# Tasks that are handed to Ray beyond those that run: none waits for the driver.
_AHEAD = 64


def run_tasks(
    task: Callable[[T], R], items: Sequence[T], address: str | None, failed: Callable[[str], R]
) -> Iterator[tuple[int, R]]:
    """Run ``task`` of each item with one processor; yields each one's place and answer as it is there.

    Parameters
    ----------
    address : str or None
        Of a Ray cluster; by default a Ray of this machine, which ends with the tasks.
    failed : callable (str)
        The answer of a task that died, from the reason.

    Raises
    ------
    ExecutorError
        No connection, or a cluster that is lost.
    """
    with connected(address), explained():
        remote: Any = ray.remote(num_cpus=1, max_retries=1)(task)
        waiting: dict[Any, int] = {}
        order = iter(range(len(items)))
        most = max(1, int(ray.cluster_resources().get("CPU", 1))) + _AHEAD
        while True:
            for place in order:
                waiting[remote.remote(items[place])] = place
                if len(waiting) >= most:
                    break
            if not waiting:
                return
            (ready,), _ = ray.wait(list(waiting), num_returns=1)
            place = waiting.pop(ready)
            try:
                answer = ray.get(ready)
            except RayError as error:
                answer = failed(reason(error))
            yield place, answer
