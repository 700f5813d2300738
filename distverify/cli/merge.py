"""``distverify merge``: results over different samples as one file."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("results", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="OUT.h5", help="Result file to write."
)
@click.option("--overwrite", is_flag=True, help="Replace --output if it exists.")
@click.option("-q", "--quiet", is_flag=True, help="No summary; only errors.")
def merge(results: tuple[Path, ...], output: Path, overwrite: bool, quiet: bool) -> None:
    """Write finished RESULTS of the same network and settings, over different samples, as one result file.

    All parts of a run (certify --part I/N) make the result of that run in one piece, with its identity.

    \b
    Examples:
      distverify merge part-1.h5 part-2.h5 part-3.h5 -o whole.h5
      distverify merge january.h5 february.h5 -o year.h5
    """
    from distverify.results.merging import merge as write

    merged = write(results, output, overwrite=overwrite)
    if not quiet:
        from distverify.cli.tables import print_result

        print_result(merged)
