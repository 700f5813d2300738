"""``distverify audit``: attacks on what a result claims."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distverify.cli.options import GroupedCommand, Place, typed, with_options
from distverify.options.run import Workers
from distverify.words import count, printable

if TYPE_CHECKING:
    from distverify.attacks.audit import Audit

BROKEN = 1
_SHOWN = 3


@click.command(cls=GroupedCommand)
@click.argument("result", type=Place())
@click.argument("model", type=Place())
@click.argument("data", type=Place(), nargs=-1)
@with_options(Workers)
@click.option("--points", type=click.IntRange(min=8), default=64, show_default=True, help="Points per ball.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of everything random.")
@click.option("-q", "--quiet", is_flag=True, help="Only violations and errors.")
@click.option("--json", "as_object", is_flag=True, help="One JSON object on stdout instead of tables.")
@click.pass_context
def audit(
    ctx: click.Context,
    /,
    result: str | Path,
    model: str | Path,
    data: tuple[str | Path, ...],
    points: int,
    seed: int,
    quiet: bool,
    as_object: bool,
    **options: Any,
) -> None:
    """Attack what RESULT claims about MODEL on DATA (which a result of a domain alone does without).

    Every stored bound, constant and radius is checked against random points, corners and points along gradients in its ball;
    radii against projected gradient descent; counterexamples are replayed. Of a result on property files (give the same files as
    DATA) counterexamples are replayed, and what is said to have none is searched anew. Selection, scale and normalisation are read
    from RESULT.

    \b
    Exit status: 0 every claim held, 1 a claim is broken (or an attack failed, or the file was changed since the run wrote it), 2 misuse.

    \b
    Example:
      distverify audit out.h5 net.onnx data.npz
    """
    given = typed(ctx, Workers)
    from distverify.attacks.audit import audit as attack
    from distverify.notices import tell
    from distverify.results.reader import open_result

    def told(done: int, total: int) -> None:
        tell(f"{done}/{total} samples attacked")

    named = data if len(data) > 1 else next(iter(data), None)
    outcome = attack(
        open_result(result), model, named, points=points, seed=seed, progress=None if quiet else told, **given
    )
    if as_object:
        click.echo(json.dumps(outcome.to_json()))
    else:
        _print(outcome, quiet)
    if outcome.violations or outcome.failures or outcome.unchanged is False:
        ctx.exit(BROKEN)


def _print(outcome: Audit, quiet: bool) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from distverify.cli.tables import print_tables

    if not quiet:
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("Claim")
        for header in ("Values", "Broken", "Closest", "Median"):
            table.add_column(header, justify="right")
        for f in outcome.findings:
            table.add_row(f.variable, f"{f.checked:,}", f"{f.broken:,}", _share(f.closest), _share(f.median))
        print_tables([table])
        click.echo(
            "Closest, Median: how close attacks came (100 %: they touched the bound), over values and over samples\n"
        )
    for f in outcome.findings:
        for v in f.worst[:_SHOWN]:
            place = "".join(f", {axis} {k}" for axis, k in v.place.items())
            click.echo(
                f"BROKEN: {v.variable} of sample {v.sample}{place}: the file says {v.bound:.6g}, attained {v.attained:.6g}"
            )
        if f.broken > _SHOWN:
            click.echo(f"BROKEN: {f.variable}: and {f.broken - _SHOWN:,} more")
    for index, message in list(outcome.failures.items())[:_SHOWN]:
        click.echo(printable(f"FAILED: the attack on sample {index}: {message}"))
    if outcome.unchanged is False:
        click.echo("CHANGED: the file is not as the run wrote it: a value, a coordinate or an attribute is another")
    for note in outcome.notes:
        click.echo(printable(f"NOTE: {note}"))
    verdict = "every claim held" if not outcome.violations else f"{outcome.violations:,} values are broken"
    click.echo(f"{count(outcome.samples, 'sample')} attacked: {verdict}")


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0%}"
