"""The table of a sweep, in the competition's form: category, network, property, preparation, result, seconds; no header."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

from distverify.sweeps.instances import BenchmarkInstance

# The competition's words for verdicts.
WORDS = {"sat": "sat", "unsat": "unsat", "unknown": "unknown", "timed-out": "timeout"}


@dataclass(frozen=True)
class InstanceResult:
    """What became of an instance.

    Attributes
    ----------
    status : "sat", "unsat", "unknown", "timeout" or "error"
    seconds : float
        Of the whole process.
    assignment : str
        In the competition's form, after sat.
    message : str
        Why there is an error, or no verdict.
    """

    status: str
    seconds: float
    assignment: str = ""
    message: str = ""


class ResultsTable:
    """``results.csv`` of a folder, a line at a time.

    Parameters
    ----------
    folder : Path
    overwrite : bool
        Begin anew.
    """

    def __init__(self, folder: Path, overwrite: bool = False) -> None:
        self.path = folder / "results.csv"
        self._witnesses = folder / "witnesses"
        folder.mkdir(parents=True, exist_ok=True)
        if overwrite:
            self.path.unlink(missing_ok=True)
        self.done: dict[tuple[str, str], str] = {}
        kept: list[list[str]] = []
        if self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as stream:
                kept = [fields for fields in csv.reader(stream) if len(fields) == 6]
            self.done = {(fields[1], fields[2]): fields[4] for fields in kept}
            # A line that was cut off by a kill is not kept.
            self._write(kept)

    def _write(self, lines: list[list[str]]) -> None:
        part = self.path.with_suffix(".part")
        with part.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(lines)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(self.path)

    def add(self, instance: BenchmarkInstance, result: InstanceResult) -> None:
        """Append a line, and keep a witness in a file of its own."""
        if result.assignment:
            self._witnesses.mkdir(exist_ok=True)
            stem = "_".join(
                Path(p).name.removesuffix(".gz") for p in (*(str(m) for _, m in instance.models), instance.query)
            )
            (self._witnesses / f"{stem}.counterexample").write_text(result.assignment, encoding="utf-8")
        with self.path.open("a", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerow(
                [instance.category, instance.networks, instance.query, "0.0", result.status, f"{result.seconds:.3f}"]
            )
            stream.flush()
            os.fsync(stream.fileno())
        self.done[instance.key] = result.status
