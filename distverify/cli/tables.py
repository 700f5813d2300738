"""Tables on stdout: the summary of a result, what a result file holds, the layers of a network.

Piped output has no colour codes, and long values are folded, never cut off.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from distverify.words import count, describe_settings, printable, provenance_facts, time_of_run

if TYPE_CHECKING:
    from distverify.network.graph import Network
    from distverify.results.reader import Result
    from distverify.results.summary import Summary
    from distverify.results.telling import Rows
    from distverify.settings import Settings

FAILURES_SHOWN = 5
NAMES_SHOWN = 20
VERDICTS_SHOWN = 200
UNKNOWNS_SHOWN = 20
RANGES_SHOWN = 60
_PIPE_WIDTH = 110


def print_result(result: Result) -> None:
    """The summary of ``result`` on stdout, as far as its run has come."""
    tables = summary_tables(result.summary(), result.settings, result.provenance, result.path)
    print_tables([*tables, *verdict_tables(result)])


def verdict_tables(result: Result) -> list[Table]:
    """A row per property file, where that is what the run was about."""
    from distverify.results.verdicts import WORDS, property_verdicts, rows_of_verdicts

    verdicts = property_verdicts(result)
    return [_table_of(rows_of_verdicts(verdicts, VERDICTS_SHOWN), words=WORDS)] if verdicts else []


def print_unknowns(result: Result) -> None:
    """Whatever is open on stdout, the nearest to a proof first."""
    from distverify.results.verdicts import WORDS, rows_of_unknowns, unknowns

    rows = rows_of_unknowns(unknowns(result), UNKNOWNS_SHOWN)
    if rows is not None:
        print_tables([_table_of(rows, words=WORDS)])


def print_classes(result: Result) -> None:
    """A row per true class on stdout, where the data have labels."""
    from distverify.results.telling import rows_of_classes

    if classes := result.per_class():
        print_tables([_table_of(rows_of_classes(classes))])


def print_ranges(result: Result) -> None:
    """Ranges of outputs and of derivatives with their signs on stdout, where they are few or have names."""
    from distverify.pages.content import axis_names
    from distverify.pages.ranges import gather_ranges

    ranges = gather_ranges(result, axis_names(result, result.dims))
    tables: list[Table] = []
    for headers, rows in (
        (("Output", "Over", "Range"), ranges.outputs),
        (("Output", "Input", "Over", "Derivative", "The output"), ranges.derivatives),
    ):
        if rows:
            table = columns_table(*headers)
            for row in rows[:RANGES_SHOWN]:
                add_row(table, *row)
            if len(rows) > RANGES_SHOWN:
                table.caption, table.caption_justify = f"and {len(rows) - RANGES_SHOWN:,} more: report has all", "left"
            tables.append(table)
    print_tables(tables)


def print_contents(result: Result) -> None:
    """The arrays of ``result`` and where its numbers come from, on stdout."""
    arrays = columns_table("Array", "Dimensions", "Shape", "Meaning")
    dims, sizes, settings = result.dims, result.sizes, result.settings
    meanings = _meanings(settings)
    for name, axes in dims.items():
        shape = " x ".join(str(sizes[axis]) for axis in axes)
        add_row(arrays, name, ", ".join(axes), shape, meanings.get(name, ""))
    print_tables([arrays, *_name_tables(result), provenance_table(result.provenance)])


def _name_tables(result: Result) -> list[Table]:
    """What inputs and outputs are called, where they have names."""
    dims = result.dims
    tables: list[Table] = []
    for axis in ("input", "output"):
        if f"{axis}_name" in dims:
            table = columns_table(axis.capitalize(), "Name", right=(axis.capitalize(),))
            names = result[f"{axis}_name"].tolist()
            for k, name in enumerate(names[:NAMES_SHOWN]):
                add_row(table, str(k), name)
            if len(names) > NAMES_SHOWN:
                table.caption, table.caption_justify = f"and {len(names) - NAMES_SHOWN:,} more", "left"
            tables.append(table)
    return tables


def print_network(network: Network, path: Path) -> None:
    """Inputs, outputs and layers of ``network`` on stdout."""
    from distverify.network.describe import describe

    rows = describe(network)
    facts = facts_table()
    add_row(facts, "Model", str(path))
    shape = " x ".join(str(n) for n in network.input_shape)
    add_row(facts, "Inputs", f"{network.input_size} ({shape})" if len(network.input_shape) > 1 else shape)
    add_row(facts, "Outputs", str(network.output_size))
    add_row(facts, "Parameters", f"{sum(row.parameters for row in rows):,}")
    for name, remark in network.remarks.items():
        add_row(facts, name.capitalize(), remark)
    add_row(facts, "SHA-256", network.digest)
    layers = columns_table("Node", "Type", "Size", "Activation", "Parameters", right=("Size", "Parameters"))
    for row in rows:
        add_row(layers, row.name, row.type, f"{row.size:,}", row.activation or "", f"{row.parameters:,}")
    print_tables([facts, layers])


def summary_tables(summary: Summary, settings: Settings, provenance: Mapping[str, Any], path: Path) -> list[Table]:
    """The tables of a summary: facts; a row per eps where there is something to tell; failures."""
    from distverify.results.telling import facts_of_network, facts_of_run, rows_of_radii

    facts = facts_table()
    model, data = provenance["model"], provenance["data"]
    add_row(facts, "Model", f"{model['name']} ({model['inputs']} inputs, {model['outputs']} outputs)")
    add_row(facts, "Data", f"{data['name']} ({count(data['samples'], 'sample')})")
    add_row(facts, "Settings", describe_settings(settings))
    add_row(facts, "Samples", _status(summary, finished=provenance["end"] is not None))
    if summary.accuracy is not None:
        add_row(facts, "Clean accuracy", f"{summary.accuracy:.1%} ({summary.correct} of {summary.labelled})")
    for name, line in {**facts_of_run(summary, settings), **facts_of_network(summary, settings)}.items():
        add_row(facts, name, line)
    add_row(facts, "Time", time_of_run(summary.kernel_seconds, summary.wall_seconds))
    add_row(facts, "Result", str(path))
    tables = [facts]
    if (rows := rows_of_radii(summary, settings)) is not None:
        tables.append(_table_of(rows))
    if summary.failures:
        tables.append(_failure_table(summary, path))
    return tables


def provenance_table(provenance: Mapping[str, Any]) -> Table:
    """Hashes, times, versions and the command."""
    table = facts_table("Provenance")
    for name, line in provenance_facts(provenance).items():
        add_row(table, name, line)
    return table


def print_tables(tables: Iterable[Table]) -> None:
    """Print ``tables`` on stdout, at a fixed width when it is piped."""
    # Messages and paths come from files: nothing in them is markup.
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    console = Console(markup=False, highlight=False, emoji=False, width=_PIPE_WIDTH if piped else None)
    with console.capture() as captured:
        for table in tables:
            console.print(table)
            console.print()
    # rich pads every line to the table's width.
    click.echo("\n".join(row.rstrip() for row in captured.get().splitlines()))


def _status(summary: Summary, finished: bool) -> str:
    told = [f"{number} {name.replace('_', ' ')}" for name, number in summary.counts.items() if number]
    text = ", ".join(told)
    if finished:
        return text
    done = summary.samples - summary.counts["pending"]
    return f"{text} - unfinished, {done} of {summary.samples} are done"


def _table_of(rows: Rows, words: Sequence[str] = ()) -> Table:
    table = columns_table(*rows.headers, right=[head for head in rows.headers if head not in words])
    if rows.note:
        table.caption, table.caption_justify = rows.note, "left"
    for row in rows.rows:
        add_row(table, *row)
    return table


def _failure_table(summary: Summary, path: Path) -> Table:
    table = columns_table("Sample", "Status", "Message", right=("Sample",))
    for failure in summary.failures[:FAILURES_SHOWN]:
        add_row(table, str(failure.sample), failure.status.replace("_", " "), failure.message)
    if len(summary.failures) > FAILURES_SHOWN:
        more = len(summary.failures) - FAILURES_SHOWN
        table.caption = f"and {more} more: arrays status and message of {path}"
        table.caption_justify = "left"
    return table


def _meanings(settings: Settings) -> dict[str, str]:
    from distverify.results.schema import all_variables

    variables = all_variables(settings)
    return {v.name: v.long_name if v.units == "1" else f"{v.long_name} ({v.units})" for v in variables}


def facts_table(title: str | None = None) -> Table:
    """A table of names and values, without a header."""
    table = Table(title=title, title_justify="left", box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def add_row(table: Table, *cells: str) -> None:
    table.add_row(*(printable(cell) for cell in cells))


def columns_table(*headers: str, right: Iterable[str] = ()) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        table.add_column(header, justify="right" if header in tuple(right) else "left", overflow="fold")
    return table
