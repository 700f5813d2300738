"""``distverify export``: a result in the files of other programs."""

from __future__ import annotations

from pathlib import Path

import click

from distverify.cli.options import Place


@click.command()
@click.argument("result", type=Place())
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE",
              help="File to write, by its ending: .csv, .parquet, .xlsx, .json, .jsonl, .npz, .zarr or "
              ".tex; replaced when it exists.")  # fmt: skip
@click.option("--arrays", metavar="LIST", help="Arrays to write, with commas between; `distverify show` lists them.")
@click.option("--samples", metavar="WHICH", help="Samples by position in the result: 0:100, ::10 or 3,7. Default: all.")
@click.option("--long", is_flag=True, help="Of .csv: a row for each number, with names, units and meaning.")
def export(result: str | Path, output: Path, arrays: str | None, samples: str | None, long: bool) -> None:
    """Write what RESULT holds to another kind of file.

    .csv, .parquet, .xlsx, .json and .jsonl get a row per sample; arrays with more dimensions become columns such as
    radius_target[output=3]. .npz and .zarr get the arrays as they are, .tex a table about all samples. Also works while the
    run goes on.

    \b
    Examples:
      distverify export out.h5 -o out.csv
      distverify export out.h5 -o out.parquet --arrays label,radius,radius_target
      distverify export out.h5 -o jacobians.npz --arrays jacobian_lower,jacobian_upper --samples 0:10
    """
    from distverify.exports.formats import export as write
    from distverify.results.reader import open_result

    names = None if arrays is None else [name.strip() for name in arrays.split(",")]
    written = write(open_result(result), output, arrays=names, samples=samples, long=long)
    click.echo(f"{output}: {', '.join(written)}")
