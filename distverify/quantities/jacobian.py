"""Element-wise bounds of the outputs' Jacobian over each ball, and over the domain."""

from __future__ import annotations

from distverify.quantities.quantity import AT_LEAST, AT_MOST, Claim, Effort, Quantity
from distverify.quantities.variable import number

JACOBIAN = Quantity(
    name="jacobian",
    of_derivatives=True,
    variables=(
        # A map of a Jacobian says little without the image that it belongs to; costs 1 / (2 eps output) of the bounds.
        number("x0", "sample input", "the sample itself: centre of its balls"),
        number("jacobian_lower", "sample eps output input", "element-wise lower bound of the Jacobian over the ball"),
        number("jacobian_upper", "sample eps output input", "element-wise upper bound of the Jacobian over the ball"),
    ),
    derivatives={"lower": "jacobian_lower", "upper": "jacobian_upper"},
    compute="distverify.analysis.around:centre",
    search_at="distverify.analysis.searched:jacobian_over",
    search_domain="distverify.analysis.searched:jacobian_over_domain",
    needs_eps=True,
    uses=frozenset({"eps", "clip", "feature_eps", "domain", "direction", "nodes"}),
    of_domain={
        "lower": number(
            "domain_jacobian_lower", "output input", "element-wise lower bound of the Jacobian over the domain"
        ),
        "upper": number(
            "domain_jacobian_upper", "output input", "element-wise upper bound of the Jacobian over the domain"
        ),
    },
    hulls=(
        number("hull_lower", "eps output input", "smallest jacobian_lower of all samples that have one"),
        number("hull_upper", "eps output input", "largest jacobian_upper of all samples that have one"),
    ),
    effort=Effort(derivatives=True),
    claims=(
        Claim("jacobian_lower", "jacobian_min", AT_LEAST),
        Claim("jacobian_upper", "jacobian_max", AT_MOST),
        Claim("hull_lower", "jacobian_min", AT_LEAST),
        Claim("hull_upper", "jacobian_max", AT_MOST),
        Claim("domain_jacobian_lower", "domain_min", AT_LEAST),
        Claim("domain_jacobian_upper", "domain_max", AT_MOST),
    ),
    meaning="For eps {eps}, bounds of the derivatives hold at every point of the ball.",
)
