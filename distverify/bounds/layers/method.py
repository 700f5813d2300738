"""What a way to bound pre-activations has to tell and to do."""

from __future__ import annotations

from typing import Protocol

from distverify.bounds.reduced import Affine, Floats, Reduced
from distverify.network.graph import Network
from distverify.network.nodes import ActivationNode, LinearNode


class LayerMethod(Protocol):
    """Bounds of linear nodes over a region. Each is intersected with that of interval arithmetic."""

    @property
    def name(self) -> str:
        """What settings call it."""
        ...

    def nodes(self, network: Network) -> frozenset[int]:
        """The linear nodes whose neurons get rows; of the others intervals are enough."""
        ...

    def rows(
        self, reduced: Reduced, affine: Affine, *, signs: bool = False, lowest: bool = False, in_passing: bool = False
    ) -> tuple[Floats, Floats]:
        """Bounds of ``affine`` over the region: lower, upper float64 [n], sound; NaN or infinite where nothing is known.

        ``signs``: a row that is surely not negative, or surely not positive, needs no better bounds; ``lowest``: only lower bounds
        are asked for; ``in_passing``: nobody asks for these bounds, and cheap ones do.
        """
        ...


def first_layers(network: Network) -> frozenset[int]:
    """The linear nodes that read the input alone: their rows' exact extremes over the region are cheap, whatever the method."""
    return frozenset(
        index
        for index, node in enumerate(network.nodes)
        if isinstance(node, LinearNode) and all(source == 0 for source in node.sources)
    )


def nodes_that_matter(network: Network) -> frozenset[int]:
    """The linear nodes that an activation or the user reads, and first layers."""
    read = {n.source for n in network.nodes if isinstance(n, ActivationNode)} | {network.output}
    return first_layers(network) | {i for i in read if isinstance(network.nodes[i], LinearNode)}


def readers(network: Network) -> list[list[ActivationNode | None]]:
    """The activations that read each node; None stands for the user, who reads the output."""
    readers: list[list[ActivationNode | None]] = [[] for _ in network.nodes]
    for node in network.nodes:
        if isinstance(node, ActivationNode):
            readers[node.source].append(node)
    readers[network.output].append(None)
    return readers
