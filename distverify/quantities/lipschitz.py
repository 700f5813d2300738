"""Lipschitz constants over each ball, and over the domain: of every output, and of all of them together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distverify.quantities.quantity import AT_LEAST, AT_MOST, Claim, Effort, Quantity, Spread
from distverify.quantities.variable import number

if TYPE_CHECKING:
    from distverify.quantities.quantity import Floats


def _looseness(bound: Floats, attained: Floats) -> Floats:
    """By which factor a constant may be too large: 1 where it is attained, NaN where nothing was."""
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(attained > 0.0, bound / attained, np.where(bound == 0.0, 1.0, np.nan))


LIPSCHITZ = Quantity(
    name="lipschitz",
    of_derivatives=True,
    variables=(
        number("lipschitz", "sample eps output", "local Lipschitz constant of each output row (dual norm)"),
        number("lipschitz_vector", "sample eps", "local Lipschitz constant of the vector output (induced norm)"),
    ),
    derivatives={"constants": "lipschitz", "vector": "lipschitz_vector"},
    searched=(
        number(
            "lipschitz_attained", "sample eps output",
            "dual norm of a gradient in the ball, for each output row: its true constant is at least this",
        ),
        number(
            "lipschitz_vector_attained", "sample eps",
            "induced norm of a Jacobian in the ball: the true constant of the vector output is at least this",
        ),
    ),
    search_at="distverify.analysis.searched:constants_over",
    searched_domain=(
        number(
            "domain_lipschitz_attained", "output",
            "dual norm of a gradient in the domain, for each output row: its true constant is at least this",
        ),
        number(
            "domain_lipschitz_vector_attained", "",
            "induced norm of a Jacobian in the domain: the true constant of the vector output is at least this",
        ),
    ),
    search_domain="distverify.analysis.searched:constants_over_domain",
    needs_eps=True,
    uses=frozenset({"eps", "clip", "feature_eps", "domain", "direction", "nodes"}),
    of_domain={
        "constants": number(
            "domain_lipschitz", "output", "Lipschitz constant of each output row over the domain (dual norm)"
        ),
        "vector": number(
            "domain_lipschitz_vector", "", "Lipschitz constant of the vector output over the domain (induced norm)"
        ),
    },
    effort=Effort(derivatives=True),
    claims=(
        Claim("lipschitz", "slope", AT_MOST),
        Claim("lipschitz_vector", "slope_vector", AT_MOST),
        Claim("domain_lipschitz", "domain_slope", AT_MOST),
        Claim("domain_lipschitz_vector", "domain_slope_vector", AT_MOST),
        Claim("lipschitz_attained", "slope_bound", AT_LEAST, graded=False),
        Claim("lipschitz_vector_attained", "slope_vector_bound", AT_LEAST, graded=False),
        Claim("domain_lipschitz_attained", "domain_slope_bound", AT_LEAST, graded=False),
        Claim("domain_lipschitz_vector_attained", "domain_slope_vector_bound", AT_LEAST, graded=False),
    ),
    spreads=(
        Spread(
            "lipschitz_vector", "Lipschitz constant", "Lipschitz", ("sample", "eps"),
            figure="lipschitz",
            note="of the vector output in the ball, {norm} norm on both sides",
        ),
        Spread(
            "lipschitz_looseness", "Lipschitz bound / attained", "bound / attained", ("sample", "eps"),
            reads=("lipschitz_vector", "lipschitz_vector_attained"), value=_looseness, figure="lipschitz-brackets",
            note="by which factor the constant may be too large at most; 1: it is attained",
        ),
    ),
    constants={
        "domain_lipschitz_vector": "Lipschitz constant over the domain",
        "domain_lipschitz": "largest of its rows",
        "domain_lipschitz_vector_attained": "attained",
    },
    meaning="For eps {eps}, Lipschitz constants say how much the outputs can change per unit of change of the input, anywhere in "
    "the ball; where a search looked for them, gradients in the ball attain the smaller number.",
)  # fmt: skip
