"""A subproblem of a search: what of the region its splits leave, and what is known there."""

from __future__ import annotations

from dataclasses import dataclass

from distverify.bounds.packed import Indices
from distverify.bounds.reduced import Floats


@dataclass(frozen=True, eq=False)
class Subproblem:
    """One polytope's counterexamples on one side of every split.

    Attributes
    ----------
    polytope : int
    bound : float
        Some constraint of the polytope is violated by at least so much; above 0 there is no counterexample.
    lower, upper : float64 [N]
        Pre-activation bounds of the packed network's neurons.
    neurons, sides, places : int64 [S], float64 [S], float64 [S]
        Splits: ``side (z_neuron - place) >= 0``, the newest last.
    slopes : float64 [q, N]
        Of the lines below, for each row of the polytope.
    multipliers : float64 [q + S]
        Of the main row's half-spaces: the polytope's rows first, then the splits.
    """

    polytope: int
    bound: float
    lower: Floats
    upper: Floats
    neurons: Indices
    sides: Floats
    places: Floats
    slopes: Floats
    multipliers: Floats

    @property
    def rank(self) -> float:
        return self.bound

    @property
    def depth(self) -> int:
        return int(self.neurons.size)
