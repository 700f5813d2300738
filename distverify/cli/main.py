"""The ``distverify`` command: its sub-commands, and how errors become text and exit statuses.

Modules that take long to import (NumPy, Numba, Ray, h5py, rich) are imported when a command runs, so that
help and usage errors are instant.
"""

from __future__ import annotations

import shlex
from typing import Any

import click

from distverify._version import __version__
from distverify.cli.audit import audit
from distverify.cli.certify import certify
from distverify.cli.demo import demo
from distverify.cli.estimate import estimate
from distverify.cli.export import export
from distverify.cli.options import COMMAND_LINE
from distverify.cli.report import report
from distverify.cli.show import show
from distverify.cli.text import printable
from distverify.errors import DistverifyError, Interrupted

MISUSE = 2
INTERRUPTED = 130


class CommandLine(click.Group):
    """A group whose errors are one text on stderr, without a traceback."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[COMMAND_LINE] = shlex.join(["distverify", *args])
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Interrupted as stop:
            click.echo(printable(str(stop)), err=True)
            ctx.exit(INTERRUPTED)
        except DistverifyError as error:
            click.echo(printable(f"error: {error}"), err=True)
            ctx.exit(MISUSE)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)


@click.group(cls=CommandLine, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="distverify", message="%(prog)s %(version)s")
def main() -> None:
    """Certify neural networks over whole data sets: Jacobian bounds, Lipschitz constants and certified radii.

    \b
    Start with:
      distverify demo
      distverify certify MODEL.onnx DATA.npz --eps 0.01 -o OUT.h5
      distverify show OUT.h5

    \b
    Exit status: 0 done, 1 some samples failed (they are in the file), 2 misuse,
    130 interrupted (what was computed is kept; the same command continues).
    """


main.add_command(demo)
main.add_command(certify)
main.add_command(show)
main.add_command(report)
main.add_command(export)
main.add_command(audit)
main.add_command(estimate)
