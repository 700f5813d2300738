"""The catalogue against itself: what every quantity must have for the rooms that read it."""

from __future__ import annotations

import pytest

from distverify.attacks.attained import ATTAINED
from distverify.quantities import catalogue
from distverify.quantities.quantity import Quantity, referred
from distverify.settings import Settings


@pytest.mark.parametrize("quantity", catalogue.QUANTITIES, ids=lambda q: q.name)
def test_a_quantity_is_whole(quantity: Quantity) -> None:
    every = (*quantity.variables, *quantity.of_network, *quantity.hulls, *quantity.of_domain.values())
    own = {v.name: v for v in (*every, *quantity.searched, *quantity.searched_domain)}
    references = (
        quantity.compute, quantity.compute_at, quantity.compute_network, quantity.search_at, quantity.search_domain,
    )  # fmt: skip
    for reference in filter(None, references):
        assert callable(referred(reference))
    assert set(quantity.derivatives.values()) <= set(own)
    assert set(quantity.derivatives) <= {"lower", "upper", "constants", "vector", "monotone"}
    assert all(v.dims[0] == "sample" for v in (*quantity.variables, *quantity.searched))
    assert {c.variable for c in quantity.claims} <= set(own)
    assert {c.attained for c in quantity.claims} <= set(ATTAINED)
    assert quantity.uses <= set(Settings.__dataclass_fields__)
    assert set(quantity.constants) <= set(own)
    for spread in quantity.spreads:
        assert {*spread.sources, *(name for name, _, _ in spread.parts)} <= set(own)
        assert spread.figure
        assert spread.value is not None or own[spread.name].dims == spread.dims
    for share in quantity.shares:
        assert own[share.variable].dims == share.dims
    assert quantity.meaning.endswith(".")


def test_names_are_the_quantities_own() -> None:
    names = [q.name for q in catalogue.QUANTITIES]
    assert len(set(names)) == len(names)
    figures = [s.figure for s in catalogue.all_spreads()]
    assert len(set(figures)) == len(figures)
    assert "property" not in catalogue.names()


def test_a_variable_that_two_quantities_share_is_the_same() -> None:
    by_name: dict[tuple[str, tuple[str, ...]], object] = {}
    for q in catalogue.QUANTITIES:
        for v in q.variables:
            assert by_name.setdefault((v.name, v.dims), v) == v


def test_what_is_not_about_given_balls_needs_no_radii() -> None:
    for q in catalogue.QUANTITIES:
        without = q.of_samples(())
        assert not any("eps" in v.dims for v in without)
        assert not (q.needs_eps and without)
        assert q.of_samples((0.1,)) == q.variables
