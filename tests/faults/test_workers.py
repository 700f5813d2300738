"""Workers that die, hang or lose what they computed, and samples that cannot be computed."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import suppress

import pytest

from tests.faults.harness import Case, assert_like_truth, complete, outcomes, start
from tests.faults.scripted import EXITS, HANGS, LOST, RAISES

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow]

BAD = 37


def test_killing_a_worker_every_two_seconds_costs_at_most_a_unit_each(case: Case) -> None:
    kills: list[tuple[int, float, set[int]]] = []  # pid, when, what was committed by then
    with start(case, seconds=0.2) as run:
        run.wait_until(case.begun)
        while run.process.poll() is None:
            alive = set(run.processes()) - {pid for pid, _, _ in kills}
            computing = [b.pid for b in case.begun() if b.pid in alive]
            if computing:
                committed = case.committed()
                with suppress(ProcessLookupError):  # the run is about to end
                    os.kill(computing[-1], signal.SIGKILL)
                    kills.append((computing[-1], time.time(), committed))
            end = time.monotonic() + 2.0
            while time.monotonic() < end and run.process.poll() is None:
                time.sleep(0.05)
        status = run.finish()
        assert status == 0, run.errors
        run.assert_gone()
    assert_like_truth(case)
    assert len(kills) >= 3
    assert kills[-1][2]
    begun = case.begun()
    for pid, when, committed in kills:
        later = {b.index for b in begun if b.time > when and b.pid != pid}
        assert not later & committed
        mine = [b.index for b in begun if b.pid == pid]
        lost = [i for i in mine if i in later]
        # A unit is a block of samples, and the one that the worker had is the last that it began.
        assert lost == mine[len(mine) - len(lost) :]
        assert lost == list(range(lost[0], lost[0] + len(lost))) if lost else True


@pytest.mark.parametrize(
    ("fault", "more", "status", "message"),
    [
        (RAISES, (), "failed", "FloatingPointError: sample 37 is poison"),
        (EXITS, (), "failed", "given up after 3 workers were lost on it (the worker process died"),
        (HANGS, ("--time-limit", "1"), "timed_out", "stopped after the time limit of 1 s"),
    ],
)
def test_a_bad_sample_is_recorded_and_costs_nobody_else(
    case: Case, fault: str, more: tuple[str, ...], status: str, message: str
) -> None:
    run = complete(case, *more, seconds=0.01, faults={BAD: fault})
    assert run.process.returncode == 1, run.errors
    [(index, (found, text))] = outcomes(case).items()
    assert (index, found) == (BAD, status)
    assert text.startswith(message)
    assert_like_truth(case, but=[BAD])
    times = Counter(b.index for b in case.begun())
    assert set(times) == set(range(case.samples))
    if fault == RAISES:
        assert max(times.values()) == 1

    before = len(case.begun())
    assert complete(case, "--executor", "serial").process.returncode == 1  # nothing to do
    assert len(case.begun()) == before
    retried = complete(case, "--executor", "serial", "--retry-failed")  # the cause is gone
    assert retried.process.returncode == 0, retried.errors
    assert [b.index for b in case.begun()[before:]] == [BAD]
    assert_like_truth(case)


def test_results_lost_between_a_good_status_and_their_fetch(case: Case) -> None:
    lost = (20, 70)
    run = complete(case, seconds=0.1, faults=dict.fromkeys(lost, LOST))
    assert run.process.returncode == 0, run.errors
    assert {path.suffix for path in case.folder.glob("log.lost-*")} == {f".lost-{i}" for i in lost}
    assert_like_truth(case)
    times = Counter(b.index for b in case.begun())
    assert set(times) == set(range(case.samples))
    assert all(times[i] == 2 for i in lost)
    assert max(times.values()) == 2
    again = [i for i, n in times.items() if n > 1]
    assert len(again) < case.samples / 2  # their units, and no other
