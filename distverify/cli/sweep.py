"""``distverify sweep``: every instance of a benchmark folder, or every cell of a plan."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from distverify.sweeps.cells import CellRun
    from distverify.sweeps.plan import PlanCell

_ON_A_PAGE = 4


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path), metavar="PLAN.toml|FOLDER")
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="FOLDER",
              help="For results and their table; what is there already is not computed again.")  # fmt: skip
@click.option("--category", multiple=True, help="Only these categories.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=None, metavar="SECONDS",
              help="For every instance, instead of the list's own limits.")  # fmt: skip
@click.option(
    "--executor", type=click.Choice(["ray", "serial"]), default="ray", show_default=True, help="Who computes."
)
@click.option("--address", metavar="HOST:PORT", help="Of a Ray cluster whose machines all see the folder.")
@click.option("--overwrite", is_flag=True, help="Begin anew.")
def sweep(
    folder: Path,
    output: Path,
    category: tuple[str, ...],
    timeout: float | None,
    executor: str,
    address: str | None,
    overwrite: bool,
) -> None:
    """Answer every line of a VNN-COMP benchmark folder (instances.csv; VNN-LIB 1.0 and 2.0, plain or gzipped) side by side;
    or certify networks x data x settings of a plan: a result file for each, summary.csv, and a report.

    Stopped or killed, the same command goes on where it was.

    \b
    A plan:
      networks = ["nets/*.onnx"]
      [[data]]
      data = "mnist_test.csv"
      scale = 255
      [[settings]]
      eps = [0.005, 0.01]

    \b
    Exit status: 0 all are answered, 1 some ended with an error or against the list's own verdict, 2 misuse.
    """
    from dataclasses import replace

    from distverify.notices import tell
    from distverify.sweeps.instances import read_folder
    from distverify.sweeps.results import ResultsTable
    from distverify.sweeps.run import sweep as run
    from distverify.words import printable

    if address is not None and executor != "ray":
        raise click.UsageError("--address is for --executor ray; leave one of them out")
    if folder.suffix == ".toml":
        if category or timeout is not None:
            raise click.UsageError(
                "--category and --timeout are for benchmark folders; a plan has time-limit among its settings"
            )
        raise SystemExit(_carry_out(folder, output, executor, address, overwrite))
    instances = read_folder(folder, 300.0)
    unknown = set(category) - {i.category for i in instances}
    if unknown:
        known = ", ".join(sorted({i.category for i in instances}))
        raise click.UsageError(f"--category: there is no {min(unknown)}; the list has {known}")
    instances = [i for i in instances if not category or i.category in category]
    if timeout is not None:
        instances = [replace(i, seconds=timeout) for i in instances]
    table = ResultsTable(output, overwrite)
    if table.done:
        tell(f"{sum(i.key in table.done for i in instances)} of {len(instances)} are answered already")
    left = sum(i.key not in table.done for i in instances)
    count = 0

    def told(instance: object, result: object) -> None:
        nonlocal count
        count += 1
        networks, query = instance.key  # type: ignore[attr-defined]
        line = f"[{count}/{left}] {networks} {query}: {result.status}, {result.seconds:.1f} s"  # type: ignore[attr-defined]
        message = result.message  # type: ignore[attr-defined]
        tell(line + (f" ({message})" if message else ""))

    run(instances, table, told, executor=executor, address=address)
    against = [i for i in instances if {i.expected, table.done[i.key]} == {"sat", "unsat"}]
    counts = Counter(table.done[i.key] for i in instances)
    click.echo(", ".join(f"{name} {number}" for name, number in sorted(counts.items())) + f"; {table.path}")
    for instance in against:
        click.echo(
            printable(f"{' '.join(instance.key)}: {table.done[instance.key]}, the list says {instance.expected}")
        )
    if against or counts["error"]:
        raise SystemExit(1)


def _carry_out(plan: Path, output: Path, executor: str, address: str | None, overwrite: bool) -> int:
    """Certify all cells of a plan; the exit status."""
    from importlib.util import find_spec

    from distverify.notices import tell
    from distverify.pages.report import report
    from distverify.sweeps.cells import run_cells, write_table
    from distverify.sweeps.plan import read_plan
    from distverify.words import count

    runs = [_run_of(cell, output, overwrite) for cell in read_plan(plan)]
    output.mkdir(parents=True, exist_ok=True)
    ended = 0

    def told(run: CellRun, row: dict[str, Any]) -> None:
        nonlocal ended
        ended += 1
        message = row.get("message") or f"{row['samples']} samples, {row['kernel_seconds']} s"
        tell(f"[{ended}/{len(runs)}] {run.output.stem}: {row['status']}, {message}")

    rows = run_cells(runs, executor, address, told)
    write_table(rows, output / "summary.csv")
    if find_spec("pyarrow"):
        write_table(rows, output / "summary.parquet")
    done = [run.output for run, row in zip(runs, rows, strict=True) if row["status"] == "ok"]
    # A page compares a few results.
    for first in range(0, len(done), _ON_A_PAGE):
        number = f"-{first // _ON_A_PAGE + 1}" if len(done) > _ON_A_PAGE else ""
        report(done[first : first + _ON_A_PAGE], output / f"report{number}.html")
    click.echo(f"{count(len(done), 'result')}, {len(rows) - len(done)} errors; {output / 'summary.csv'}")
    return int(len(done) < len(rows) or any(row.get("failures") for row in rows))


def _run_of(cell: PlanCell, output: Path, overwrite: bool) -> CellRun:
    from distverify.cli.certify import RUN_OPTIONS, certify
    from distverify.cli.options import typed
    from distverify.sweeps.cells import CellRun

    target = output / f"{cell.stem}.h5"
    try:
        inner = certify.make_context("certify", [*cell.words, f"--output={target}"])
        options = typed(inner, *RUN_OPTIONS)
    except click.UsageError as error:
        raise click.UsageError(f"{cell.stem}: {error.format_message()}") from None
    data = inner.params["data"]
    return CellRun(
        cell, inner.params["model"], data[0] if len(data) == 1 else data, {**options, "overwrite": overwrite}
    )
