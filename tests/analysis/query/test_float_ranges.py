"""What is never true in floating-point arithmetic, against evaluation at many numbers of the format."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from distverify.analysis.query.float_ranges import never
from distverify.analysis.query.formats import FLOAT32
from distverify.data.query.reading import parse_query
from distverify.data.query.terms import Comparison, holds

HEAD = "(vnnlib-version <2.0>)(declare-network f (declare-input X float32 [2]) (declare-output Y float32 [1]))"
TERMS = (
    "(+ X[0] X[1] 0.1)", "(* X[0] X[1])", "(* X[0] X[0])", "(- X[0] 0.3 X[1])", "(* 0.7 (+ X[0] X[1]) X[0])", "(- (* X[0] 3.3))",
    "(* (- X[0] X[1]) (- X[0] X[1]))", "X[1]",
)  # fmt: skip


def test_what_is_never_true_is_false_everywhere() -> None:
    rng = np.random.default_rng(0)
    ruled_out = 0
    for _ in range(150):
        operator, term = str(rng.choice(["<=", "<", "==", "!=", ">"])), str(rng.choice(TERMS))
        ends = np.sort(rng.uniform(-2.0, 2.0, (2, 2)).astype(np.float32), axis=1)
        points = [rng.uniform(*e, 40).astype(np.float32).clip(*e) for e in ends]
        points = [np.concatenate([p, e]) for p, e in zip(points, ends, strict=True)]
        low = min(_value(term, x) for x in zip(*points, strict=True))
        limit = f"{float(rng.choice([low, low - 0.5, low + 5.0])):.9f}"
        (comparison,) = parse_query(HEAD + f"(assert ({operator} {term} {limit}))").assertions
        assert isinstance(comparison, Comparison)
        known = {k: (Fraction(float(a)), Fraction(float(b))) for k, (a, b) in enumerate(ends)}
        if never(comparison, known, FLOAT32):
            ruled_out += 1
            assert not any(
                holds(comparison, [a, b], FLOAT32.number, np.float32) for a in points[0][::5] for b in points[1][::5]
            )
    assert ruled_out > 30


def _value(term: str, x: tuple[np.float32, ...]) -> float:
    from distverify.data.query.terms import evaluate

    (comparison,) = parse_query(HEAD + f"(assert (<= {term} 0.0))").assertions
    assert isinstance(comparison, Comparison)
    return float(evaluate(comparison.left, list(x), FLOAT32.number, np.float32))


def test_what_is_unbounded_or_overflows_is_left_open() -> None:
    (comparison,) = parse_query(HEAD + "(assert (< (* X[0] X[1]) -1.0))").assertions
    assert isinstance(comparison, Comparison)
    big = Fraction(10) ** 30
    assert not never(comparison, {0: (big, big)}, FLOAT32)
    assert not never(comparison, {0: (big, big), 1: (big, big)}, FLOAT32)
    assert never(comparison, {0: (big, big), 1: (Fraction(1), Fraction(1))}, FLOAT32)
