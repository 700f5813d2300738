"""``distverify certify``: a data set through the workers into a result file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from distverify.cli import parameters
from distverify.cli.parameters import command_line, option_value
from distverify.settings import (
    COMPUTE,
    DIRECTIONS,
    EPS_UNITS,
    LANDSCAPE_OUTPUTS,
    LAYER_BOUNDS,
    MARCH_EVALUATIONS,
    MARCH_TOLERANCE,
    METHODS,
    PRECISIONS,
    TARGETS,
)

SOME_FAILED = 1
_RAY_ONLY = ("address", "cpus_per_actor", "max_actors", "memory_per_actor", "time_limit")


@click.command(short_help="Certify a data set and write a result file.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="OUT.h5",
    help="Result file (HDF5).",
)
@click.option(
    "--eps",
    callback=option_value(parameters.radii),
    metavar="LIST",
    help="Radii of the balls, such as 0.005,0.01 or logspace:-3:-1:20 (20 radii from 0.001 to 0.1). "
    "In units of DATA after --scale and before --mean/--std (see --eps-units).",
)
@click.option(
    "--norm",
    type=click.Choice(["inf", "2", "1"]),
    default="inf",
    show_default=True,
    help="Norm of the balls.",
)
@click.option(
    "--compute",
    callback=option_value(parameters.computed),
    default="lipschitz,radius",
    show_default=True,
    metavar="LIST",
    help=f"What to compute: any of {', '.join(COMPUTE)}, with commas between.",
)
@click.option(
    "--method",
    callback=option_value(parameters.method),
    default="linear",
    show_default=True,
    metavar="METHOD",
    help=f"How Jacobians are bounded: {', '.join(METHODS)}.",
)
@click.option(
    "--layer-bounds",
    type=click.Choice(LAYER_BOUNDS),
    default="crown",
    show_default=True,
    help="How pre-activations are bounded.",
)
@click.option(
    "--targets",
    callback=option_value(parameters.target),
    default="untargeted",
    show_default=True,
    metavar="TARGET",
    help=f"Classes that a radius must keep away from: {', '.join(TARGETS)}, or one class index.",
)
@click.option(
    "--clip",
    callback=option_value(parameters.interval),
    metavar="LO,HI",
    help="Box that every input lies in, such as 0,1 for pixels; balls are cut off there. In units of --eps.",
)
@click.option(
    "--feature-eps",
    callback=option_value(parameters.per_feature),
    metavar="LIST|FILE",
    help="One factor of --eps per feature, in MODEL's order: 1,0.5,0 or a file of numbers (.npy, .csv, .txt). "
    "Radii and Lipschitz constants are then in the norm that they scale; 0 keeps a feature fixed.",
)
@click.option("--features", metavar="WHICH", help="Features that may change: 0:10 or 3,7. The others are fixed.")
@click.option(
    "--domain",
    callback=option_value(parameters.interval),
    metavar="LO,HI",
    help="A box for all features: bounds of the Jacobian, Lipschitz constants and monotone features over all of it too.",
)
@click.option(
    "--march-evaluations",
    type=click.IntRange(min=1),
    default=MARCH_EVALUATIONS,
    show_default=True,
    help="Most Jacobian bounds per radius; more give larger radii by Jacobian bounds.",
)
@click.option(
    "--march-tolerance",
    type=click.FloatRange(min=0, max=1, max_open=True),
    default=MARCH_TOLERANCE,
    show_default=True,
    help="Relative gain at which a radius by Jacobian bounds is good enough.",
)
@click.option(
    "--landscape-outputs",
    type=click.Choice(LANDSCAPE_OUTPUTS),
    default="all",
    show_default=True,
    help="Outputs whose stationary points are looked for.",
)
@click.option(
    "--eps-units",
    type=click.Choice(EPS_UNITS),
    default="raw",
    show_default=True,
    help="Whether --eps, --clip and --domain are in units before or after --mean/--std.",
)
@click.option(
    "--direction",
    type=click.Choice(DIRECTIONS),
    default="auto",
    show_default=True,
    help="Order in which the outputs' Jacobian is bounded: a chain per output, per input, the cheaper, or both intersected.",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="float64",
    show_default=True,
    help="Of matrix products: float32 is faster and gives a little wider bounds, just as sound.",
)
@click.option(
    "--scale",
    callback=option_value(parameters.positive),
    metavar="S",
    help="Divide the values of DATA by S (255 for 8-bit images).",
)
@click.option(
    "--mean",
    callback=option_value(parameters.per_channel),
    metavar="LIST",
    help="The model expects (value - mean) / std: one mean, or one per channel. Becomes part of the network.",
)
@click.option("--std", callback=option_value(parameters.per_channel), metavar="LIST", help="See --mean.")
@click.option(
    "--layout",
    type=click.Choice(["flat", "chw", "hwc"]),
    default="flat",
    show_default=True,
    help="How a row of DATA holds an image: as MODEL takes it, channel by channel, or pixel by pixel (CIFAR's colours "
    "side by side); it is brought to MODEL's order.",
)
@click.option("--samples", metavar="WHICH", help="Rows of DATA: 0:100, ::10 or 3,7. Default: all.")
@click.option(
    "--executor",
    type=click.Choice(["ray", "serial"]),
    default="ray",
    show_default=True,
    help="Ray workers, or one sample after another in this process.",
)
@click.option(
    "--address",
    metavar="HOST:PORT",
    help="Existing Ray cluster. Default: a local Ray for this run only.",
)
@click.option(
    "--cpus-per-actor",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="CPUs (and threads) of each worker.",
)
@click.option(
    "--max-actors",
    type=click.IntRange(min=1),
    help="Most workers at a time. Default: as many as the CPUs allow.",
)
@click.option(
    "--memory-per-actor",
    callback=option_value(parameters.memory),
    metavar="BYTES",
    help="Memory that each worker reserves and works within, such as 4G: a node holds only as many workers as fit.",
)
@click.option(
    "--time-limit",
    callback=option_value(parameters.positive),
    metavar="SECONDS",
    help="Give up on a sample after this time; it is recorded as timed out.",
)
@click.option(
    "--samples-per-unit",
    type=click.IntRange(min=1),
    help="Samples that a worker gets at a time. Default: from the time that a few samples take.",
)
@click.option(
    "--pieces-per-sample",
    type=click.IntRange(min=1),
    help="Cut the bounds of every sample into about so many pieces (blocks of output rows, neurons or columns) for "
    "several workers; 1: never. Default: where samples are few, or take long.",
)
@click.option("--explain", is_flag=True, help="Print the plan: how the run is cut into work, and why.")
@click.option("--retry-failed", is_flag=True, help="Compute failed and timed-out samples of OUT.h5 again.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.h5, whatever it holds.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary; only errors.")
@click.pass_context
def certify(
    ctx: click.Context, /, model: Path, data: tuple[Path, ...], output: Path, quiet: bool, explain: bool, **options: Any
) -> None:
    """Certify MODEL on every sample of DATA and write the results to an HDF5 file.

    MODEL is an ONNX file. DATA is .npz or .h5 with arrays x [N, ...] and optionally y [N] (the labels),
    or .csv with the label first and then the features; or VNN-LIB property files (any number), or a VNN-COMP
    instances.csv: then each property is verified.

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
    _refuse_ignored(ctx)
    if ctx.get_parameter_source("compute") is ParameterSource.DEFAULT:
        options["compute"] = None  # of data sets and of property files, what is usual for them
    from distverify.api import certify as run
    from distverify.cli.progress import reporting
    from distverify.cli.run_tables import print_plan, print_workers
    from distverify.cli.tables import print_result
    from distverify.work import Plan

    plans: list[Plan] = []

    def planned(plan: Plan) -> None:
        plans.append(plan)
        if explain:
            print_plan(plan)

    options |= {"norm": float(options["norm"]), "eps": options["eps"] or ()}
    with reporting(quiet) as progress:
        result = run(
            model,
            data[0] if len(data) == 1 else data,
            output=output,
            progress=progress,
            planned=planned,
            command=command_line(ctx),
            **options,
        )
    if not quiet:
        print_result(result)
        print_workers(result)
    if explain and not plans:
        click.echo("nothing to plan: the result is complete")
    if result.summary().failures:
        ctx.exit(SOME_FAILED)


def _refuse_ignored(ctx: click.Context) -> None:
    """Raise a usage error when an option was typed that the others make meaningless."""
    given = {
        str(p.name): p.opts[-1]
        for p in ctx.command.params
        if ctx.get_parameter_source(str(p.name)) is ParameterSource.COMMANDLINE
    }
    chosen = ctx.params
    ignored: dict[str, str] = {}
    if chosen["executor"] == "serial":
        ignored |= dict.fromkeys(_RAY_ONLY, "--executor serial works in this process, without Ray")
    computed = set(chosen["compute"])
    if not computed & {"margins", "radius", "verified"}:
        ignored["targets"] = "only radii have targets, and --compute has no radius"
    if computed <= {"global", "landscape"}:
        ignored["eps"] = "landscape finds its own radii, and global constants have none"
    if chosen["overwrite"]:
        ignored["retry_failed"] = "--overwrite computes every sample again"
    for name, why in ignored.items():
        if name in given:
            raise click.UsageError(f"{given[name]} would be ignored: {why}. Leave out one of them.", ctx)
