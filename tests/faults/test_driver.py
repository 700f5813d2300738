"""Drivers that are killed or interrupted, at any time, and continued by the same command."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import ExitStack

import pytest

import distverify as dv
from tests.faults.harness import AGENT_SECONDS, INTERRUPTED, Case, assert_like_truth, complete, start

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow]

KILLS = 10


def test_killed_ten_times_at_random_and_continued(case: Case) -> None:
    """Half of the kills come while the run starts, half while it computes."""
    chance = random.Random(0)
    progress = []
    with ExitStack() as killed:
        for kill in range(KILLS):
            committed, begun = case.committed(), len(case.begun())
            run = killed.enter_context(start(case, seconds=0.2))
            if kill % 2:
                run.wait_until(lambda seen=begun: len(case.begun()) > seen)
                delay = chance.uniform(0.2, 3.0)
            else:
                delay = chance.uniform(0.0, 5.0)
            end = time.monotonic() + delay
            run.wait_until(lambda end=end: time.monotonic() > end)
            run.kill()
            run.assert_workers_gone()
            if kill == 1:
                first = run
            assert not committed & {b.index for b in case.begun()[begun:]}
            assert committed <= case.committed()
            progress.append(len(case.committed()))
        first.assert_gone(AGENT_SECONDS)
    assert 0 < progress[-1] < case.samples
    with dv.open_result(case.output) as result:
        assert case.samples - result.summary().counts["pending"] == progress[-1]
    committed, begun = case.committed(), len(case.begun())
    run = complete(case)
    assert run.process.returncode == 0, run.errors
    assert f"{len(committed)} of {case.samples} samples were already done" in run.errors
    assert {b.index for b in case.begun()[begun:]} == set(range(case.samples)) - committed
    assert_like_truth(case)


@pytest.mark.parametrize("pause", ["before", "after"])
def test_killed_while_the_result_is_put_together(case: Case, pause: str) -> None:
    with start(case, "--executor", "serial", pause=pause) as run:
        run.wait_until(case.marker.exists)
        run.kill()
        run.assert_gone()
    assert case.parts.exists()
    begun = len(case.begun())
    assert begun == case.samples
    again = complete(case, "--executor", "serial")
    assert again.process.returncode == 0, again.errors
    assert f"{case.samples} of {case.samples} samples were already done" in again.errors
    assert len(case.begun()) == begun
    assert_like_truth(case)


@pytest.mark.parametrize("whom", ["driver", "group"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_in_order(case: Case, number: signal.Signals, whom: str) -> None:
    with start(case, seconds=0.2) as run:
        run.wait_until(case.committed)
        if whom == "group":
            os.killpg(run.pid, number)
        else:
            os.kill(run.pid, number)
        status = run.finish()
        run.assert_gone()
    assert status == 130, run.errors
    told = INTERRUPTED.search(run.errors)
    assert told is not None, run.errors
    committed, begun = case.committed(), len(case.begun())
    assert (int(told[1]), int(told[2])) == (len(committed), case.samples)
    assert 0 < len(committed) < case.samples
    assert "Traceback" not in run.errors

    again = complete(case, "--executor", "serial")
    assert again.process.returncode == 0, again.errors
    assert f"{len(committed)} of {case.samples} samples were already done" in again.errors
    assert [b.index for b in case.begun()[begun:]] == sorted(set(range(case.samples)) - committed)
    assert_like_truth(case)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_ray_starts(case: Case, number: signal.Signals) -> None:
    with start(case) as run:
        run.wait_until(lambda: "gcs_server" in run.commands())
        os.kill(run.pid, number)
        assert run.finish() == 130, run.errors
        run.assert_gone()
    assert f"interrupted: 0 of {case.samples} samples are kept" in run.errors
    assert "Traceback" not in run.errors
    assert case.begun() == []


def test_two_drivers_on_one_output(case: Case) -> None:
    with start(case, seconds=0.4) as first:
        first.wait_until(case.begun)
        for more in ((), ("--overwrite",), ("--norm", "2")):
            second = complete(case, "--executor", "serial", *more)
            assert second.process.returncode == 2
            assert "another run writes there (process " in second.errors
            assert "wait for it, or choose another --output" in second.errors
        assert first.process.poll() is None
        assert first.finish() == 0, first.errors
        first.assert_gone()
    assert_like_truth(case)
    assert sorted(b.index for b in case.begun()) == list(range(case.samples))
