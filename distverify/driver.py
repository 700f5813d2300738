"""Carrying out a run: workers compute, the journal keeps, a plan made on the way says in which order."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from distverify.analysis.cost import SampleCost
from distverify.errors import Interrupted, ResultError, SettingsError, argument
from distverify.results.journal.journal import Journal
from distverify.results.statistics import describe_statistics, speed_range
from distverify.runtime.auto import AutoExecutor
from distverify.runtime.job import Event, Executor, Job, PieceDone, Session, UnitDone, WorkersChanged
from distverify.runtime.plan import HUGE_SECONDS, make_plan, probe_units
from distverify.runtime.signals import Signals
from distverify.status import COMPUTED
from distverify.whole_network import compute_network
from distverify.work import Plan, RunStatistics, WorkUnit

# The statistics of many workers take a while to gather: not after every unit.
_STATISTICS_EVERY = 0.5  # seconds
SMALL_SECONDS = 5.0  # of work for one worker; a Ray of our own takes longer to start and to end
_TRIED = 2  # samples that are timed in this process
_GUESSED_TOO_LONG = 30.0  # times: a guess that is as much above SMALL_SECONDS needs no trial


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    done, total : int
        Samples; ``done`` includes those that an earlier run had finished.
    failed : int
        Of those done: failed or timed out.
    workers : int
        Alive now.
    seconds : float
        Since this run has workers.
    resumed : int
        Samples that were done when this run began.
    retried : int
        Units and pieces that were lost with a worker, and computed again.
    units : int
        Units and pieces that are finished.
    efficiency : float or None
        Kernel time as a share of the workers' time so far.
    slowest, fastest : float or None
        Samples per second of the slowest and the fastest worker.
    phase : "starting", "probing", "running" or "finishing"
    pieces : int
        Pieces of samples that this run has computed.
    open_subproblems : int
        Of the searches that several workers share now.
    """

    done: int
    total: int
    failed: int
    workers: int
    seconds: float
    resumed: int = 0
    retried: int = 0
    units: int = 0
    efficiency: float | None = None
    slowest: float | None = None
    fastest: float | None = None
    phase: str = "running"
    pieces: int = 0
    open_subproblems: int = 0


@dataclass(frozen=True)
class Planning:
    """What a plan is made from, besides the workers there are and what samples are measured to take.

    Attributes
    ----------
    cost : SampleCost
        Guessed from the network.
    bytes_per_sample : int
        Of results.
    unit_samples, pieces : int or None
        What the user decided.
    planned : callable (Plan), optional
        Told of the plan, once it is made or found in the journal.
    """

    cost: SampleCost
    bytes_per_sample: int
    unit_samples: int | None = None
    pieces: int | None = None
    planned: Callable[[Plan], None] | None = None

    @property
    def told(self) -> bool:
        return self.unit_samples is not None or self.pieces is not None

    def check(self, samples: int) -> None:
        """Refuse what was told and makes no sense, before anything starts.

        Raises
        ------
        SettingsError
        """
        self.plan(samples, 1, None)

    def plan(self, samples: int, workers: int, seconds: float | None) -> Plan:
        return make_plan(
            samples, workers=workers, bytes_per_sample=self.bytes_per_sample, seconds_per_sample=seconds, cost=self.cost,
            unit_samples=self.unit_samples, pieces=self.pieces,
        )  # fmt: skip


def carry_out(
    journal: Journal, executor: Executor, job: Job, planning: Planning, output: str,
    progress: Callable[[Progress], None] | None = None, time_limit: float | None = None,
) -> None:  # fmt: skip
    """Compute what is pending, and finish the result file.

    ``time_limit`` is that of the searches over the whole network, in seconds.

    Raises
    ------
    Interrupted
        A signal or an error stopped it; what was computed is kept.
    ExecutorError, ResultError
        Nothing is kept, and nothing is left behind but an older result that was to be replaced.
    """
    _Run(journal, job, planning, output, progress, time_limit).carry_out(executor)


class _Run:
    def __init__(
        self, journal: Journal, job: Job, planning: Planning, output: str, progress: Callable[[Progress], None] | None,
        time_limit: float | None,
    ) -> None:  # fmt: skip
        self._journal = journal
        self._job = job
        self._planning = planning
        self._output = output
        self._progress = progress
        self._time_limit = time_limit
        self._begin = time.perf_counter()
        self._computing: float | None = None  # since when there are workers
        self._total = job.data.size
        self._resumed = self._done
        self._phase = "starting"
        self._workers = self._most_workers = self._pieces = 0
        self._statistics = self._earlier = RunStatistics()  # now, and before the present session
        self._trial = False
        self._open = 0
        self._statistics_due = 0.0
        self._probes: set[int] = set()  # positions that are being timed
        self._wanted = 0  # probes at the start
        self._timed: list[float] = []

    @property
    def _done(self) -> int:
        return self._total - self._journal.status_counts()["pending"]

    def carry_out(self, executor: Executor) -> None:
        self._tell()
        if self._journal.finished:
            return
        self._refuse_another_plan()
        try:
            with Signals() as signals:
                if isinstance(executor, AutoExecutor):
                    if self._worth_a_trial():
                        self._compute(executor.here, signals, trial=True)
                    executor = executor.elsewhere() if self._done < self._total else executor.here
                if self._done < self._total and not signals.stopped():
                    self._compute(executor, signals)
                if self._done < self._total:
                    raise self._interrupted()
                self._finish(executor, signals)
        except KeyboardInterrupt:
            raise self._interrupted() from None
        except Interrupted:
            raise
        except Exception as error:  # whatever it was: results that are kept are worth a run that continues
            if self._journal.kept or self._journal.removed:
                raise self._interrupted(error) from error
            self._journal.abandon()
            raise

    def _compute(self, executor: Executor, signals: Signals, trial: bool = False) -> None:
        """All that is pending; in a trial nothing more than what is timed, unless that says that all is done soon.

        Afterwards workers and their Ray are gone, and its handlers of signals.
        """
        self._trial = trial
        self._computing = None
        with executor.open(self._job, signals.stopped, self._journal.recall) as session:
            signals.install()  # Ray replaces handlers while it connects
            self._start(session)
            for event in session.events():
                self._take(event, session)
                del event  # its results may fill the memory that the next ones need
            self._probes.clear()  # those of a trial that took too long are still to be done
            self._statistics = self._earlier = self._earlier.with_later(session.statistics())

    def _worth_a_trial(self) -> bool:
        """Whether the run may be over soon, as far as can be guessed."""
        plan, pending = self._journal.manifest.plan, self._total - self._done
        if plan is not None:
            return plan.seconds_per_sample is not None and self._soon(plan.seconds_per_sample)
        return not self._planning.told and self._planning.cost.seconds * pending < SMALL_SECONDS * _GUESSED_TOO_LONG

    def _soon(self, seconds: float) -> bool:
        """Whether one worker has done what is pending in less time than Ray takes to start."""
        return seconds * (self._total - self._done) < SMALL_SECONDS

    def _interrupted(self, cause: Exception | None = None) -> Interrupted | ResultError:
        """How a run ends that is not complete."""
        if self._journal.removed:
            self._journal.abandon()
            return ResultError(
                f"{self._output}.parts: was removed while the run went on, and with it what was finished; run the same "
                "command to start afresh"
            )
        journal = self._journal
        return Interrupted(self._done, self._total, self._output, cause, begun=journal.begun, afresh=journal.afresh)

    def _refuse_another_plan(self) -> None:
        plan, planning = self._journal.manifest.plan, self._planning
        if plan is None:
            return
        for name, told, found in (
            ("samples_per_unit", planning.unit_samples, plan.unit_samples),
            ("pieces_per_sample", planning.pieces, plan.pieces),
        ):
            if told is not None and told != found:
                raise SettingsError(
                    f"{name}: got {told}, but the interrupted run in {self._output} is cut by {found} and goes on as planned; "
                    f"leave {argument(name)} out, or start afresh ({argument('overwrite', True)})"
                )

    def _start(self, session: Session) -> None:
        """Queue what the plan says; without one, samples to be timed first."""
        plan, planning = self._journal.manifest.plan, self._planning
        pending = self._total - self._done
        if plan is not None:
            self._follow(plan, session)
        elif self._timed:  # in a trial
            self._make_plan(session, float(np.mean(self._timed)))
        elif self._trial:
            self._probe(session, pending, _TRIED)
        elif planning.told or pending <= session.slots or planning.cost.seconds > HUGE_SECONDS:
            self._make_plan(session, None)
        else:
            self._probe(session, pending, session.slots)
        self._tell()

    def _probe(self, session: Session, pending: int, count: int) -> None:
        self._phase = "probing"
        units = probe_units(self._journal.pending(iter([WorkUnit(0, self._total)])), pending, count)
        self._probes = {unit.start for unit in units}
        self._wanted = len(units)
        session.add(units)

    def _make_plan(self, session: Session, seconds: float | None) -> None:
        plan = self._planning.plan(self._total, session.slots, seconds)
        self._journal.record_plan(plan)
        self._follow(plan, session)

    def _follow(self, plan: Plan, session: Session) -> None:
        if self._planning.planned is not None:
            self._planning.planned(plan)
        self._phase = "running"
        session.add(_outside(self._journal.pending(plan.units()), frozenset(self._probes)))

    def _take(self, event: Event, session: Session) -> None:
        if isinstance(event, UnitDone):
            self._journal.commit(event.unit, event.payload)
            if self._phase == "probing":
                self._time(event, session)
        elif isinstance(event, PieceDone):
            self._journal.commit_piece(event.position, event.key, event.payload, event.seconds)
            self._pieces += 1
        elif isinstance(event, WorkersChanged):
            if self._computing is None and event.alive:
                self._computing = time.perf_counter()
            self._workers = event.alive
            self._most_workers = max(self._most_workers, event.alive)
        self._open = session.open_subproblems
        if time.perf_counter() >= self._statistics_due:
            self._statistics = self._earlier.with_later(session.statistics())
            self._statistics_due = time.perf_counter() + _STATISTICS_EVERY
        self._tell()

    def _time(self, event: UnitDone, session: Session) -> None:
        """Note what a probe took; half of them are enough, for one that hangs must not hold up the run."""
        fine = np.isin(event.payload["status"], COMPUTED)
        self._timed += np.asarray(event.payload["seconds"], dtype=np.float64)[fine].tolist()
        self._probes -= set(range(event.unit.start, event.unit.stop))
        seconds = float(np.mean(self._timed)) if self._timed else None
        if self._trial:
            if not self._probes and seconds is not None and self._soon(seconds):
                self._make_plan(session, seconds)
        elif not self._probes or 2 * len(self._timed) >= self._wanted:
            self._make_plan(session, seconds)

    def _finish(self, executor: Executor, signals: Signals) -> None:
        self._phase = "finishing"
        self._tell()
        facts = compute_network(self._job, executor, signals.stopped, self._time_limit)
        journal = self._journal
        seconds = time.perf_counter() - self._begin
        told: dict[str, Any] = {
            "workers": self._most_workers,
            "statistics": describe_statistics(self._statistics, self._most_workers, seconds)
            | {"resumed": self._resumed},
        }
        if journal.manifest.plan is not None:
            told["plan"] = journal.manifest.plan.to_json()
        journal.manifest = replace(journal.manifest, environment=journal.manifest.environment | told)
        journal.consolidate(datetime.now(UTC), facts)

    def _tell(self) -> None:
        if self._progress is None:
            return
        counts, statistics = self._journal.status_counts(), self._statistics
        slowest, fastest = speed_range(statistics.workers)
        self._progress(
            Progress(
                self._total - counts["pending"],
                self._total,
                counts["failed"] + counts["timed_out"],
                self._workers,
                0.0 if self._computing is None else time.perf_counter() - self._computing,
                self._resumed,
                retried=statistics.units_lost,
                units=statistics.units_done,
                efficiency=None if math.isnan(statistics.efficiency) else statistics.efficiency,
                slowest=slowest,
                fastest=fastest,
                phase=self._phase,
                pieces=self._pieces,
                open_subproblems=self._open,
            )
        )


def _outside(units: Iterator[WorkUnit], taken: frozenset[int]) -> Iterator[WorkUnit]:
    """``units`` without the positions that are being computed already."""
    for unit in units:
        start = unit.start
        for position in sorted(p for p in taken if unit.start <= p < unit.stop):
            if start < position:
                yield replace(unit, start=start, stop=position)
            start = position + 1
        if start < unit.stop:
            yield replace(unit, start=start)
