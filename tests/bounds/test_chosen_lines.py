"""Pulling through lines that are chosen per row: any valid lines give sound bounds."""

from __future__ import annotations

import numpy as np
import pytest

from distverify.bounds import crown
from distverify.bounds.enclosure import enclose
from distverify.bounds.reduced import Floats, Lines, Reduced
from distverify.region import Ball
from tests.exact import ExactNetwork
from tests.networks import build_chain, points_in, violations


def lower_slopes(reduced: Reduced, rows: int, rng: np.random.Generator) -> dict[int, Lines]:
    """Of a ReLU any line between 0 and z lies below: one slope per row and neuron; all else as it is."""
    lines: dict[int, Lines] = {}
    for index, group in enumerate(reduced.groups[1:], 1):
        assert group.lines is not None
        su, cu, sl, cl = (np.tile(side, (2 * rows, 1)) for side in group.lines)
        open_ = group.slopes[0] != group.slopes[1]
        lines[index] = su, cu, np.where(open_, rng.random(sl.shape), sl), cl
    return lines


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_any_lower_slope_of_any_row_is_sound(precision: str) -> None:
    rng = np.random.default_rng(0)
    network = build_chain([3, 6, 5, 4], ["relu", "relu"], rng).in_precision(precision)
    region, rows = Ball(np.full(3, 0.3), 0.5), np.vstack([np.eye(4), rng.standard_normal((3, 4))])
    enclosure, exact = enclose(network, region, fold=False), ExactNetwork(network)
    affine = crown.combine(enclosure.reduced, rows)
    points = points_in(region, 12, rng)
    single = rows.astype(np.float32) if precision == "float32" else rows  # what the pull takes for the rows

    def truth(point: list) -> list:  # type: ignore[type-arg]
        out = exact(point)
        return [sum(exact.convert(float(c)) * v for c, v in zip(row, out, strict=True)) for row in single]

    truths = [truth(p) for p in points]
    best: Floats = np.full(len(rows), -np.inf)
    plain = enclosure.row_bounds(rows)
    for _ in range(20):
        lower, upper = crown.affine_bounds(enclosure.reduced, affine, lower_slopes(enclosure.reduced, len(rows), rng))
        best = np.maximum(best, lower)
        for values in truths:
            assert not violations(lower, values, upper)
    assert (best > plain[0]).any(), "some row has better slopes than the default ones"


def test_lines_of_all_rows_and_repeated_ones_give_the_same_bits() -> None:
    rng = np.random.default_rng(1)
    network = build_chain([4, 7, 6, 3], ["tanh", "relu"], rng)
    enclosure = enclose(network, Ball(np.full(4, 0.3), 0.2, 2.0))
    affine = crown.combine(enclosure.reduced, np.eye(3))
    repeated = {
        i: tuple(np.tile(side, (6, 1)) for side in group.lines or ())
        for i, group in enumerate(enclosure.reduced.groups)
        if i
    }
    for one, other in zip(
        crown.affine_bounds(enclosure.reduced, affine),
        crown.affine_bounds(enclosure.reduced, affine, repeated),  # type: ignore[arg-type]
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_another_end_of_the_pull_is_used() -> None:
    """Here: the extremes over a smaller ball, as if the rest were cut away."""
    network = build_chain([2, 5, 3], ["relu"], np.random.default_rng(2))
    enclosure = enclose(network, Ball(np.zeros(2), 0.5))
    smaller = enclose(network, Ball(np.zeros(2), 0.1)).reduced

    def cut(reduced, coefficients, half, gamma, constant, error):  # type: ignore[no-untyped-def]
        crown.region_extremes(smaller, coefficients, half, gamma, constant, error)

    affine = crown.combine(enclosure.reduced, np.eye(3))
    whole, part = (
        crown.affine_bounds(enclosure.reduced, affine),
        crown.affine_bounds(enclosure.reduced, affine, at_input=cut),
    )
    assert (part[0] > whole[0]).all()
    assert (part[1] < whole[1]).all()
    exact = ExactNetwork(network)
    for point in points_in(Ball(np.zeros(2), 0.1), 10, np.random.default_rng(3)):
        assert not violations(part[0], exact(point), part[1])
