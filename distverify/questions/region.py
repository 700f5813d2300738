"""Bounds of every node over a region: what further questions about it are asked with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distverify.bounds.reduced import Pair
from distverify.bounds.settled import Settled
from distverify.bounds.splits import SplitBounds
from distverify.kernels import relaxations
from distverify.network.graph import Network
from distverify.network.nodes import ActivationNode
from distverify.questions.memory import Place


@dataclass(frozen=True, eq=False)
class RegionBounds:
    """Bounds of every node over a region: what all further questions about it are asked with.

    A :class:`distverify.bounds.enclosure.Steepness`.

    Attributes
    ----------
    network : Network
    place : Place
        With the bounds of all linear nodes, unless it is empty.
    slopes : dict node -> (glo, ghi)
        Of the activations; none where it is empty.
    """

    network: Network
    place: Place
    slopes: dict[int, Pair]

    @property
    def nbytes(self) -> int:
        """Memory, about: the slopes are as many as the bounds."""
        pairs = self.place.bounds.values()
        rows = sum(values.nbytes for told in self.place.rows.values() for values in told.values())
        return rows + 2 * (self.place.region.x0.nbytes * 4 + sum(lower.nbytes + upper.nbytes for lower, upper in pairs))


@np.errstate(over="ignore", invalid="ignore")
def slopes_from(network: Network, place: Place) -> dict[int, Pair]:
    """The range of every activation's derivative, from the bounds of all linear nodes."""
    splits = SplitBounds(network, place.splits)
    slopes: dict[int, Pair] = {}
    settled = Settled(network, slopes)
    for index, node in enumerate(network.nodes):
        if isinstance(node, ActivationNode):
            sides = splits.one_sided(node, *place.bounds[node.source])
            slopes[index] = settled.slopes(index, relaxations.slope_range(node.code, *sides, node.parameters))
    return slopes
