"""Lipschitz constants of the margins between the label's output and the others, over each ball."""

from __future__ import annotations

from distverify.quantities.quantity import AT_MOST, Claim, Effort, Quantity
from distverify.quantities.variable import number

MARGINS = Quantity(
    name="margins",
    variables=(
        number("lipschitz_margin", "sample eps output", "local Lipschitz constant of the label's logit minus this one"),
    ),
    compute_at="distverify.analysis.margins:constants_over",
    needs_eps=True,
    compares=True,
    uses=frozenset({"eps", "clip", "feature_eps", "targets"}),
    effort=Effort(derivatives=True),
    claims=(Claim("lipschitz_margin", "slope_margin", AT_MOST),),
    meaning="For eps {eps}, the constants of margins say how fast the label's output can lose its lead over another.",
)
