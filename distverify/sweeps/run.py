"""A sweep: all instances that are still to be answered, by Ray's workers or one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from distverify.sweeps.instances import BenchmarkInstance
from distverify.sweeps.results import InstanceResult, ResultsTable
from distverify.sweeps.task import run_instance

# Told of each instance as it is answered.
Told = Callable[[BenchmarkInstance, InstanceResult], None]


def sweep(
    instances: Sequence[BenchmarkInstance],
    table: ResultsTable,
    told: Told,
    *,
    executor: str = "ray",
    address: str | None = None,
    only: Callable[[BenchmarkInstance], bool] = lambda instance: True,
) -> int:
    """Answer the instances that ``table`` does not have; how many there were.

    Parameters
    ----------
    executor : "ray" or "serial"
    address : str, optional
        Of a Ray cluster, all machines of which see the folder.
    """
    open_ = [i for i in instances if i.key not in table.done and only(i)]
    for place, result in _answers(open_, executor, address):
        table.add(open_[place], result)
        told(open_[place], result)
    return len(open_)


def _answers(
    instances: Sequence[BenchmarkInstance], executor: str, address: str | None
) -> Iterator[tuple[int, InstanceResult]]:
    if executor == "serial" or not instances:
        yield from ((place, run_instance(instance)) for place, instance in enumerate(instances))
        return
    from distverify.runtime.ray.tasks import run_tasks

    yield from run_tasks(run_instance, instances, address, lambda reason: InstanceResult("error", 0.0, message=reason))
