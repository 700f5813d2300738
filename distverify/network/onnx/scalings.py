"""What a node is a multiple of: chains of elementwise scalings and shifts by one number, followed backwards exactly."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from distverify.network.graph import NetworkBuilder
from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.identity import Identity
from distverify.network.nodes import LinearNode


class Factor(NamedTuple):
    """A number, off by at most so many relative roundings."""

    value: Fraction
    roundings: int = 0

    @classmethod
    def of(cls, number: float, roundings: int = 0) -> Factor:
        return cls(Fraction(float(number)), roundings)

    def times(self, other: Factor) -> Factor:
        return Factor(self.value * other.value, self.roundings + other.roundings)

    def over(self, other: Factor) -> Factor:
        return Factor(self.value / other.value, self.roundings + other.roundings)

    def rounded(self) -> tuple[float, int]:
        """The nearest float64, and by how many roundings that may be off."""
        value = float(self.value)
        return value, self.roundings + (Fraction(value) != self.value)

    @property
    def positive(self) -> bool:
        return self.value > 0


class Scaling(NamedTuple):
    """``factor * (value of node source) + offset``."""

    source: int
    factor: Factor
    offset: Fraction


def scalings(builder: NetworkBuilder, node: int) -> list[Scaling]:
    """Every scaling that ``node`` is, elementwise; first of itself. Offsets are exact."""
    found = [Scaling(node, Factor(Fraction(1)), Fraction(0))]
    while isinstance(linear := builder.nodes[node], LinearNode) and len(linear.terms) == 1:
        node, operator = linear.terms[0]
        if not isinstance(operator, Identity | Diagonal) or linear.bias_error is not None:
            break
        scales, shifts = operator.scale if isinstance(operator, Diagonal) else np.ones(1), linear.bias
        _, factor, offset = found[-1]
        if (scales != scales[0]).any() or (shifts != shifts[0]).any() or (shifts.any() and factor.roundings):
            break
        own = Factor(Fraction(float(scales[0])), operator.roundings)
        found.append(Scaling(node, factor.times(own), factor.value * Fraction(float(shifts[0])) + offset))
    return found


def multiples(builder: NetworkBuilder, node: int) -> dict[int, Factor]:
    """The nodes that ``node`` is a plain multiple of, and by which factor."""
    return {s.source: s.factor for s in scalings(builder, node) if s.offset == 0}
