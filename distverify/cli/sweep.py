"""``distverify sweep``: every instance of a benchmark folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="FOLDER",
              help="For results.csv and witnesses; what is there already is not computed again.")  # fmt: skip
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
    """Answer every line of a VNN-COMP benchmark folder (instances.csv; VNN-LIB 1.0 and 2.0, plain or gzipped) side by side.

    Stopped or killed, the same command goes on where it was.

    \b
    Exit status: 0 all are answered, 1 some ended with an error or against the list's own verdict, 2 misuse.
    """
    from dataclasses import replace

    from distverify.sweeps.instances import read_folder
    from distverify.sweeps.results import ResultsTable
    from distverify.sweeps.run import sweep as run
    from distverify.words import printable

    if address is not None and executor != "ray":
        raise click.UsageError("--address is for --executor ray; leave one of them out")
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
        click.echo(f"{sum(i.key in table.done for i in instances)} of {len(instances)} are answered already", err=True)
    left = sum(i.key not in table.done for i in instances)
    count = 0

    def told(instance: object, result: object) -> None:
        nonlocal count
        count += 1
        networks, query = instance.key  # type: ignore[attr-defined]
        line = f"[{count}/{left}] {networks} {query}: {result.status}, {result.seconds:.1f} s"  # type: ignore[attr-defined]
        message = result.message  # type: ignore[attr-defined]
        click.echo(printable(line + (f" ({message})" if message else "")), err=True)

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
