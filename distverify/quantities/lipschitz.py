"""Lipschitz constants over each ball, and over the domain: of every output, and of all of them together."""

from __future__ import annotations

from distverify.quantities.quantity import AT_MOST, Claim, Effort, Quantity, Spread
from distverify.quantities.variable import number

LIPSCHITZ = Quantity(
    name="lipschitz",
    variables=(
        number("lipschitz", "sample eps output", "local Lipschitz constant of each output row (dual norm)"),
        number("lipschitz_vector", "sample eps", "local Lipschitz constant of the vector output (induced norm)"),
    ),
    derivatives={"constants": "lipschitz", "vector": "lipschitz_vector"},
    needs_eps=True,
    uses=frozenset({"eps", "clip", "feature_eps", "domain", "direction"}),
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
    ),
    spreads=(
        Spread(
            "lipschitz_vector", "Lipschitz constant", "Lipschitz", ("sample", "eps"),
            figure="lipschitz",
            note="of the vector output in the ball, {norm} norm on both sides",
        ),
    ),
    constants={
        "domain_lipschitz_vector": "Lipschitz constant over the domain",
        "domain_lipschitz": "largest of its rows",
    },
    meaning="For eps {eps}, Lipschitz constants say how much the outputs can change per unit of change of the input, anywhere in "
    "the ball.",
)  # fmt: skip
