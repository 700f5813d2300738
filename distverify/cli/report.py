"""``distverify report``: a result as a page for people who did not make the run."""

from __future__ import annotations

from pathlib import Path

import click

from distverify.cli.options import Place


@click.command()
@click.argument("results", nargs=-1, required=True, type=Place())
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="OUT.html",
              help="Page to write; replaced when it exists. Default: the (first) result's name with .html.")  # fmt: skip
@click.option(
    "--figures",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Also write every figure there, as PDF, PNG and SVG.",
)
@click.option(
    "--samples", metavar="LIST", help="Samples whose Jacobians are drawn, such as 3,7. Default: hardest and easiest."
)
@click.option("--shape", metavar="H,W", help="Shape of an input as an image: H,W or C,H,W or H,W,C. Default: guessed.")
def report(
    results: tuple[str | Path, ...], output: Path | None, figures: Path | None, samples: str | None, shape: str | None
) -> None:
    """Make one HTML page of RESULTS: a page about one file, or a comparison of two to four.

    The page needs no network and no other file. Also works while the run goes on.

    \b
    Examples:
      distverify report out.h5
      distverify report out.h5 -o page.html --figures figures
      distverify report linear.h5 recurjac.h5 -o comparison.html
    """
    from distverify.pages.report import report as write

    page = write(
        results, output, figures=figures, samples=_integers("--samples", samples), shape=_integers("--shape", shape)
    )
    click.echo(f"{page}: {page.stat().st_size / 1e6:.2f} MB; open it in any browser")


def _integers(option: str, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(piece) for piece in text.split(","))
    except ValueError:
        raise click.UsageError(
            f"{option}: got {text!r}; write whole numbers with commas between, such as 3,7"
        ) from None
