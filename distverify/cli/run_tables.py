"""Tables on stdout about how a run is computed: its plan before it, what the workers did after it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

from distverify.cli.tables import add_row, columns_table, facts_table, print_tables
from distverify.words import count, duration, per_second, session_facts, session_title, significant
from distverify.work import Plan

if TYPE_CHECKING:
    from distverify.results.reader import Result


def print_plan(plan: Plan) -> None:
    """How a run is cut, and why, on stdout."""
    print_tables([plan_table(plan)])


def plan_table(plan: Plan) -> Table:
    """The table of :func:`print_plan`."""
    table = facts_table("Plan")
    add_row(table, "Samples", f"{plan.samples:,}")
    add_row(table, "Units", describe_units(plan))
    if plan.pieces > 1:
        add_row(table, "Pieces", _pieces(plan))
    time = plan.seconds_per_sample
    add_row(table, "Measured", "not timed" if time is None else f"{duration(time)} of kernel time per sample")
    add_row(
        table,
        "Results",
        f"{significant(plan.bytes_per_sample * min(plan.unit_samples, plan.samples) / 1e6)} MB per unit",
    )
    add_row(table, "Workers", f"planned for {plan.workers:,}")
    expected = expected_seconds(plan)
    if expected is not None:
        add_row(table, "Expected", f"about {duration(expected)} with {count(plan.workers, 'worker')}")
    add_row(table, "Why", plan.reason)
    return table


def expected_seconds(plan: Plan) -> float | None:
    """How long the workers of the plan take, were they all as fast as the measured one; None if nothing was measured."""
    if plan.seconds_per_sample is None:
        return None
    total = plan.seconds_per_sample * plan.samples
    if plan.pieces > 1:
        return total / min(plan.workers, plan.count * plan.pieces) if plan.count else 0.0
    # The worker with the most units is the last one.
    rounds = math.ceil(plan.count / plan.workers)
    return total * rounds / plan.count if plan.count else 0.0


def print_workers(result: Result) -> None:
    """What the workers of the run that finished ``result`` did, on stdout; nothing for a run that goes on."""
    environment = result.provenance["environment"]
    if "statistics" in environment:
        plan = Plan.from_json(environment["plan"]) if "plan" in environment else None
        samples = result.provenance["data"]["samples"]
        print_tables(statistics_tables(environment["statistics"], samples, plan))


def statistics_tables(told: Mapping[str, Any], samples: int, plan: Plan | None = None) -> list[Table]:
    """The tables of :func:`print_workers`, from what :func:`distverify.results.statistics.describe_statistics` told."""
    table = facts_table(session_title(told))
    for name, line in session_facts(told, samples).items():
        add_row(table, name, line)
    if plan is not None:
        add_row(table, "Plan", describe_units(plan) + (f"; {_pieces(plan)}" if plan.pieces > 1 else ""))
    each = told.get("each") or []
    return [table, _each(each)] if len(each) > 1 else [table]


def _each(each: list[Mapping[str, Any]]) -> Table:
    right = ("Worker", "Units", "Samples", "Kernel time", "Speed")
    table = columns_table("Worker", "Node", "Units", "Samples", "Kernel time", "Speed", right=right)
    for w in each:
        speed = "-" if w["samples_per_second"] is None else per_second(w["samples_per_second"])
        numbers = (f"{w['units']:,}", f"{w['samples']:,}", duration(w["kernel_seconds"]), speed)
        add_row(table, str(w["number"]), str(w["node"]), *numbers)
    return table


def describe_units(plan: Plan) -> str:
    most = count(min(plan.unit_samples, plan.samples), "sample")
    return (
        f"{count(plan.count, 'unit')} of {most}"
        if plan.unit_samples == 1
        else f"{count(plan.count, 'unit')} of up to {most}"
    )


def _pieces(plan: Plan) -> str:
    text = f"each sample in about {plan.pieces:,} pieces"
    if plan.rows < 2 * plan.pieces:
        return text
    return f"{text}: {-(-plan.rows // plan.pieces):,} of {plan.rows:,} output rows in one"
