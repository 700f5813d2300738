"""How far the network that runs in single precision is from the exact one."""

from __future__ import annotations

from distverify.quantities.quantity import Quantity, Spread
from distverify.quantities.variable import number

EVALUATION = Quantity(
    name="evaluation_error",
    variables=(
        number(
            "evaluation_error",
            "sample output",
            "bound of |f in single precision - f| over the largest ball, whatever the order of summation",
        ),
    ),
    compute="distverify.analysis.evaluation_error:errors_of",
    uses=frozenset({"eps", "clip", "feature_eps"}),
    spreads=(
        Spread(
            "evaluation_error", "Evaluation error", "Eval. error", ("sample", "output"),
            figure="evaluation", note="of outputs in single precision, over the largest ball; inf where they may overflow",
        ),
    ),
    meaning="In single precision, in any order of summation, outputs differ from the exact ones by at most the evaluation error.",
)  # fmt: skip
