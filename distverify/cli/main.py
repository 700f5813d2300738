"""The ``distverify`` command: its sub-commands, and how errors become text and exit statuses.

Modules that take long to import (NumPy, Numba, Ray, h5py, rich) are imported when a command runs, so that
help and usage errors are instant.
"""

from __future__ import annotations

import os
import shlex
import sys
from importlib import import_module
from typing import Any

import click

from distverify._version import __version__
from distverify.cli.config import PREFIX, configurable
from distverify.cli.guard import INTERRUPTED, MISUSE, guarded
from distverify.cli.streams import open_missing, tell_losses, tolerate_losses
from distverify.errors import DistverifyError, Interrupted, in_words_of

COMMAND_LINE = "distverify.command_line"  # key in click's meta dictionary
_LOG = "DISTVERIFY_LOG"
# Those that compute for long, and may use Ray.
_RUNS = ("certify", "demo", "audit", "sweep", "rerun")


# Every command is a function of its own name in a module of its own name, loaded when it is needed.
_COMMANDS = {
    "demo": "Certify a small shipped network on shipped images.",
    "certify": "Certify a data set and write a result file.",
    "submit": "Certify on a cluster from here, through Ray's job server.",
    "show": "Show what a model or a result file holds.",
    "report": "Make a self-contained HTML page of a result.",
    "export": "Write a result as CSV, Parquet, Excel, JSON, LaTeX, NumPy or Zarr.",
    "merge": "Make one result of several over different samples.",
    "rerun": "Carry out the run of a result again, and compare.",
    "check": "Check demands on a result, for continuous integration.",
    "audit": "Attack the stored claims of a result; non-zero exit when one breaks.",
    "estimate": "Time a few samples and predict what a run takes.",
    "verify": "Decide a VNN-LIB query: sat, unsat, unknown or timed-out.",
    "supports": "Tell what verify can do, as VNN-LIB asks for it.",
    "sweep": "Answer every instance of a benchmark folder, or certify a plan's networks x data x settings.",
    "warm-up": "Compile all kernels now, as an installer does once.",
    "cluster-files": "Copy the files for Slurm, Kubernetes, AWS and SSH.",
    "completion": "Print the script by which a shell completes commands.",
    "man": "Print the manual page.",
}
# Headings of the help; what stands under none comes last.
_GROUPS = {
    "Start": ("demo", "certify", "estimate", "submit"),
    "Results": ("show", "report", "export", "merge"),
    "Trust": ("audit", "check", "rerun"),
    "Verification": ("verify", "supports", "sweep"),
    "Set up": ("warm-up", "cluster-files", "completion", "man"),
}


class CommandLine(click.Group):
    """A group whose errors are one text on stderr, without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"distverify.cli.{name}"), name)
        return configurable(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        grouped = {name for names in _GROUPS.values() for name in names}
        others = {"Others": tuple(name for name in _COMMANDS if name not in grouped)}
        width = max(map(len, _COMMANDS))
        for heading, names in {**_GROUPS, **others}.items():
            there = [(name.ljust(width), _COMMANDS[name]) for name in names if name in _COMMANDS]
            if there:
                with formatter.section(heading):
                    formatter.write_dl(there)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[COMMAND_LINE] = shlex.join(["distverify", *args])
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if not _wants_json():
                raise
            complain(error.format_message())
            ctx.exit(error.exit_code)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Interrupted as stop:
            _tell(said(self._invoked(ctx), stop), "interrupted")
            ctx.exit(INTERRUPTED)
        except DistverifyError as error:
            complain(said(self._invoked(ctx), error))
            ctx.exit(MISUSE)
        except click.ClickException as error:
            if not _wants_json():
                raise
            complain(error.format_message())
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            _tell("interrupted", "interrupted")
            ctx.exit(INTERRUPTED)

    def _invoked(self, ctx: click.Context) -> click.Command | None:
        return self.get_command(ctx, ctx.invoked_subcommand or "")


def said(command: click.Command | None, error: DistverifyError) -> str:
    """The text of ``error`` with its arguments as ``command`` has them typed: ``--time-limit 5``, ``MODEL``."""
    typed = {p.name or "": _typed(p) for p in command.params} if command is not None else {}

    def marked(name: str, value: str | None) -> str:
        option = typed.get(name, "--" + name.replace("_", "-"))
        return option if value is None or value == "True" else f"{option} {value}"

    return in_words_of(error.marked, lambda name: typed.get(name, name), marked)


def _typed(param: click.Parameter) -> str:
    """An option as it is typed; an argument as the help has it."""
    return (param.name or "").upper() if isinstance(param, click.Argument) else max(param.opts, key=len)


def _tell_name(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo("distverify")
        ctx.exit()


@click.group(cls=CommandLine, context_settings={
    "help_option_names": ["-h", "--help"], "max_content_width": 100, "auto_envvar_prefix": PREFIX,
})  # fmt: skip
@click.version_option(__version__, message="%(version)s")
@click.option(
    "--name", is_flag=True, is_eager=True, expose_value=False, callback=_tell_name, help="Show the name and exit."
)
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
    DISTVERIFY_LOG=json in the environment: lines on stderr are JSON objects.
    """
    if _LOG in os.environ:
        from distverify.notices import check_form, logged, tell_record

        check_form()
        click.get_current_context().with_resource(logged(tell_record))


def complain(text: str) -> None:
    """Tell of an error."""
    _tell(text, "error")


def _tell(text: str, event: str) -> None:
    from distverify.notices import tell

    tell(text, event)


def _wants_json() -> bool:
    if _LOG not in os.environ:
        return False
    from distverify.notices import wants_json

    return wants_json()


def entry() -> None:
    """What the shell runs: the command, by a child process of its own where it is a run."""
    if sys.argv[1:2] and sys.argv[1] in _RUNS:
        guarded(lambda: main(prog_name="distverify"))
    open_missing()
    if sys.argv[1:2] == ["check"]:  # its exit status is what it is given for
        tolerate_losses()
    else:
        tell_losses()
    try:
        main(prog_name="distverify")
    except DistverifyError as error:  # before a command runs: stdout takes no help, no version
        complain(str(error))
        sys.exit(MISUSE)
