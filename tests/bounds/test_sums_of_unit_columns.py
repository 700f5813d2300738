"""What a unit column's own entries lose where they meet what arrived by other ways, with nothing else charged to hide it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from distverify.bounds.enclosure import Enclosure
from distverify.bounds.methods import bound_rows
from distverify.kernels.rounding import Rounding
from distverify.network.graph import NetworkBuilder
from distverify.network.linear.dense import Dense
from distverify.region import Ball
from tests.networks import Floats, enclose_by

UNIT, SINGLE_UNIT = 2.0**-53, 2.0**-24


@dataclass(frozen=True)
class NothingToSpare(Rounding):
    """Charges for sums and for scaling by a slope only: all products of the networks here are by 1, and exact."""

    def gamma(self, terms: int) -> float:
        return 0.0

    def outward(self, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
        return lower, upper


def two_ways(direct: float, around: float, steep: float, most: float, single: bool = False) -> Enclosure:
    """``steep (direct + around) x - most x``: the input reaches a neuron directly, and through another neuron of slope ``around``.

    ``most`` of it is taken off again, exactly, so that no rounding of large numbers hides what is left.
    """
    one = np.ones((1, 1))
    builder = NetworkBuilder((1,))
    first = builder.activation("first", builder.linear("in", [(0, Dense(one))]), "leaky_relu", {"slope": around})
    meeting = builder.linear("sum", [(0, Dense(direct * one)), (first, Dense(one))])
    second = builder.activation("second", meeting, "leaky_relu", {"slope": steep})
    network = builder.build(builder.linear("out", [(second, Dense(one)), (0, Dense(-most * one))]))
    rounding = NothingToSpare(
        unit=SINGLE_UNIT if single else UNIT, eta=0.0, tiny=0.0, dtype=np.float32 if single else np.float64
    )
    return enclose_by("plain", network, Ball(np.array([-2.0]), 0.5), "interval", rounding)


@pytest.mark.parametrize("method", ["linear", "recurjac", "coupled"])
def test_sums_with_unit_columns_are_charged(method: str) -> None:
    rng = np.random.default_rng(0)
    worst = Fraction(0)
    for _ in range(60):
        # Where a half unit in the last place is as large, relatively, as it gets: both roundings, up to UNIT each.
        direct, steep = float(rng.uniform(1.0, 1.05)), float(rng.uniform(0.5, 0.525))
        around = float(rng.uniform(0.8, 0.99)) * UNIT
        most = direct * steep
        bounds = bound_rows(two_ways(direct, around, steep, most), np.ones((1, 1)), method, "backward")
        whole = Fraction(steep) * (Fraction(direct) + Fraction(around))
        truth = whole - Fraction(most)
        assert Fraction(float(bounds.lower[0, 0])) <= truth <= Fraction(float(bounds.upper[0, 0]))
        computed = Fraction((direct + around) * steep)
        worst = max(worst, abs(whole - computed) / (Fraction(UNIT) * whole))
    assert worst > Fraction(3, 2), "the case catches nothing: scaling's own charge would cover both roundings"


def test_sums_with_unit_columns_are_charged_by_coupled_in_single_precision() -> None:
    """In double precision what parallel lines are off by, a few units, would hide that nothing is charged for the sum."""
    rng = np.random.default_rng(0)
    worst = Fraction(0)
    for _ in range(60):
        direct, steep, near = (
            float(np.float32(rng.uniform(*ends))) for ends in ((1.0, 1.05), (0.5, 0.525), (0.8, 0.99))
        )
        around = near * SINGLE_UNIT
        most = float(np.float32(direct) * np.float32(steep))
        bounds = bound_rows(two_ways(direct, around, steep, most, single=True), np.ones((1, 1)), "coupled", "backward")
        whole = Fraction(steep) * (Fraction(direct) + Fraction(around))
        truth = whole - Fraction(most)
        assert Fraction(float(bounds.lower[0, 0])) <= truth <= Fraction(float(bounds.upper[0, 0]))
        computed = Fraction(float((np.float32(direct) + np.float32(around)) * np.float32(steep)))
        worst = max(worst, abs(whole - computed) / (Fraction(SINGLE_UNIT) * whole))
    assert worst > Fraction(3, 2), "the case catches nothing: scaling's own charge would cover both roundings"
