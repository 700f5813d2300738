"""One level of parallelism: workers side by side, each on the threads that it reserved."""

from __future__ import annotations

from types import TracebackType

import numba
from threadpoolctl import threadpool_limits

from distverify.errors import SettingsError


class ThreadLimit:
    """A limit in force on BLAS, OpenMP and Numba of this process; made by :func:`limit_threads`.

    Keep the object as long as the limit shall hold; leave its ``with`` block or call :meth:`restore` to
    lift it.
    """

    def __init__(self, threads: int) -> None:
        self._numba_before = int(numba.get_num_threads())
        self._pools = threadpool_limits(limits=threads)
        numba.set_num_threads(min(threads, int(numba.config.NUMBA_NUM_THREADS)))

    def restore(self) -> None:
        """Give every library the number of threads back that it had."""
        self._pools.restore_original_limits()
        numba.set_num_threads(self._numba_before)

    def __enter__(self) -> ThreadLimit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()


def limit_threads(threads: int) -> ThreadLimit:
    """Limit the libraries that are loaded to ``threads`` threads each; call it after importing the kernels.

    Parameters
    ----------
    threads : int
        At least 1. Numba cannot exceed the number that it started with, and stays there.

    Raises
    ------
    SettingsError
        Fewer than one thread.
    """
    if threads < 1:
        raise SettingsError(f"threads: got {threads}; give at least 1")
    return ThreadLimit(threads)
