"""Cases of assertions: bounds of inputs however they are written, and what is kept of a query with too many cases."""

from __future__ import annotations

from itertools import product

import pytest

from distverify.analysis.query.cases import Bounds, find_cases, make_atom, relaxed
from distverify.analysis.query.formats import FLOAT32, FloatFormat
from distverify.data.query.reading import parse_query
from distverify.data.query.terms import Comparison, Formula

HEAD = "(vnnlib-version <2.0>)(declare-network f (declare-input X real [2]) (declare-output Y real [1]))"


def formulas(*told: str) -> tuple[Formula, ...]:
    return parse_query(HEAD + "".join(f"(assert {formula})" for formula in told)).assertions


@pytest.mark.parametrize("format_", [None, FLOAT32])
def test_a_number_bounds_an_input_as_any_sum_does(format_: FloatFormat | None) -> None:
    for operator, swapped in product(("<=", "<", ">=", ">", "=="), (False, True)):
        sides = ("0.1", "X[1]") if swapped else ("X[1]", "0.1")
        (comparison,) = formulas(f"({operator} {' '.join(sides)})")
        assert isinstance(comparison, Comparison)
        plain, general = Bounds(format_), Bounds(format_)
        assert plain.take_plain(comparison)
        assert general.take(make_atom(comparison))
        assert (plain.lower, plain.upper) == (general.lower, general.upper)


def test_bounds_that_leave_nothing() -> None:
    assert list(find_cases(formulas("(<= X[0] 1.0)", "(> X[0] 1.0)"), frozenset({0, 1}), None)) == []
    (case,) = find_cases(formulas("(<= X[0] 1.0)", "(>= X[0] 1.0)", "(!= X[0] 1.0)"), frozenset({0, 1}), None)
    assert [atom.operator for atom in case.atoms] == ["!="]


def test_disjunctions_are_left_out_where_there_are_too_many() -> None:
    ors = [f"(or (<= X[0] {i}.0) (>= Y[0] {i}.0))" for i in range(20)]
    steep = f"(<= (* {'X[0] ' * 9}) 1.0)"
    given = formulas("(and (<= X[0] 1.0) (>= X[1] 0.0))", steep, *ors)
    kept = relaxed(given)
    assert len(kept) == 2 + 8
    assert len(list(find_cases(kept, frozenset({0, 1}), None))) <= 256
