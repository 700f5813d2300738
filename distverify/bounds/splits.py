"""Splits: a neuron's pre-activation is kept on one side of a point, so that a region falls into subproblems.

A split neuron of a piecewise linear activation is a stable one: its line is fixed, and its derivative is that of its side. (Where a
pre-activation is exactly at the kink, either side's derivative holds for almost every point: Stampacchia; the hull of both
subproblems' Jacobian bounds contains the Clarke Jacobian.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from distverify.bounds.reduced import Floats
from distverify.errors import SettingsError
from distverify.kernels.activations import ACTIVATIONS
from distverify.network.graph import Network
from distverify.network.nodes import ActivationNode


@dataclass(frozen=True, order=True)
class Split:
    """One side of one neuron: ``sign`` (z - at) >= 0 for its pre-activation z.

    Attributes
    ----------
    node : int
        The network's activation node, as in :class:`distverify.bounds.reduced.Group`.
    neuron : int
    sign : 1 or -1
    at : float
        Where it is split; 0 is where a ReLU is best split.
    """

    node: int
    neuron: int
    sign: int
    at: float = 0.0

    def other(self) -> Split:
        """The other side."""
        return Split(self.node, self.neuron, -self.sign, self.at)


def check_splits(network: Network, splits: Iterable[Split]) -> None:
    """Refuse splits of what is no neuron.

    Raises
    ------
    SettingsError
    """
    for split in splits:
        node = network.nodes[split.node] if 0 <= split.node < len(network.nodes) else None
        if not isinstance(node, ActivationNode):
            raise SettingsError(f"splits: node {split.node} is no activation; give the index of an activation node")
        if not 0 <= split.neuron < node.size:
            raise SettingsError(f"splits: node {split.node} has {node.size} neurons; got neuron {split.neuron}")
        if split.sign not in (1, -1) or not np.isfinite(split.at):
            raise SettingsError(f"splits: got sign {split.sign} at {split.at}; give 1 or -1, at a finite number")


class SplitBounds:
    """What splits mean for the bounds of ``network``'s nodes."""

    def __init__(self, network: Network, splits: Iterable[Split] = ()) -> None:
        splits = tuple(splits)
        check_splits(network, splits)
        self._network = network
        self._of_linear: dict[int, list[Split]] = {}
        for split in splits:
            self._of_linear.setdefault(network.nodes[split.node].sources[0], []).append(split)

    def __bool__(self) -> bool:
        return bool(self._of_linear)

    def intersect(self, linear: int, first: int, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
        """Bounds of node ``linear``'s neurons ``first``, ``first`` + 1, ... on the splits' sides; crossed where nothing is left."""
        if linear not in self._of_linear:
            return lower, upper
        lower, upper = lower.copy(), upper.copy()
        for split in self._of_linear[linear]:
            i = split.neuron - first
            if 0 <= i < lower.size:
                if split.sign > 0:
                    lower[i] = max(lower[i], split.at)
                else:
                    upper[i] = min(upper[i], split.at)
        return lower, upper

    def one_sided(self, node: ActivationNode, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
        """The interval that holds almost all of what a split neuron's derivative is asked of: without the kink that it ends at."""
        row = ACTIVATIONS[node.kind]
        if node.source not in self._of_linear or not (row.piecewise_linear and row.exact_turns):
            return lower, upper
        # Nothing but one side's line lies between a kink and the next number.
        low, up = lower.copy(), upper.copy()
        for split in self._of_linear[node.source]:
            i = split.neuron
            if lower[i] == upper[i]:
                continue
            if split.sign > 0 and lower[i] == split.at:
                low[i] = np.nextafter(split.at, np.inf)
            if split.sign < 0 and upper[i] == split.at:
                up[i] = np.nextafter(split.at, -np.inf)
        return low, up
