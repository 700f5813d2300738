"""Bounds of the outputs themselves over each ball, and over the domain."""

from __future__ import annotations

from distverify.quantities.quantity import AT_LEAST, AT_MOST, Claim, Quantity, Spread
from distverify.quantities.variable import number

OUTPUTS = Quantity(
    name="outputs",
    variables=(
        number("output_lower", "sample eps output", "lower bound of the output over the ball"),
        number("output_upper", "sample eps output", "upper bound of the output over the ball"),
    ),
    compute_at="distverify.analysis.outputs:bounds_over",
    needs_eps=True,
    search_domain="distverify.analysis.outputs:search_domain",
    uses=frozenset({"eps", "clip", "feature_eps", "domain", "arithmetic", "nodes"}),
    of_domain={
        "lower": number("domain_output_lower", "output", "lower bound of the output over the domain"),
        "upper": number("domain_output_upper", "output", "upper bound of the output over the domain"),
    },
    compute_domain="distverify.analysis.outputs:bounds_over_domain",
    claims=(
        Claim("output_lower", "output_min", AT_LEAST),
        Claim("output_upper", "output_max", AT_MOST),
        Claim("domain_output_lower", "domain_output_min", AT_LEAST),
        Claim("domain_output_upper", "domain_output_max", AT_MOST),
    ),
    spreads=(
        Spread(
            "output_width",
            "Width of output bounds",
            "output width",
            ("sample", "eps", "output"),
            note="of the bounds of every output over the ball; over samples and outputs",
            reads=("output_lower", "output_upper"),
            value=lambda lower, upper: upper - lower,
            figure="output-width",
        ),
    ),
    meaning="Bounds of outputs hold at every point of the region that they are given for.",
)
