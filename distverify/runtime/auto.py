"""The choice of an executor that is made when a few samples were timed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from distverify.runtime.job import Executor, Job, Recall, Session
from distverify.runtime.serial import SerialExecutor


@dataclass(frozen=True)
class AutoExecutor:
    """This process for what is over soon, other workers for everything else; the driver decides.

    Attributes
    ----------
    elsewhere : callable () -> Executor
    here : Executor
    """

    elsewhere: Callable[[], Executor]
    here: Executor = field(default_factory=lambda: SerialExecutor(trial=True))

    def open(
        self, job: Job, should_stop: Callable[[], bool], recall: Recall | None = None
    ) -> AbstractContextManager[Session]:
        """Elsewhere, for callers that time nothing."""
        return self.elsewhere().open(job, should_stop, recall)
