"""Counterexamples: a point of each ball that is classified as a target."""

from __future__ import annotations

from distverify.quantities.quantity import Quantity
from distverify.quantities.variable import number

ATTACK = Quantity(
    name="attack",
    variables=(
        number(
            "radius_attacked",
            "sample",
            "distance of the nearest counterexample that was found; inf: none",
            "units of the data",
        ),
        number(
            "counterexample",
            "sample eps input",
            "a point of the ball that is classified as a target class, where one was found",
            "units of the data",
        ),
    ),
    compute="distverify.analysis.verdict:nearest",
    compute_at="distverify.analysis.verdict:counterexample_over",
    compares=True,
    uses=frozenset({"eps", "clip", "feature_eps", "targets", "nodes", "march_evaluations", "arithmetic"}),
    meaning="A counterexample is a point of the ball at which a target's output is larger than the label's, in exact arithmetic "
    "(and, where single precision was asked for, in that too).",
)
