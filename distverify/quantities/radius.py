"""Certified radii: no adversarial example lies closer. With given radii, also whether each of them is verified.

Two quantities leave the same variables: with "radius" the integral of Jacobian bounds ends where it can no longer enlarge the radius,
with "radius_jacobian" it is found in full, and told of.
"""

from __future__ import annotations

from dataclasses import replace

from distverify.quantities.quantity import AT_LEAST, Claim, Effort, Quantity, Spread
from distverify.quantities.variable import number, whole
from distverify.quantities.verified import CERTIFIED, VERIFIED_AT, VERIFIED_CLAIM, VERIFIED_MARGIN

RADIUS = Quantity(
    name="radius",
    variables=(
        number("radius", "sample", "certified radius, the larger of all methods"),
        number("radius_crown", "sample", "certified radius by CROWN margin bounds"),
        number("radius_jacobian", "sample", "certified radius by the integral of Jacobian bounds"),
        number("radius_target", "sample output", "certified radius against each target class"),
        whole("crown_evaluations", "sample", "radii at which CROWN bounded the margins"),
        whole("jacobian_evaluations", "sample", "radii at which the margins' Jacobian was bounded"),
        VERIFIED_AT,
        VERIFIED_MARGIN,
    ),
    compute="distverify.analysis.radius:radii_of",
    compute_at="distverify.analysis.verdict:verdict_over",
    compares=True,
    uses=frozenset({"eps", "clip", "feature_eps", "targets", "march_evaluations", "nodes", "arithmetic", "march_tolerance"}),
    effort=Effort(searches=True, marches=True),
    claims=(
        Claim("radius", "adversarial_nearest", AT_LEAST),
        Claim("radius_crown", "adversarial_nearest", AT_LEAST),
        Claim("radius_jacobian", "adversarial_nearest", AT_LEAST),
        Claim("radius_target", "adversarial", AT_LEAST),
        VERIFIED_CLAIM,
    ),
    spreads=(
        Spread(
            "radius", "Certified radius", "radius", ("sample",), note="{norm} norm, units of the data; 0 where misclassified",
            nothing=0.0, weakest="least", certifies=True,
            figure="radii",
            parts=(("radius_crown", "by CROWN", "CROWN margins"),),
        ),
    ),
    shares=(CERTIFIED,),
    meaning="Within its certified radius, no change whatever makes a sample {change}: this is proven, not tested.",
)  # fmt: skip

RADIUS_JACOBIAN = replace(
    RADIUS,
    name="radius_jacobian",
    of_derivatives=True,
    spreads=(
        Spread(
            "radius_jacobian", "Certified radius by Jacobian bounds", "by Jacobian", ("sample",),
            note="{norm} norm, units of the data; 0 where misclassified", nothing=0.0, weakest="least", figure="radii-jacobian",
        ),
    ),
    meaning="The radius by the integral of Jacobian bounds alone is found in full, also where CROWN's is larger.",
)  # fmt: skip
