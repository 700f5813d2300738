"""The run as a whole, on scripted workers: what is timed, planned, computed, kept and told."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distverify.analysis.cost import SampleCost
from distverify.analysis.warm_up import warm_up
from distverify.data.dataset import Dataset
from distverify.driver import Planning, Progress, carry_out
from distverify.errors import ExecutorError, Interrupted, ResultError, SettingsError
from distverify.network.graph import Network
from distverify.reporting import line
from distverify.results.journal.journal import Journal
from distverify.results.reader import open_result
from distverify.runtime.auto import AutoExecutor
from distverify.runtime.job import Event, Job, PieceDone, UnitDone, WorkersChanged
from distverify.runtime.signals import SAME_SIGNAL
from distverify.status import FAILED
from distverify.work import Plan, RunStatistics, WorkerRecord, WorkUnit
from tests.results.runs import make_manifest, make_payload

SAMPLES = 40
SMALL = SampleCost(seconds=0.1, stages=1, pieces=1)


@dataclass
class Script:
    """An executor whose workers are a queue: it notes the units, and yields them done in the order that ``arrange`` gives."""

    slots: int = 4
    open_subproblems: int = 0
    seconds: float = 1.0  # of every sample
    hang: frozenset[int] = frozenset()  # positions that end last
    failing: frozenset[int] = frozenset()
    stop_after: int | None = None  # units, then the driver gets a signal
    units: list[WorkUnit] = field(default_factory=list)
    manifest: Any = None
    pieces: bool = False
    recalled: list[bool] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)  # open subproblems as each piece is done

    @contextmanager
    def open(self, job: Job, should_stop: Any, recall: Any = None) -> Iterator[Script]:
        self._should_stop, self._recall = should_stop, recall
        self._sources: list[Iterator[WorkUnit]] = []
        yield self

    def add(self, units: Iterable[WorkUnit]) -> None:
        self._sources.append(iter(units))

    def statistics(self) -> RunStatistics:
        done = len(self.units)
        return RunStatistics((WorkerRecord(0, "here", done, SAMPLES, 9.0, 10.0),), units_done=done, units_lost=2)

    def events(self) -> Iterator[Event]:
        yield WorkersChanged(self.slots, 0)
        late: list[WorkUnit] = []
        done = 0
        while self._sources or late:
            unit = next(self._sources[0], None) if self._sources else None
            if unit is None:
                if self._sources:
                    self._sources.pop(0)
                    continue
                unit = late.pop(0)
            elif unit.size == 1 and unit.start in self.hang:
                self.units.append(unit)
                late.append(unit)
                continue
            else:
                self.units.append(unit)
            if self._should_stop():
                return
            if self.pieces:
                known = self._recall(unit.start, "k1")
                self.recalled.append(known is not None)
                if known is None:
                    self.open_subproblems = self.waiting.pop(0) if self.waiting else 0
                    yield PieceDone(unit.start, "k1", {"lower": np.arange(3.0)}, 5.0)
                if done == self.stop_after:
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
            payload = make_payload(self.manifest, unit)
            payload["seconds"][:] = self.seconds
            for k in range(unit.size):
                if unit.start + k in self.failing:
                    payload["status"][k], payload["seconds"][k] = FAILED, 1e6
            yield UnitDone(unit, payload)
            done += 1
            if done == self.stop_after and not self.pieces:
                os.kill(os.getpid(), signal.SIGTERM)


def network() -> Network:
    return Network.from_layers([(np.ones((3, 6)), np.zeros(3))], activation="relu")


def run(
    output: Path, script: Script, *, here: Script | None = None, samples: int = SAMPLES, **planning: Any
) -> list[Progress]:
    manifest = make_manifest(samples, compute=("lipschitz",))
    script.manifest = manifest
    executor: Any = script
    if here is not None:
        here.manifest = manifest
        executor = AutoExecutor(lambda: script, here)
    job = Job(
        network(),
        Dataset(np.zeros((samples, 6)), np.zeros(samples, dtype=np.int64), np.arange(samples), "zeros", (6,)),
        manifest.settings,
        lambda *_: {},
        warm_up,
    )
    told: list[Progress] = []
    with Journal.open(output, manifest) as journal:
        carry_out(
            journal,
            executor,
            job,
            Planning(**{"cost": SMALL, "bytes_per_sample": 100} | planning),
            str(output),
            told.append,
        )
    return told


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.h5"


def positions(units: Iterable[WorkUnit]) -> list[int]:
    return sorted(p for u in units for p in range(u.start, u.stop))


def test_some_samples_are_timed_and_the_rest_is_cut_accordingly(output: Path) -> None:
    plans: list[Plan] = []
    script = Script(seconds=2.0)
    told = run(output, script, planned=plans.append)
    assert script.units[:4] == [WorkUnit(p, p + 1) for p in (0, 10, 20, 30)]
    assert positions(script.units) == list(range(SAMPLES))
    assert [p.seconds_per_sample for p in plans] == [2.0]
    assert plans[0].workers == 4
    assert (
        max(u.size for u in script.units) == plans[0].unit_samples == 2
    )  # 20 units, 32 would be shorter than 2 s each
    assert told[0].phase == "starting"
    assert {p.phase for p in told} == {"starting", "probing", "running", "finishing"}
    assert told[-1].done == told[-1].total == SAMPLES
    assert told[0].seconds == 0.0  # there are no workers yet
    assert told[-1].seconds > 0.0
    recorded = open_result(output).provenance["environment"]
    assert recorded["plan"]["seconds_per_sample"] == 2.0
    statistics = recorded["statistics"]
    assert (statistics["units_lost"], statistics["samples"], statistics["kernel_seconds"]) == (2, SAMPLES, 9.0)
    assert statistics["units_done"] == len(script.units)
    assert statistics["each"][0]["node"] == "here"


def test_a_sample_that_hangs_holds_up_no_plan(output: Path) -> None:
    script = Script(hang=frozenset({10, 20}))
    run(output, script)
    assert positions(script.units) == list(range(SAMPLES))  # those in flight are not begun twice
    assert Counter(u.start for u in script.units)[10] == 1


def test_a_failed_sample_tells_nothing_of_time(output: Path) -> None:
    plans: list[Plan] = []
    run(output, Script(failing=frozenset({0, 10})), planned=plans.append)
    assert plans[0].seconds_per_sample == 1.0


def test_where_every_timed_sample_fails_the_run_goes_on(output: Path) -> None:
    plans: list[Plan] = []
    script = Script(failing=frozenset(range(SAMPLES)))
    run(output, script, planned=plans.append)
    assert plans[0].seconds_per_sample is None
    assert positions(script.units) == list(range(SAMPLES))


@pytest.mark.parametrize("slots", [4, 64])
def test_as_many_workers_as_samples_need_no_timing(output: Path, slots: int) -> None:
    script = Script(slots=slots)
    told = run(output, script, samples=4)
    assert script.units == [WorkUnit(p, p + 1) for p in range(4)]
    assert "probing" not in {p.phase for p in told}


def test_few_large_samples_are_cut_into_pieces(output: Path) -> None:
    script = Script(slots=8)
    run(output, script, samples=2, cost=SampleCost(seconds=100.0, stages=2, pieces=100))
    assert script.units == [WorkUnit(0, 1, 16), WorkUnit(1, 2, 16)]


def test_what_was_told_is_followed_without_timing(output: Path) -> None:
    script = Script()
    run(output, script, unit_samples=7)
    assert max(u.size for u in script.units) == 7
    assert positions(script.units) == list(range(SAMPLES))


def test_a_plan_is_kept_whatever_is_measured_later(output: Path) -> None:
    first = Script(seconds=2.0, stop_after=6)
    with pytest.raises(Interrupted, match="run the same command to continue"):
        run(output, first)
    plans: list[Plan] = []
    again = Script(slots=50, seconds=0.001)
    told = run(output, again, planned=plans.append)
    assert (plans[0].seconds_per_sample, plans[0].workers) == (2.0, 4)
    assert max(u.size for u in again.units) == 2
    assert "probing" not in {p.phase for p in told}
    assert (
        told[0].resumed == told[0].done == 7
    )  # four timed ones, what is left of the unit that held one of them, and another of two
    assert len(positions(again.units)) == SAMPLES - 7


def test_a_run_that_ended_while_timing_times_again(output: Path) -> None:
    with pytest.raises(Interrupted):
        run(output, Script(stop_after=1))
    plans: list[Plan] = []
    again = Script(seconds=3.0)
    run(output, again, planned=plans.append)
    assert plans[0].seconds_per_sample == 3.0
    assert 0 not in positions(again.units)


@pytest.mark.parametrize("told", [{"unit_samples": 3}, {"pieces": 4}])
def test_another_cut_than_the_interrupted_run_has_is_refused(output: Path, told: dict[str, int]) -> None:
    with pytest.raises(Interrupted):
        run(output, Script(stop_after=6), unit_samples=5)
    with pytest.raises(SettingsError, match=r"goes on as planned; leave .*_per_.* out, or start afresh"):
        run(output, Script(), **told)
    run(output, Script(), unit_samples=5)


def test_pieces_are_kept_for_the_run_that_goes_on(output: Path) -> None:
    first = Script(pieces=True, stop_after=1)
    with pytest.raises(Interrupted):
        run(output, first, pieces=3)
    again = Script(pieces=True)
    run(output, again, pieces=3)
    assert again.recalled == [True] + [False] * (SAMPLES - 2)  # the second sample's piece was kept, the first is done
    assert not output.with_name(output.name + ".parts").exists()


def test_open_subproblems_are_told_while_a_search_goes_on(output: Path) -> None:
    told = run(output, Script(pieces=True, waiting=[1200, 7]), samples=3, pieces=2)
    lines = [line(progress) for progress in told]
    assert [p.open_subproblems for p in told if p.pieces and p.open_subproblems] == [1200, 1200, 7, 7]
    assert any("1 piece, 1,200 open subproblems, " in text for text in lines), lines
    assert any("2 pieces, 7 open subproblems, " in text for text in lines), lines
    assert "open subproblems" not in lines[-1]


class Broken(Script):
    """An executor whose workers are lost for good after ``stop_after`` units."""

    def events(self) -> Iterator[Event]:
        after, self.stop_after = self.stop_after, None
        for number, event in enumerate(super().events()):
            if number > (after or 0):
                raise ExecutorError("the head is gone")
            yield event


def test_an_error_after_something_was_finished_interrupts_the_run(output: Path) -> None:
    with pytest.raises(Interrupted) as caught:
        run(output, Broken(stop_after=3))
    assert str(caught.value).startswith("error: the head is gone\ninterrupted: 3 of 40 samples are kept in ")
    script = Script()
    assert run(output, script)[0].resumed == 3
    assert len(positions(script.units)) == SAMPLES - 3


def test_an_error_before_anything_was_finished_leaves_nothing_behind(output: Path) -> None:
    with pytest.raises(ExecutorError, match="the head is gone"):
        run(output, Broken(stop_after=0))
    assert list(output.parent.iterdir()) == []


@pytest.mark.parametrize("how", ["error", "signal"])
def test_what_was_kept_in_a_folder_that_is_gone_is_not_promised(output: Path, how: str) -> None:
    class Removing(Script):
        def events(self) -> Iterator[Event]:
            for number, event in enumerate(super().events()):
                if number == 3:
                    shutil.rmtree(output.with_name(output.name + ".parts"))
                    if how == "signal":
                        return
                yield event

    with pytest.raises(ResultError, match=r"out\.h5\.parts: was removed while the run went on, and with it what was"):
        run(output, Removing())
    assert list(output.parent.iterdir()) == []


def test_two_signals_at_once_are_one_and_a_later_one_ends_at_once(output: Path) -> None:
    class Pressed(Script):
        def events(self) -> Iterator[Event]:
            for number, event in enumerate(super().events()):
                yield event
                if number == 2:
                    for _ in range(3):
                        os.kill(os.getpid(), signal.SIGINT)
                    assert self._should_stop()
                    time.sleep(1.5 * SAME_SIGNAL)
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(10)
                    pytest.fail("the second signal did nothing")

    with pytest.raises(Interrupted, match="interrupted: 2 of 40"):
        run(output, Pressed())


def test_a_run_that_is_over_soon_starts_no_other_workers(output: Path) -> None:
    here, elsewhere = Script(slots=1, seconds=0.1), Script()
    plans: list[Plan] = []
    told = run(output, elsewhere, here=here, planned=plans.append)
    assert elsewhere.units == []
    assert here.units[:2] == [WorkUnit(0, 1), WorkUnit(20, 21)]  # timed
    assert positions(here.units) == list(range(SAMPLES))
    assert (plans[0].workers, plans[0].seconds_per_sample) == (1, 0.1)
    assert [p.phase for p in told][:2] == ["starting", "probing"]
    assert open_result(output).provenance["environment"]["workers"] == 1


def test_a_longer_run_goes_on_elsewhere_without_timing_again(output: Path) -> None:
    here, elsewhere = Script(slots=1, seconds=1.0), Script()
    plans: list[Plan] = []
    run(output, elsewhere, here=here, planned=plans.append)
    assert positions(here.units) == [0, 20]
    assert positions(here.units + elsewhere.units) == list(range(SAMPLES))
    assert (plans[0].workers, plans[0].seconds_per_sample) == (4, 1.0)
    statistics = open_result(output).provenance["environment"]["statistics"]
    assert statistics["units_done"] == len(here.units) + len(elsewhere.units)


@pytest.mark.parametrize(
    "planning", [{"cost": SampleCost(seconds=10.0, stages=1, pieces=1)}, {"unit_samples": 3}], ids=["long", "told"]
)
def test_what_is_long_or_cut_by_the_user_is_not_tried(output: Path, planning: dict[str, Any]) -> None:
    here, elsewhere = Script(slots=1, seconds=0.1), Script()
    run(output, elsewhere, here=here, **planning)
    assert here.units == []
    assert positions(elsewhere.units) == list(range(SAMPLES))


def test_a_stop_in_a_trial_starts_nothing_else(output: Path) -> None:
    here, elsewhere = Script(slots=1, seconds=1.0, stop_after=1), Script()
    with pytest.raises(Interrupted, match="1 of 40"):
        run(output, elsewhere, here=here)
    assert elsewhere.units == []


def test_what_is_left_of_a_longer_run_may_be_done_here(output: Path) -> None:
    with pytest.raises(Interrupted):
        run(output, Script(seconds=0.5, stop_after=14))
    here, elsewhere = Script(slots=1, seconds=0.5), Script()
    told = run(output, elsewhere, here=here)
    assert elsewhere.units == []
    assert len(positions(here.units)) == SAMPLES - told[0].resumed


def test_a_finished_run_starts_nothing(output: Path) -> None:
    run(output, Script())
    script = Script()
    plans: list[Plan] = []
    run(output, script, planned=plans.append)
    assert script.units == plans == []


def test_nonsense_is_refused_before_anything_starts() -> None:
    planning = Planning(SMALL, 100, unit_samples=2, pieces=2)
    with pytest.raises(SettingsError, match="a unit is several samples or a part of one"):
        planning.check(SAMPLES)
    replace(planning, pieces=None).check(SAMPLES)
