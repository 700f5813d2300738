"""What workers did, in the provenance of a result: every worker where they are few, totals where they are many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from distverify.work import RunStatistics, WorkerRecord

WORKERS_LISTED = 8  # the provenance is one HDF5 attribute of at most 64 KB, and a table on the screen


def describe_statistics(statistics: RunStatistics, most_workers: int, seconds: float) -> dict[str, Any]:
    """The statistics of a run as JSON values, of bounded size however many workers there were.

    Parameters
    ----------
    statistics : RunStatistics
    most_workers : int
        That were alive at one time.
    seconds : float
        From the start of this run (not of one that it continues) to its end.

    Returns
    -------
    dict
        ``seconds``, ``most_workers``, ``workers`` (in all), ``nodes``, ``kernel_seconds``, ``worker_seconds``,
        ``efficiency``, ``units_done``, ``units_failed``, ``units_lost``, ``samples``, ``samples_per_second``,
        ``slowest`` and ``fastest`` (samples per second of a worker); ``each``: a row per worker, if there were at most 8.
    """
    workers = statistics.workers
    slowest, fastest = speed_range(workers)
    samples = sum(w.samples for w in workers)
    told: dict[str, Any] = {
        "seconds": seconds,
        "most_workers": most_workers,
        "workers": len(workers),
        "nodes": len({w.node for w in workers}),
        "kernel_seconds": sum(w.kernel_seconds for w in workers),
        "worker_seconds": sum(w.alive_seconds for w in workers),
        "efficiency": None if math.isnan(statistics.efficiency) else statistics.efficiency,
        "units_done": statistics.units_done,
        "units_failed": statistics.units_failed,
        "units_lost": statistics.units_lost,
        "samples": samples,
        "samples_per_second": samples / seconds if seconds > 0 else None,
        "slowest": slowest,
        "fastest": fastest,
    }
    if len(workers) <= WORKERS_LISTED:
        told["each"] = [
            {
                "number": w.number,
                "node": w.node,
                "units": w.units,
                "samples": w.samples,
                "kernel_seconds": w.kernel_seconds,
                "samples_per_second": speed(w),
            }
            for w in workers
        ]
    return told


def speed(worker: WorkerRecord) -> float | None:
    """Samples per second of kernel time; None before the first whole sample."""
    return worker.samples / worker.kernel_seconds if worker.samples and worker.kernel_seconds > 0 else None


def speed_range(workers: Sequence[WorkerRecord]) -> tuple[float | None, float | None]:
    """Samples per second of the slowest and of the fastest worker that has finished a sample."""
    speeds = [s for w in workers if (s := speed(w)) is not None]
    return (min(speeds), max(speeds)) if speeds else (None, None)
