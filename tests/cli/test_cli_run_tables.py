from __future__ import annotations

from dataclasses import replace

import pytest

from distverify.cli.run_tables import expected_seconds, print_plan, statistics_tables
from distverify.cli.tables import print_tables
from distverify.results.statistics import describe_statistics
from distverify.work import Plan, RunStatistics, WorkerRecord

PLAN = Plan(1000, 14, workers=2, seconds_per_sample=1.4, bytes_per_sample=250_000, reason="because of [this]")


def words(text: str) -> str:
    return " ".join(text.split())


def test_a_plan_tells_what_is_done_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(PLAN)
    text = words(capsys.readouterr().out)
    for expected in (
        "Samples 1,000",
        "Units 72 units of up to 14 samples",
        "Measured 1.4 s of kernel time per sample",
        "Results 3.5 MB per unit",
        "Workers planned for 2",
        "Expected about 11 min 40 s with 2 workers",
        "Why because of [this]",
    ):
        assert expected in text
    assert "Pieces" not in text


def test_a_plan_of_pieces(capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan(3, 1, pieces=8, workers=4, seconds_per_sample=600.0, bytes_per_sample=48_000_000, rows=1000)
    print_plan(plan)
    text = words(capsys.readouterr().out)
    assert "Units 3 units of 1 sample" in text
    assert "Pieces each sample in about 8 pieces: 125 of 1,000 output rows in one" in text
    assert "Results 48 MB per unit" in text
    assert "Expected about 7 min 30 s with 4 workers" in text


def test_a_plan_without_a_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(replace(PLAN, seconds_per_sample=None))
    text = words(capsys.readouterr().out)
    assert "Measured not timed" in text
    assert "Expected" not in text


@pytest.mark.parametrize(
    ("plan", "seconds"),
    [
        (Plan(0, 1, workers=2, seconds_per_sample=1.0), 0.0),
        (Plan(10, 10, workers=4, seconds_per_sample=0.1), 1.0),  # one unit: one worker
        (Plan(30, 10, workers=2, seconds_per_sample=1.0), 20.0),  # two rounds
        (Plan(1, 1, 2, workers=4, seconds_per_sample=100.0), 50.0),  # two pieces: two workers
        (Plan(8, 1, 4, workers=4, seconds_per_sample=100.0), 200.0),
        (Plan(8, 1, 4, workers=4), None),
    ],
)
def test_expected_time(plan: Plan, seconds: float | None) -> None:
    assert expected_seconds(plan) == seconds


def worker(number: int, samples: int, node: str = "node-a") -> WorkerRecord:
    return WorkerRecord(number, node, 3, samples, 20.0, 25.0)


def shown(
    statistics: RunStatistics, plan: Plan | None, seconds: float, most_workers: int, resumed: int | None = 0
) -> None:
    told = describe_statistics(statistics, most_workers, seconds)
    told |= {} if resumed is None else {"resumed": resumed}
    print_tables(statistics_tables(told, 60, plan))


def test_statistics_tell_every_figure_and_every_worker(capsys: pytest.CaptureFixture[str]) -> None:
    statistics = RunStatistics((worker(0, 40), worker(1, 10, "node-b"), worker(2, 0)), 6, 1, 2)
    shown(statistics, PLAN, 30.0, 2)
    text = words(capsys.readouterr().out)
    for expected in (
        "Workers 2 at once, 3 in all on 2 nodes",
        "Time 1 min 00 s in kernels, 30 s from start to end",
        "Efficiency 80% of 1 min 15 s of workers' time",
        "Units 6 done, 1 failed, 2 lost and computed again",
        "Speed 1.7/s (50 samples)",
        "Per worker 0.5/s to 2/s in kernels",
        "Plan 72 units of up to 14 samples",
        "0 node-a 3 40 20 s 2/s",
        "1 node-b 3 10 20 s 0.5/s",
        "2 node-a 3 0 20 s -",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("resumed", "title", "before"),
    [
        (0, "Whole run", ""),
        (10, "Last session", "Before it 10 of 60 samples were done by earlier sessions"),
        (None, "Last session", ""),  # of an earlier version, which did not keep that number
    ],
)
def test_statistics_say_whether_they_are_the_whole_run(
    capsys: pytest.CaptureFixture[str], resumed: int | None, title: str, before: str
) -> None:
    shown(RunStatistics((worker(0, 50),), 6), None, 30.0, 1, resumed)
    text = capsys.readouterr().out
    assert text.splitlines()[0] == title
    assert before in words(text)
    assert ("Before it" in text) == bool(before)


def test_hundreds_of_workers_have_no_row_each(capsys: pytest.CaptureFixture[str]) -> None:
    shown(RunStatistics(tuple(worker(k, 40) for k in range(300)), 900), None, 30.0, 300)
    text = capsys.readouterr().out
    assert "300 at once, 300 in all on 1 node\n" in text
    assert len(text.splitlines()) < 12
    assert "Plan" not in text


def test_a_run_that_had_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    shown(RunStatistics(), None, 0.0, 0)
    text = words(capsys.readouterr().out)
    assert "0 at once, 0 in all on 0 nodes" in text
    assert "Efficiency" not in text
    assert "nan" not in text.lower()


def test_foreign_names_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    shown(RunStatistics((worker(0, 4, "\x1b[2Jnode"), worker(1, 4)), 2), None, 9.0, 2)
    assert "\x1b" not in capsys.readouterr().out
