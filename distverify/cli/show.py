"""``distverify show``: what a model or a result file holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from distverify.cli.options import Place
from distverify.errors import ResultError, SettingsError

if TYPE_CHECKING:
    from distverify.results.reader import Result

EVERY = 2.0  # seconds between two looks of --watch


@click.command()
@click.argument("file", type=Place())
@click.option("--short", is_flag=True, help="One line about a result: how far it is, what failed.")
@click.option("--json", "as_object", is_flag=True, help="One JSON object on stdout instead of tables.")
@click.option("--watch", is_flag=True, help="Follow a run until it ends: done, speed, time left, failures.")
@click.option("--verify", is_flag=True, help="Read all of a result, and compare it with the digest that the run wrote.")
@click.option(
    "--batch-axis", type=click.Choice(["yes", "no"]), help="Whether the first axis of a model's input counts samples."
)
def show(file: str | Path, short: bool, as_object: bool, watch: bool, verify: bool, batch_axis: str | None) -> None:
    """Show what FILE holds.

    Of a model (.onnx, or .npz of Network.save): its layers. Of a result file: the summary, the arrays and where they come from.

    Also works on the result file of a run that is unfinished or still going on.

    \b
    Examples:
      distverify show net.onnx
      distverify show out.h5
      distverify show out.h5 --watch
      distverify show out.h5 --json
    """
    chosen = [name for name, on in (("--short", short), ("--json", as_object), ("--watch", watch)) if on]
    if len(chosen) > 1:
        raise click.UsageError(f"{' and '.join(chosen)}: are different views; give one of them")
    if Path(file).name.lower().endswith((".onnx", ".onnx.gz", ".npz")):
        if short or watch or verify:
            raise click.UsageError("--short, --watch, --verify: are for result files; leave them out for a model")
        _show_model(file, as_object, batch_axis)
        return
    if batch_axis is not None:
        raise SettingsError(f"batch_axis: is for models, and {file} is none; leave it out")
    from distverify.cli import run_tables, tables, watching
    from distverify.results.as_json import as_json
    from distverify.results.reader import open_result

    result = open_result(file)
    if watch:
        watching.watch(result, EVERY)
    if verify:
        _check_digest(result, quiet=as_object)
    if watch:
        return
    if short:
        click.echo(watching.short_line(watching.look(result)))
    elif as_object:
        click.echo(json.dumps(as_json(result)))
    else:
        with result.at_one_moment() as moment:
            tables.print_result(moment)
            tables.print_unknowns(moment)
            run_tables.print_workers(moment)
            tables.print_classes(moment)
            tables.print_ranges(moment)
            tables.print_contents(moment)


def _check_digest(result: Result, quiet: bool) -> None:
    unchanged = result.unchanged()
    if unchanged is None:
        raise ResultError(
            f"{result.path}: has no digest to compare with: its run has not ended, or an earlier version wrote it"
        )
    if not unchanged:
        raise ResultError(
            f"{result.path}: changed since the run wrote it: a value, a coordinate or an attribute is another; use another copy, "
            "or compute it afresh"
        )
    if not quiet:
        click.echo("Verified: every value, coordinate and attribute is as the run wrote it")


def _show_model(file: str | Path, as_object: bool, batch_axis: str | None) -> None:
    from distverify.cli import tables
    from distverify.inputs import load_network

    network = load_network(file, batch_axis=None if batch_axis is None else batch_axis == "yes")
    if as_object:
        from distverify.network.describe import describe

        nodes = [row._asdict() for row in describe(network)]
        told = {
            "format": "distverify model 1", "file": str(file), "digest": network.digest, "inputs": network.input_size,
            "outputs": network.output_size, "parameters": sum(node["parameters"] for node in nodes), "nodes": nodes,
        }  # fmt: skip
        click.echo(json.dumps(told))
    else:
        tables.print_network(network, Path(file))
