"""``distverify show``: what a model or a result file holds."""

from __future__ import annotations

from pathlib import Path

import click

from distverify.errors import SettingsError


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--batch-axis", type=click.Choice(["yes", "no"]), help="Whether the first axis of a model's input counts samples."
)
def show(file: Path, batch_axis: str | None) -> None:
    """Show what FILE holds.

    Of a model (.onnx): its layers. Of a result file: the summary, the arrays and where they come from.

    Also works on the result file of a run that is unfinished or still going on.

    \b
    Examples:
      distverify show net.onnx
      distverify show out.h5
    """
    from distverify.cli import run_tables, tables

    if file.name.lower().endswith((".onnx", ".onnx.gz")):
        from distverify.inputs import load_network

        tables.print_network(load_network(file, batch_axis=None if batch_axis is None else batch_axis == "yes"), file)
        return
    if batch_axis is not None:
        raise SettingsError(f"batch_axis: is for models, and {file} is none; leave it out")
    from distverify.results.reader import open_result

    with open_result(file).at_one_moment() as result:
        tables.print_result(result)
        run_tables.print_workers(result)
        tables.print_classes(result)
        tables.print_contents(result)
