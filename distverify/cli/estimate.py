"""``distverify estimate``: what a run will take, before a cluster is booked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from distverify.cli.certify import certify
from distverify.cli.text import count, duration, printable

# What certify takes, without what an estimate would ignore.
_OF_A_RUN = {
    "output", "executor", "address", "cpus_per_actor", "max_actors", "memory_per_actor", "time_limit", "retry_failed",
    "overwrite", "quiet", "samples_per_unit", "pieces_per_sample", "explain", "model", "data",
}  # fmt: skip


@click.command(params=[p for p in certify.params if p.name not in _OF_A_RUN],
               short_help="Time a few samples and predict what a run takes.")  # fmt: skip
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--timed", type=click.IntRange(min=2), default=8, show_default=True, help="Samples to time.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the choice of samples.")
@click.pass_context
def estimate(ctx: click.Context, /, model: Path, data: Path, timed: int, seed: int, **options: Any) -> None:
    """Time a handful of samples of DATA on one core and predict what certify with the same options takes.

    The samples are spread from the least to the most clearly classified ones.

    \b
    Example:
      distverify estimate net.onnx data.npz --eps 0.01 --compute jacobian,radius
    """
    from distverify.cli.run_tables import describe_units
    from distverify.estimate.estimate import estimate as predict

    if ctx.get_parameter_source("compute") is click.core.ParameterSource.DEFAULT:
        options["compute"] = None
    options |= {"norm": float(options["norm"]), "eps": options["eps"] or ()}
    found = predict(model, data, timed=timed, seed=seed, **options)
    cores = os.cpu_count() or 1
    workers = min(cores, found.actors)
    rows = {
        "Timed": f"{found.timed} of {count(found.samples, 'sample')}, the slowest {duration(found.slowest)}",
        "Core-hours": f"{found.core_hours:.3g} (between {found.core_hours_low:.3g} and {found.core_hours_high:.3g})",
        "Memory per worker": f"about {found.memory / 1e9:.2g} GB",
        "Result file": f"{found.file_size / 1e6:.3g} MB",
        "Units": describe_units(found.plan),
        "Workers": f"up to {found.actors:,} pay off (--max-actors)",
        "Here": f"{duration(3600 * found.core_hours / workers)} on {count(workers, 'worker')} of this machine",
    }
    for name, value in rows.items():
        click.echo(f"{name:<18}  {value}")
    for message in found.failures[:3]:
        click.echo(printable(f"FAILED: a timed sample: {message}"))
