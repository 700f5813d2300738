"""``distverify rerun``: a run again, from what its result says of it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click
import numpy as np

from distverify.cli.options import GroupedCommand, typed, with_options
from distverify.errors import ResultError, SettingsError
from distverify.options.run import Division, Inputs, Output, Workers
from distverify.settings import Settings

DIFFERS = 1
_OWN = (Settings, Inputs, Workers, Division, Output)
# They hold times, which no run repeats.
_TIMES = ("seconds",)


@click.command(cls=GroupedCommand)
@click.argument("result", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="NEW.h5",
              help="Result file to write. Default: RESULT's name with .rerun before its ending.")  # fmt: skip
@with_options(Workers)
@click.option("-q", "--quiet", is_flag=True, help="No progress; only the comparison and errors.")
@click.pass_context
def rerun(ctx: click.Context, /, result: Path, output: Path | None, quiet: bool, **options: Any) -> None:
    """Carry out the run of RESULT again, from its provenance, and compare all numbers bit by bit.

    Model and data are looked for where the command of the run named them, from this folder.

    \b
    Exit status: 0 the same numbers, 1 others (or some samples failed), 2 misuse.

    \b
    Example:
      distverify rerun out.h5 -o again.h5
    """
    workers = typed(ctx, Workers)
    from distverify.reporting import reporting

    with reporting(quiet):
        from distverify.api import certify as run
    from distverify.results.reader import open_result

    old = open_result(result)
    if not old.complete:
        raise ResultError(f"{result}: its run has not ended; the same command continues it")
    model, data, told, command = recorded(old.provenance, result)
    target = result.with_name(f"{result.stem}.rerun{result.suffix}") if output is None else output
    if target.exists() and target.samefile(result):
        raise SettingsError(f"output: {target} is the result itself; name another file")
    told |= workers | {"output": target, "overwrite": False, "retry_failed": False}
    with reporting(quiet) as progress:
        new = run(model, data, progress=progress, command=command, **told)
    if new.provenance["run_id"] != old.provenance["run_id"]:
        before, now = old.provenance, new.provenance
        which = [n for n in ("model", "data") if before[n]["digest"] != now[n]["digest"]] or ["version or settings"]
        click.echo(f"{target}: another run than {result}: {' and '.join(which)} changed")
        ctx.exit(DIFFERS)
    others = [
        name for name in old
        if name not in _TIMES and (name not in new or not np.array_equal(old[name], new[name], equal_nan=old[name].dtype.kind == "f"))
    ]  # fmt: skip
    if others:
        click.echo(f"{target}: other numbers than {result} in {', '.join(others)}")
        ctx.exit(DIFFERS)
    click.echo(f"{target}: the same numbers as {result}, bit by bit")


def recorded(provenance: dict[str, Any], result: Path) -> tuple[Any, Any, dict[str, Any], str]:
    """Model, data and options of the command that a provenance tells of, and that command.

    Raises
    ------
    ResultError
        It tells of none: the run was made from Python, or by a command too long to be kept.
    """
    command = provenance["environment"].get("command")
    if not command or command.endswith("…"):
        raise ResultError(
            f"{result}: tells of no command, for its run was made from Python; call distverify.certify again with the same arguments"
        )
    program, *words = [str(Path(w).expanduser()) if w.startswith("~/") else w for w in shlex.split(command)]
    if words[:1] == ["demo"]:
        from distverify.cli.demo import EPS, OPTIONS
        from distverify.demo import DATA, MODEL

        return MODEL, DATA, {"eps": EPS, **OPTIONS}, command
    if Path(program).name != "distverify" or words[:1] != ["certify"]:
        raise ResultError(f"{result}: was made by {command!r}, which is no distverify certify; run that again")
    from distverify.cli.certify import certify

    inner = certify.make_context("certify", words[1:])
    data = inner.params["data"]
    return inner.params["model"], data[0] if len(data) == 1 else data, typed(inner, *_OWN), command
