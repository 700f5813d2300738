"""Work units one after the other in this process: for tiny runs, and the reference for other executors."""

from __future__ import annotations

from collections.abc import Callable, Generator

from distverify.errors import ExecutorError
from distverify.runtime.threads import limit_threads
from distverify.runtime.work import Event, Job, UnitDone, WorkersChanged, WorkUnit
from distverify.runtime.worker import describe, run_unit


class SerialExecutor:
    """Runs every unit in this process.

    Parameters
    ----------
    threads : int, optional
        Threads of BLAS, OpenMP and Numba while the run lasts. Default 1, as in a Ray worker with one CPU;
        another number may change the order of sums, and with it the last bits of the results.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = 1 if threads is None else threads

    def run(self, job: Job, units: list[WorkUnit], should_stop: Callable[[], bool]) -> Generator[Event]:
        """Yield a UnitDone per unit, in order; ``should_stop`` is asked between units.

        Raises
        ------
        ExecutorError
            The warm-up failed.
        """
        with limit_threads(self.threads):
            yield WorkersChanged(alive=1, starting=0)
            try:
                job.warm_up()
            except Exception as error:
                raise ExecutorError(f"the kernels could not be warmed up ({describe(error)})") from error
            for unit in units:
                if should_stop():
                    return
                yield UnitDone(unit, run_unit(job, unit))
