"""The region that a question is about, and the bounds over it that are there already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from distverify.bounds.enclosure import crossed
from distverify.bounds.reduced import Pair
from distverify.bounds.splits import Split, SplitBounds
from distverify.kernels import relaxations
from distverify.network.graph import Network
from distverify.network.nodes import ActivationNode
from distverify.region import Ball

if TYPE_CHECKING:
    from distverify.questions.memory import RegionMemory


@dataclass(frozen=True, eq=False)
class Place:
    """A region, or the part of it that is left by splits, and bounds of its linear nodes.

    Attributes
    ----------
    key : str
        Hash of all but ``bounds``; empty where the asker answers by itself.
    region : Ball
    layers : str
        Name of the method for pre-activation bounds.
    splits, within : see :func:`distverify.bounds.enclosure.enclose`
    bounds : dict linear node -> (lower, upper) float64 [size]
        As far as they are there.
    memory : RegionMemory, optional
        Of an asker that answers by itself; nothing of it is ever sent.
    """

    key: str
    region: Ball
    layers: str
    splits: tuple[Split, ...] = ()
    within: Mapping[int, Pair] = field(default_factory=dict)
    bounds: Mapping[int, Pair] = field(default_factory=dict)
    memory: RegionMemory | None = None

    def extended(self, bounds: Mapping[int, Pair]) -> Place:
        """With the bounds of further nodes."""
        return replace(self, bounds={**self.bounds, **bounds})

    @property
    def empty(self) -> bool:
        """Whether the bounds show that the splits leave nothing of the region."""
        return bool(self.splits or self.within) and any(crossed(*pair) for pair in self.bounds.values())


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
        return 2 * (self.place.region.x0.nbytes * 4 + sum(lower.nbytes + upper.nbytes for lower, upper in pairs))


@np.errstate(over="ignore", invalid="ignore")
def slopes_from(network: Network, place: Place) -> dict[int, Pair]:
    """The range of every activation's derivative, from the bounds of all linear nodes."""
    splits = SplitBounds(network, place.splits)
    return {
        index: relaxations.slope_range(node.code, *splits.one_sided(node, *place.bounds[node.source]), node.parameters)
        for index, node in enumerate(network.nodes)
        if isinstance(node, ActivationNode)
    }
