"""Maxima that are settled: what is known of them beyond the intervals of their differences.

The difference of two constants has no derivative, whatever the slope of its ReLU. A maximum of a constant 0 and of a value that is
never negative, anywhere, is that value: the ReLU of their difference has one slope, even where the value is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distverify.bounds.reduced import Pair
from distverify.network.graph import Network
from distverify.network.nodes import ActivationNode

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Entries:
    """Of a node's values, bool [size] each.

    Attributes
    ----------
    still : no derivative over the region and around it.
    zero : 0 there.
    positive : never negative, anywhere.
    """

    still: Mask
    zero: Mask
    positive: Mask


class Settled:
    """Slope ranges of the ReLUs in a network's maxima over a region, from those of the nodes before.

    Parameters
    ----------
    network : Network
    slopes : dict node -> (glo, ghi)
        Of the activations before the one that is asked about.
    """

    def __init__(self, network: Network, slopes: Mapping[int, Pair]) -> None:
        self._nodes = network.nodes
        self._rises = {m.rise: m for m in network.maxima}
        self._maxima = {m.node: m for m in network.maxima}
        self._slopes = slopes
        self._known: dict[int, _Entries] = {}

    def slopes(self, index: int, own: Pair) -> Pair:
        """What is left of the slope range ``own`` of activation ``index``."""
        found = self._rises.get(index)
        if found is None:
            return own
        known, (a, b) = self._entries(found.source), (found.below, found.above)
        rises = known.zero[a] & known.positive[b]
        flat = known.still[a] & known.still[b] | known.zero[b] & known.positive[a]
        glo, ghi = (np.where(flat, 0.0, np.where(rises, 1.0, side)) for side in own)
        return glo, ghi

    def _entries(self, index: int) -> _Entries:
        if index not in self._known:
            self._known[index] = self._look_at(index)
        return self._known[index]

    def _look_at(self, index: int) -> _Entries:
        node = self._nodes[index]
        if isinstance(node, ActivationNode):
            glo, ghi = self._slopes[index]
            still, rectified = (glo == 0.0) & (ghi == 0.0), np.full(node.size, node.kind == "relu")
            return _Entries(still, still & rectified, rectified)
        found = self._maxima.get(index)
        if found is None:
            nothing = np.zeros(node.size, dtype=bool)
            return _Entries(nothing, nothing, nothing)
        of = self._entries(found.source)
        glo, ghi = (np.append(side, 0.0)[found.place] for side in self._slopes[found.rise])

        def of_larger(known: Mask) -> Mask:
            first, second = known[found.first], known[found.second]
            return np.where(ghi == 0.0, first, np.where(glo == 1.0, second, first & second))

        positive = of.positive[found.first] | of.positive[found.second]
        return _Entries(of_larger(of.still), of_larger(of.zero), positive)
