"""``distverify certify``: a data set through the workers into a result file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from distverify.cli.options import GroupedCommand, Place, command_line, typed, with_options
from distverify.options.run import Division, Inputs, Output, Workers
from distverify.settings import Settings

SOME_FAILED = 1
RUN_OPTIONS = (Settings, Inputs, Workers, Division, Output)


@click.command(cls=GroupedCommand)
@click.argument("model", type=Place())
@click.argument("data", type=Place(), nargs=-1)
@with_options(*RUN_OPTIONS)
@click.option("--explain", is_flag=True, help="Print the plan: how the run is cut into work, and why.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary; only errors.")
@click.option("--progress", "form", type=click.Choice(["auto", "bar", "lines", "json", "none"]), default="auto",
              show_default=True, help="How progress is told on stderr; json: an object in each line, warnings too.")  # fmt: skip
@click.option("--json", "as_object", is_flag=True, help="One JSON object about the result on stdout instead of tables.")
@click.pass_context
def certify(
    ctx: click.Context,
    /,
    model: str | Path,
    data: tuple[str | Path, ...],
    quiet: bool,
    explain: bool,
    form: str,
    as_object: bool,
    **options: Any,
) -> None:
    """Certify MODEL on every sample of DATA and write the results to an HDF5 file.

    MODEL is an ONNX file. DATA is .npz, .h5, .safetensors or .pt with arrays x [N, ...] and optionally y [N] (the
    labels); X.npy,Y.npy or a folder with both; .csv with the label first and then the features; .parquet; MNIST's IDX files
    and CIFAR's .bin, gzipped too; a folder of images for each class. Or VNN-LIB property files (any number), or a
    VNN-COMP instances.csv: then each property is verified. With --domain it may be left out. Both may be URLs (s3://,
    https://, ...; with fsspec).

    An interrupted or killed run loses nothing that was finished: the same command continues where it stopped.

    \b
    Examples:
      distverify certify net.onnx digits.npz --eps 0.01,0.02 -o out.h5
      distverify certify mnist.onnx mnist.csv --scale 255 --clip 0,1 --eps 0.005,0.01 \\
          --compute jacobian,lipschitz,radius -o out.h5
      distverify certify net.onnx data.h5 --norm 2 --compute radius --samples 0:100 \\
          --address head:6379 --time-limit 600 -o out.h5
      distverify certify net.onnx prop_1.vnnlib prop_2.vnnlib -o properties.h5
    """
    given = typed(ctx, *RUN_OPTIONS)
    from distverify.reporting import reporting

    with reporting(quiet, form):  # the first import ever compiles kernels, and says so
        from distverify.api import certify as run
    from distverify.cli.run_tables import print_plan, print_workers
    from distverify.cli.tables import print_result
    from distverify.work import Plan

    plans: list[Plan] = []

    def planned(plan: Plan) -> None:
        plans.append(plan)
        if explain and not as_object:
            print_plan(plan)

    with reporting(quiet, form) as progress:
        result = run(
            model,
            (data[0] if len(data) == 1 else data) if data else None,
            progress=progress,
            planned=planned,
            command=command_line(ctx),
            **given,
        )
    if as_object:
        from distverify.results.as_json import as_json

        click.echo(json.dumps(as_json(result)))
    elif not quiet:
        print_result(result)
        print_workers(result)
    if explain and not plans and not as_object:
        click.echo("nothing to plan: the result is complete")
    if result.summary().failures:
        ctx.exit(SOME_FAILED)
