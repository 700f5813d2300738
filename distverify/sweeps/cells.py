"""The cells of a plan: each a run into a result file of its own, side by side on one Ray; and their table."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distverify.errors import DistverifyError
from distverify.sweeps.plan import PlanCell

COLUMNS = (
    "network", "data", "settings", "status", "samples", "accuracy", "certified", "radius_median", "lipschitz_median",
    "failures", "kernel_seconds", "wall_seconds", "file", "message",
)  # fmt: skip


@dataclass(frozen=True)
class CellRun:
    """A cell with what ``certify`` is called with.

    Attributes
    ----------
    cell : PlanCell
    model, data : as for ``certify``
    options : dict
        Its output among them.
    """

    cell: PlanCell
    model: Any
    data: Any
    options: Mapping[str, Any]

    @property
    def output(self) -> Path:
        return Path(self.options["output"])


def run_cells(
    runs: Sequence[CellRun], executor: str, address: str | None, told: Callable[[CellRun, dict[str, Any]], None]
) -> list[dict[str, Any]]:
    """Carry out all runs; rows of the table, in their order. A run that is complete returns at once.

    Parameters
    ----------
    executor : "ray" or "serial"
    told : callable (CellRun, row)
        Called for each as it ends.
    """
    rows: dict[int, dict[str, Any]] = {}
    for place, row in _answers(runs, executor, address):
        rows[place] = {**_names(runs[place]), **row}
        told(runs[place], rows[place])
    return [rows[place] for place in sorted(rows)]


def _answers(runs: Sequence[CellRun], executor: str, address: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
    if executor == "serial":
        yield from ((place, run_cell(run)) for place, run in enumerate(runs))
        return
    from distverify.runtime.ray.tasks import run_tasks

    yield from run_tasks(run_cell, runs, address, lambda reason: {"status": "error", "message": reason})


def run_cell(run: CellRun) -> dict[str, Any]:
    """One run, in this process; its row of the table."""
    from distverify.api import certify

    try:
        result = certify(run.model, run.data, executor="serial", command=None, **run.options)
    except DistverifyError as error:
        return {"status": "error", "message": str(error)}
    return {"status": "ok", **_facts(result.summary())}


def _names(run: CellRun) -> dict[str, Any]:
    return {"network": run.cell.network, "data": run.cell.data, "settings": run.cell.settings, "file": run.output.name}


def _facts(summary: Any) -> dict[str, Any]:
    def medians(name: str) -> str:
        return " ".join(
            (f"{eps:g}:" if eps is not None else "") + f"{told.median:.6g}"
            for eps, told in summary.spreads.get(name, {}).items()
        )

    return {
        "samples": summary.samples,
        "accuracy": "" if summary.accuracy is None else f"{summary.accuracy:.4f}",
        "certified": " ".join(f"{eps:g}:{number}" for eps, number in summary.certified.items()),
        "radius_median": medians("radius"),
        "lipschitz_median": medians("lipschitz_vector"),
        "failures": len(summary.failures),
        "kernel_seconds": f"{summary.kernel_seconds:.2f}",
        "wall_seconds": "" if summary.wall_seconds is None else f"{summary.wall_seconds:.2f}",
    }


def write_table(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """The table of a sweep, replaced when it exists: .csv, or .parquet."""
    part = path.with_suffix(".part")
    if path.suffix == ".parquet":
        pa, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
        columns = {name: [None if r.get(name) is None else str(r[name]) for r in rows] for name in COLUMNS}
        parquet.write_table(pa.table(columns), part)
    else:
        with part.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(rows)
    part.replace(path)
