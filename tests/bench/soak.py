"""Soak a run: ``nice -n 5 python -m tests.bench.soak --minutes 24``.

Samples sleep instead of computing for long, so that the processor is left to what is tested. Every minute a process of the run is
killed, by turns a worker, the one that the shell sees, a worker, and the one that computes; now and then an ``fsync`` or a rename of
the driver fails; a run that has ended is given the same command again. All the while programs read the result file with at most 256
open files (:mod:`tests.bench.polling`) and compare what they get with an undisturbed run. Afterwards the run goes on to its end, under
their eyes. Prints a table of faults and one of reads; exits 1 where a read was wrong, or a committed sample was computed again.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.polling import Seen, readers
from tests.faults.harness import Case, Run, assert_like_truth, start

_WIDTHS = (2, 4, 2)
_OPTIONS = ("--eps", "0.02", "--compute", "lipschitz")
_SHELL, _COMPUTES, _WORKER = "the process that the shell sees", "the process that computes", "a worker"
_TURNS = (_WORKER, _SHELL, _WORKER, _COMPUTES)
_COMMANDS = {_COMPUTES: r"tests\.faults\.driver", _WORKER: r"ray::Worker"}
_DISK = re.compile(r"cannot be written \((soak: [a-z ]+)\)")
_STOPPED = "Ctrl-C"
_LOOK_SECONDS = 0.25
_LONGEST_SECONDS = 3600.0  # of a run without faults, on a busy machine
_CALM_SECONDS = 15.0  # between the first commit of a command, or a kill, and the next kill


@dataclass
class Tally:
    """How often a fault was done, how runs ended by it, and how many samples were begun again for it."""

    tries: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    again: int = 0
    lost: int = 0  # of those begun again: were committed

    def row(self, fault: str) -> str:
        outcomes = ", ".join(f"{count} x {outcome}" for outcome, count in sorted(self.outcomes.items()))
        return f"| {fault} | {self.tries} | {outcomes} | {self.again} | {self.lost} |"


class Soak:
    """A run that is harmed and continued.

    Parameters
    ----------
    case : Case
    minutes : float
    kill_every, disk_every : float
        Seconds, the second on average.
    seconds : float
        That a sample sleeps.
    """

    def __init__(self, case: Case, minutes: float, kill_every: float, disk_every: float, seconds: float) -> None:
        self.faults: dict[str, Tally] = {}
        self._case = case
        self._end = time.monotonic() + 60.0 * minutes
        self._kill_every, self._disk_every, self._seconds = kill_every, disk_every, seconds
        self._next_kill = time.monotonic() + kill_every
        self._kills = 0
        self._calm = 0.0
        self._ended_by: dict[int, str] = {}  # worker's process -> fault

    def run(self) -> None:
        """One command after the other, until the time is up."""
        sessions = 0
        while time.monotonic() < self._end:
            committed, begun = self._committed(), len(self._case.begun())
            if len(committed) == self._case.samples:
                raise SystemExit("all samples are done before the time is up: give more of them (--samples)")
            sessions += 1
            disk = {"every": self._disk_every, "seed": sessions}
            with start(self._case, "--samples-per-unit", "1", seconds=self._seconds, disk=disk) as run:
                fault, outcome = self._harm(run, len(committed))
            begun_now = self._case.begun()[begun:]
            tally = self._tally(fault)
            tally.outcomes[outcome] += 1
            tally.lost += len(committed & {b.index for b in begun_now})
            for b in begun_now:
                self._ended_by.setdefault(b.pid, fault)
            self._log(f"{fault}: {outcome}; {len(self._committed())} of {self._case.samples} committed")
        seen: dict[int, int] = {}  # sample -> the process that began it last
        for b in self._case.begun():
            if b.index in seen:
                self._tally(self._ended_by[seen[b.index]]).again += 1
            seen[b.index] = b.pid

    def finish(self) -> None:
        """The same command without any fault, to the end.

        Raises
        ------
        AssertionError
            It fails, computes what was committed, or the result is not bit by bit that of the undisturbed run.
        """
        committed, begun = self._committed(), len(self._case.begun())
        with start(self._case, "--executor", "serial") as run:
            run.process.wait(_LONGEST_SECONDS)
            assert run.finish() == 0, run.errors
        assert {b.index for b in self._case.begun()[begun:]} == set(range(self._case.samples)) - committed
        assert_like_truth(self._case)

    def _harm(self, run: Run, committed: int) -> tuple[str, str]:
        """Kill by turns until the run has ended, or the time is up: what ended it, and how it ended."""
        fault = ""
        self._calm = 0.0  # until when nothing is killed
        while run.process.poll() is None and not fault:
            time.sleep(_LOOK_SECONDS)
            if time.monotonic() > self._end:
                fault = _STOPPED
                os.kill(run.pid, signal.SIGINT)
            elif time.monotonic() > max(self._next_kill, self._calm) and self._computing(run, committed):
                fault = self._kill(run, _TURNS[self._kills % len(_TURNS)])
        status = run.finish()
        if not fault:
            found = _DISK.search(run.errors)
            fault = found[1].removeprefix("soak: ") if found else f"unforeseen: {run.errors[-500:]!r}"
        if fault == _STOPPED or not fault.startswith("SIGKILL"):
            self._tally(fault).tries += 1
        if status < 0:
            run.assert_workers_gone()
            return fault, "the same command goes on"
        return fault, f"exit {status}, the same command goes on"

    def _kill(self, run: Run, role: str) -> str:
        """Kill one; the name of the fault if that ends the run."""
        pids = self._pids(run, role)
        if not pids:
            return ""
        fault = f"SIGKILL of {role}"
        committed, when = self._committed(), time.time()
        with suppress(ProcessLookupError):
            os.kill(pids[0], signal.SIGKILL)
        self._kills += 1
        self._next_kill += self._kill_every
        self._calm = time.monotonic() + _CALM_SECONDS
        tally = self._tally(fault)
        tally.tries += 1
        if role != _WORKER:
            return fault
        self._ended_by[pids[0]] = fault
        tally.outcomes["run goes on"] += 1
        time.sleep(3.0)
        tally.lost += len(committed & {b.index for b in self._case.begun() if b.time > when})
        return ""

    def _computing(self, run: Run, committed: int) -> bool:
        """Whether this command has been at work for a while: one that is starting has nothing to lose."""
        if not self._calm and len(self._committed()) > committed:
            self._calm = time.monotonic() + _CALM_SECONDS
        return 0.0 < self._calm < time.monotonic() and bool(self._pids(run, _WORKER))

    def _pids(self, run: Run, role: str) -> list[int]:
        if role == _SHELL:
            return [run.pid]
        lines = run.command_lines()
        return [pid for pid, line in lines.items() if re.search(_COMMANDS[role], line) and pid != run.pid]

    def _committed(self) -> set[int]:
        while True:
            with suppress(FileNotFoundError, OSError):  # files are merged while we look
                return self._case.committed()

    def _tally(self, fault: str) -> Tally:
        return self.faults.setdefault(fault, Tally())

    def _log(self, text: str) -> None:
        print(f"{time.strftime('%X')} {text}", file=sys.stderr, flush=True)


def report(soak: Soak, seen: dict[str, Seen]) -> str:
    """Both tables."""
    lines = ["| fault | tries | outcome | samples begun again | of those, committed |", "|---|---|---|---|---|"]
    lines += [tally.row(fault) for fault, tally in sorted(soak.faults.items())]
    lines += ["", "| reader | reads | refused (an error) | wrong | samples seen at last |", "|---|---|---|---|---|"]
    lines += [f"| {way} | {s.reads} | {s.refused} | {s.wrong} | {s.samples} |" for way, s in seen.items()]
    lines += [f"{way}: {word}" for way, s in seen.items() for word in s.words]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=24.0)
    parser.add_argument("--samples", type=int, default=6000)
    parser.add_argument("--seconds", type=float, default=0.25, help="that a sample sleeps (%(default)s)")
    parser.add_argument("--kill-every", type=float, default=60.0, help="seconds (%(default)s)")
    parser.add_argument("--disk-every", type=float, default=240.0, help="seconds, on average (%(default)s)")
    parser.add_argument("--poll", type=float, default=2.0, help="seconds between two reads of a reader, at least")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        case = Case(Path(folder), chosen.samples, _WIDTHS, _OPTIONS)
        case.truth(_LONGEST_SECONDS)
        with readers(case.output, case.truth(), chosen.poll) as ended:
            soak = Soak(case, chosen.minutes, chosen.kill_every, chosen.disk_every, chosen.seconds)
            soak.run()
            soak.finish()
            seen = ended()
        print(report(soak, seen))
    wrong = sum(s.wrong for s in seen.values()) + sum(t.lost for t in soak.faults.values())
    complete = all(s.samples == case.samples for s in seen.values())
    return int(wrong > 0 or not complete)


if __name__ == "__main__":
    raise SystemExit(main())
