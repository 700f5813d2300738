from __future__ import annotations

import io
import logging
import re
from dataclasses import dataclass, fields
from typing import Any

import pytest

from distverify.api import Progress
from distverify.reporting import PlainReporter, details, fitting, line, reporting
from distverify.words import duration, per_second


@dataclass(frozen=True)
class Seen:
    """The fields of distverify.api.Progress."""

    done: int
    total: int = 100
    failed: int = 0
    workers: int = 2
    seconds: float = 0.0
    resumed: int = 0
    retried: int = 0
    units: int = 0
    efficiency: float | None = None
    slowest: float | None = None
    fastest: float | None = None
    phase: str = "running"
    pieces: int = 0
    open_subproblems: int = 0


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.2, "0.2 s"),
        (12.3, "12 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3600, "1 h 00 min"),
        (90_061, "25 h 01 min"),
    ],
)
def test_duration(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_line_tells_rate_time_left_failures_and_workers() -> None:
    assert line(Seen(37, seconds=17.6)) == "37/100 samples, 2.1/s (1.1/s each), 30 s left, 0 failed, 2 workers"
    assert line(Seen(100, seconds=5, failed=1, workers=1)) == "100/100 samples, 20/s, 1 failed, 1 worker"


def test_line_has_no_rate_before_the_first_sample() -> None:
    assert line(Seen(0, workers=0)) == "0/100 samples, 0 failed, 0 workers"
    assert line(Seen(0, seconds=9.0)) == "0/100 samples, 0 failed, 2 workers"


def test_resumed_samples_do_not_count_for_the_rate() -> None:
    assert details(Seen(63, resumed=63, seconds=3)) == "0 failed, 2 workers"
    assert details(Seen(73, resumed=63, seconds=100)) == "0.1/s (0.05/s each), 4 min 30 s left, 0 failed, 2 workers"


def test_the_stand_in_has_the_fields_of_progress() -> None:
    assert {f.name: f.type for f in fields(Seen)} == {f.name: f.type for f in fields(Progress)}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"phase": "starting", "workers": 0}, "starting, 0 failed, 0 workers"),
        ({"phase": "probing", "done": 3}, "probing, 0.3/s (0.15/s each), 0 failed, 2 workers"),
        ({"phase": "probing", "done": 4}, "probing, 0.4/s (0.2/s each), 4 min 00 s left, 0 failed, 2 workers"),
        ({"phase": "finishing", "done": 100}, "finishing, 10/s (5/s each), 0 failed, 2 workers"),
        ({"retried": 3, "failed": 1}, "1 failed, 3 retried, 2 workers"),
        ({"pieces": 12, "units": 13}, "12 pieces, 0 failed, 2 workers"),
        ({"units": 13}, "13 units, 0 failed, 2 workers"),
        ({"pieces": 0}, "0 failed, 2 workers"),
        ({"pieces": 3, "open_subproblems": 1200}, "3 pieces, 1,200 open subproblems, 0 failed, 2 workers"),
        ({"done": 50, "workers": 1}, "5/s, 10 s left, 0 failed, 1 worker"),
        ({"done": 50, "slowest": 2.0, "fastest": 2.9}, "5/s (2.5/s each), 10 s left, 0 failed, 2 workers"),
        ({"done": 50, "slowest": 1.0, "fastest": 4.0}, "5/s (1/s to 4/s each), 10 s left, 0 failed, 2 workers"),
        ({"done": 1, "seconds": 7200, "workers": 1}, "0.5/h, 0 failed, 1 worker"),
        ({"done": 2, "seconds": 7200, "workers": 1}, "1/h, 98 h 00 min left, 0 failed, 1 worker"),
    ],
)
def test_what_else_is_told(changes: dict[str, Any], expected: str) -> None:
    assert details(Seen(**({"done": 0, "seconds": 10.0} | changes))) == expected


FULL = "probing, 2.1/s (0.18/s each), 7 min 38 s left, 13 units, 1 failed, 3 retried, 12 workers"


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (100, FULL),
        (80, "probing, 2.1/s (0.18/s each), 7 min 38 s left, 1 failed, 3 retried, 12 workers"),
        (70, "probing, 2.1/s, 7 min 38 s left, 1 failed, 3 retried, 12 workers"),
        (60, "2.1/s, 7 min 38 s left, 1 failed, 3 retried, 12 workers"),
        (45, "2.1/s, 7 min 38 s left, 1 failed, 3 retried"),
        (33, "2.1/s, 7 min 38 s left, 1 failed"),
        (22, "2.1/s, 7 min 38 s left"),
        (3, "2.1/s, 7 min 38 s left"),
    ],
)
def test_where_there_is_little_room_speed_and_time_left_stay(width: int, expected: str) -> None:
    seen = Seen(37, total=1000, seconds=17.6, failed=1, retried=3, units=13, workers=12, phase="probing")
    assert fitting(seen, width) == expected
    assert details(seen) == FULL


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(2000, "2,000/s"), (12.3, "12/s"), (0.05, "0.05/s"), (0.04, "2.4/min"), (1 / 120, "0.5/min"), (1e-3, "3.6/h")],
)
def test_slow_speeds_are_told_per_minute_or_hour(rate: float, expected: str) -> None:
    assert per_second(rate) == expected


def test_plain_reporter_writes_a_line_when_the_phase_changes() -> None:
    stream = io.StringIO()
    report = PlainReporter(stream, every=1000, clock=lambda: 0.0)
    for done, phase in [
        (0, "starting"),
        (0, "probing"),
        (1, "probing"),
        (1, "running"),
        (2, "running"),
        (3, "finishing"),
    ]:
        report(Seen(done, phase=phase))
    assert [text.split(" samples")[0] for text in stream.getvalue().splitlines()] == [
        "0/100",
        "0/100",
        "1/100",
        "3/100",
    ]


def test_plain_reporter_writes_first_last_and_one_line_per_interval() -> None:
    stream, times = io.StringIO(), iter([0.0, 1.0, 4.9, 5.1, 6.0, 7.0, 7.1])
    report = PlainReporter(stream, every=5, clock=lambda: next(times))
    for done in (0, 10, 40, 50, 60, 100, 100):
        report(Seen(done))
    assert [text.split("/")[0] for text in stream.getvalue().splitlines()] == ["0", "50", "100"]


def test_plain_reporter_tells_once_what_was_already_done() -> None:
    stream = io.StringIO()
    report = PlainReporter(stream, every=0)
    report(Seen(63, resumed=63))
    report(Seen(64, resumed=63, seconds=1))
    assert stream.getvalue().splitlines() == [
        "63 of 100 samples were already done",
        "63/100 samples, 0 failed, 2 workers",
        "64/100 samples, 1/s (0.5/s each), 0 failed, 2 workers",
    ]


def test_reporting_writes_plain_lines_to_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting(quiet=False) as report:
        assert report is not None
        report(Seen(100, seconds=10))
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err == "100/100 samples, 10/s (5/s each), 0 failed, 2 workers\n"


def test_reporting_draws_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with reporting(quiet=False) as report:
        assert report is not None
        report(Seen(37, seconds=17.6, resumed=10))
    text = stream.getvalue()
    assert "10 of 100 samples were already done" in text
    assert "37/100" in text
    assert "0 failed, 2 workers" in text


def test_on_80_columns_nothing_that_matters_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with reporting(quiet=False) as report:
        assert report is not None
        report(Seen(9370, total=10_000, seconds=15_000.0, failed=12, retried=3, units=9400, workers=48))
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    last = text.replace("\r", "\n").strip().splitlines()[-1]
    assert "9370/10000 samples, 0.62/s, 16 min 49 s left" in last
    assert len(last) <= 80


def test_quiet_reports_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting(quiet=True) as report:
        assert report is None
        logging.getLogger("distverify.runtime").warning("sample 7 failed")
    assert capsys.readouterr().err == ""


def test_what_is_logged_appears_as_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("distverify.runtime")
    before = list(logging.getLogger("distverify").handlers)
    with reporting(quiet=False):
        log.warning("sample %d failed: %s", 7, "\x1b[2Jbad")
        log.info("a detail")
    err = capsys.readouterr().err
    assert err.startswith("sample 7 failed: ")
    assert "\x1b" not in err
    assert "detail" not in err
    assert logging.getLogger("distverify").handlers == before
