"""``distverify estimate``: what a run will take, before a cluster is booked."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from distverify.cli.options import GroupedCommand, Place, typed, with_options
from distverify.options.run import Inputs
from distverify.settings import Settings
from distverify.words import count, duration, printable


@click.command(cls=GroupedCommand)
@click.argument("model", type=Place())
@click.argument("data", type=Place(), nargs=-1, required=True)
@with_options(Settings, Inputs)
@click.option("--timed", type=click.IntRange(min=2), default=8, show_default=True, help="Samples to time.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the choice of samples.")
@click.option("--json", "as_object", is_flag=True, help="One JSON object on stdout instead of lines.")
@click.pass_context
def estimate(
    ctx: click.Context,
    /,
    model: str | Path,
    data: tuple[str | Path, ...],
    timed: int,
    seed: int,
    as_object: bool,
    **options: Any,
) -> None:
    """Time a handful of samples of DATA on one core and predict what certify with the same options takes.

    DATA is what certify takes, property files and instances.csv too. The samples are spread from the least to the most
    clearly classified ones.

    \b
    Example:
      distverify estimate net.onnx data.npz --eps 0.01 --compute jacobian,radius
    """
    given = typed(ctx, Settings, Inputs)
    from distverify.cli.run_tables import describe_units
    from distverify.forecast.estimate import estimate as predict

    predicted = predict(model, data[0] if len(data) == 1 else data, timed=timed, seed=seed, **given)
    if as_object:
        told = {"format": "distverify estimate 1", **vars(predicted), "plan": predicted.plan.to_json()}
        click.echo(json.dumps(told))
        return
    cores = os.cpu_count() or 1
    workers = min(cores, predicted.actors)
    rows = {
        "Timed": f"{predicted.timed} of {count(predicted.samples, 'sample')}, the slowest {duration(predicted.slowest)}",
        "Core-hours": f"{predicted.core_hours:.3g} (between {predicted.core_hours_low:.3g} and {predicted.core_hours_high:.3g})",
        "Memory per worker": f"about {predicted.memory / 1e9:.2g} GB",
        "Result file": f"{predicted.file_size / 1e6:.3g} MB",
        "Units": describe_units(predicted.plan),
        "Workers": f"up to {predicted.actors:,} pay off (--max-actors)",
        "Here": f"{duration(3600 * predicted.core_hours / workers)} on {count(workers, 'worker')} of this machine",
    }
    for name, value in rows.items():
        click.echo(f"{name:<18}  {value}")
    for message in predicted.failures[:3]:
        click.echo(printable(f"FAILED: a timed sample: {message}"))
