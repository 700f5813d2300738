"""``distverify show``: what a model or a result file holds."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def show(file: Path) -> None:
    """Show what FILE holds.

    Of a model (.onnx): its layers. Of a result file: the summary, the arrays and where they come from.

    Also works on the result file of a run that is unfinished or still going on.

    \b
    Examples:
      distverify show net.onnx
      distverify show out.h5
    """
    from distverify.cli import run_tables, tables

    if file.suffix.lower() == ".onnx":
        from distverify.inputs import load_network

        tables.print_network(load_network(file), file)
        return
    from distverify.results.reader import open_result

    with open_result(file).at_one_moment() as result:
        tables.print_result(result)
        run_tables.print_workers(result)
        tables.print_classes(result)
        tables.print_contents(result)
