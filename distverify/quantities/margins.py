"""Lipschitz constants of the margins between the label's output and the others, over each ball."""

from __future__ import annotations

from distverify.quantities.quantity import AT_LEAST, AT_MOST, Claim, Effort, Quantity
from distverify.quantities.variable import number

MARGINS = Quantity(
    name="margins",
    variables=(
        number("lipschitz_margin", "sample eps output", "local Lipschitz constant of the label's logit minus this one"),
    ),
    compute_at="distverify.analysis.margins:constants_over",
    searched=(
        number(
            "lipschitz_margin_attained",
            "sample eps output",
            "dual norm of a gradient of the margin in the ball: the true constant is at least this",
        ),
    ),
    search_at="distverify.analysis.searched:margins_over",
    needs_eps=True,
    compares=True,
    uses=frozenset({"eps", "clip", "feature_eps", "targets", "nodes"}),
    effort=Effort(derivatives=True),
    claims=(
        Claim("lipschitz_margin", "slope_margin", AT_MOST),
        Claim("lipschitz_margin_attained", "slope_margin_bound", AT_LEAST, graded=False),
    ),
    meaning="For eps {eps}, the constants of margins say how fast the label's output can lose its lead over another.",
)
