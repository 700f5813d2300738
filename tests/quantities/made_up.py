"""A quantity that no room of the house knows: ``python -m tests.quantities.made_up certify ...`` is the command line with it.

One value, added to the catalogue, is all: nothing else is patched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from distverify.quantities import catalogue
from distverify.quantities.quantity import AT_MOST, Claim, Effort, Quantity, Spread
from distverify.quantities.variable import number

if TYPE_CHECKING:  # the settings read the catalogue when they are first imported: they come after it
    from distverify.analysis.around import Over
    from distverify.work import SampleResult

MADE_UP = Quantity(
    name="doubled",
    variables=(number("doubled_slope", "sample eps", "twice the Lipschitz constant of the vector output"),),
    compute_at="tests.quantities.made_up:doubled_over",
    needs_eps=True,
    uses=frozenset({"eps", "clip"}),
    effort=Effort(derivatives=True),
    claims=(Claim("doubled_slope", "slope_vector", AT_MOST),),
    spreads=(
        Spread(
            "doubled_slope", "Doubled slope", "doubled slope", ("sample", "eps"), note="of the vector output",
            figure="doubled",
        ),
    ),
    meaning="For eps {eps}, the doubled slope says twice how steep the network can be.",
)  # fmt: skip


def doubled_over(over: Over) -> SampleResult:
    """Twice the constant of the vector output; fails where a sample's first value is negative."""
    around = over.around
    if around.sample.x[0] < 0:
        raise ZeroDivisionError("made up to fail")
    from distverify.bounds.jacobian import output_rows
    from distverify.questions.rows import Derivatives

    rows = output_rows(around.bounder.network, None, None)
    answer = around.bounder.rows(over.known, rows, Derivatives(("constants", "vector"), around.settings.norm))
    return {"doubled_slope": 2.0 * np.asarray(answer["vector"], np.float64)}


def register() -> None:
    """Add the made-up quantity to the catalogue."""
    catalogue.QUANTITIES += (MADE_UP,)  # type: ignore[assignment]


if __name__ == "__main__":
    register()
    from distverify.cli.main import main

    main(prog_name="distverify")
