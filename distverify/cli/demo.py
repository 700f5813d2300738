"""``distverify demo``: the shipped network on the shipped images, by the way that every user's run takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from distverify.cli.options import command_line

EPS = (0.02, 0.05)
OPTIONS: dict[str, Any] = {"compute": ("jacobian", "lipschitz", "radius"), "clip": (0.0, 1.0)}


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("distverify-demo.h5"),
    show_default=True,
    help="Result file. The default one is replaced when it exists.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary; only errors.")
@click.pass_context
def demo(ctx: click.Context, output: Path, quiet: bool) -> None:
    """Certify a small trained network on 200 real images of handwritten digits, as every run does it.

    Needs no network connection and no arguments, and takes less than a minute on two cores.
    """
    from distverify.reporting import reporting

    with reporting(quiet):  # the first import ever compiles kernels, and says so
        from distverify.api import certify
    from distverify.cli.tables import print_result
    from distverify.demo import DATA, MODEL
    from distverify.pages.report import report
    from distverify.results.journal.folder import MANIFEST_NAME, folder_of

    # A file that the user named may be anything: only the demo's own is replaced unasked, and an interrupted
    # demo is continued, as every run is.
    own = ctx.get_parameter_source("output") is ParameterSource.DEFAULT
    interrupted = (folder_of(output) / MANIFEST_NAME).exists()
    with reporting(quiet) as progress:
        result = certify(
            MODEL,
            DATA,
            eps=EPS,
            **OPTIONS,
            output=output,
            overwrite=own and not interrupted,
            progress=progress,
            command=command_line(ctx),
        )
    page = report(result, output.with_suffix(".html"))
    if quiet:
        return
    print_result(result)
    click.echo(
        f"Report            {page}\n\n"
        "Next steps:\n"
        f"  open {page} in a browser\n"
        f"  distverify show {output}\n"
        f"""  python -c "import distverify as dv; print(dv.open_result('{output}')['radius'][:5])"\n"""
        "  distverify certify MODEL.onnx DATA.npz --eps 0.01 -o OUT.h5"
    )
