"""``distverify check``: demands on a result, for continuous integration."""

from __future__ import annotations

import json
from pathlib import Path

import click

from distverify.cli.options import Place

NOT_MET = 1


@click.command()
@click.argument("result", type=Place())
@click.option("--certified-at", type=float, metavar="EPS", help="Radius for --min and --baseline.")
@click.option("--min", "least", type=float, metavar="SHARE", help="Least share of all samples certified there, 0 to 1.")
@click.option("--baseline", type=Place(), metavar="OLD.h5", help="No sample that this one certifies may have lost it.")
@click.option(
    "--forbid",
    metavar="VERDICTS",
    help="That no property file, or no sample at any radius, may have: falsified,unknown.",
)
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE.xml", help="Also write a JUnit report.")
@click.option("--json", "as_object", is_flag=True, help="One JSON object on stdout instead of lines.")
@click.pass_context
def check(
    ctx: click.Context, /, result: str | Path, certified_at: float | None, least: float | None,
    baseline: str | Path | None, forbid: str | None, junit: Path | None, as_object: bool,
) -> None:  # fmt: skip
    """Check that RESULT is whole, certifies as much as is demanded, and has no verdict that is forbidden.

    Of property files every one is a demand (and a test case of the JUnit report).

    \b
    Exit status: 0 every demand is met, 1 one is not, 2 misuse.

    \b
    Examples:
      distverify check out.h5 --certified-at 0.01 --min 0.9
      distverify check new.h5 --certified-at 0.01 --baseline old.h5 --junit check.xml
      distverify check properties.h5 --forbid falsified,unknown --junit check.xml
    """
    from distverify.options.files import check_output
    from distverify.results.check import check as judge
    from distverify.results.files import replacing

    if junit is not None:
        check_output(junit, (".xml",), (result, baseline), "junit")
    outcome = judge(result, certified_at=certified_at, least=least, baseline=baseline, forbid=forbid or ())
    if junit is not None:
        with replacing(junit) as temporary:
            temporary.write_text(outcome.to_junit(), encoding="utf-8")
    if as_object:
        click.echo(json.dumps(outcome.to_json()))
    else:
        for demand in outcome.demands:
            click.echo(f"{'ok' if demand.holds else 'NOT MET':<8} {demand.name}: {demand.detail}")
    if not outcome.holds:
        ctx.exit(NOT_MET)
