"""A network under construction: nodes that can still be rewritten, not yet laid into one buffer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distverify.kernels.activations import ACTIVATIONS
from distverify.network.graph import InputNode, LinearNode, Network, NetworkBuilder
from distverify.network.linear.operator_spec import of_operator, parts
from distverify.network.linear.operators import Array


@dataclass(frozen=True, eq=False)
class DraftTerm:
    """One summand of a linear node: ``kind`` and ``value`` as :meth:`NetworkBuilder.linear` takes them."""

    source: int
    kind: str
    value: Any = None

    @property
    def parameters(self) -> int:
        """Number of values stored for this term."""
        return 0 if self.value is None else sum(int(a.size) for a in parts(self.kind, self.value)[0])


@dataclass(frozen=True, eq=False)
class DraftLinear:
    """``z = bias + sum of terms``; ``bias`` float64 [size], or None for zero."""

    name: str
    size: int
    terms: tuple[DraftTerm, ...]
    bias: Array | None = None

    @property
    def sources(self) -> tuple[int, ...]:
        return tuple(t.source for t in self.terms)


@dataclass(frozen=True, eq=False)
class DraftActivation:
    """``a = s(z)``; ``parameters`` by name, scalars or float64 [size]."""

    name: str
    size: int
    source: int
    kind: str
    parameters: Mapping[str, Array | float] = field(default_factory=dict)

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.source,)


DraftNode = InputNode | DraftLinear | DraftActivation


class Draft:
    """Nodes in topological order, ``nodes[0]`` the input; indices stay valid while nodes are added.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one sample.
    """

    def __init__(self, input_shape: tuple[int, ...], name: str = "input") -> None:
        self.input_shape = input_shape
        self.nodes: list[DraftNode] = [InputNode(name, int(np.prod(input_shape, dtype=np.int64)))]

    @classmethod
    def of(cls, network: Network) -> Draft:
        """A draft with the same nodes as ``network``; its arrays are views of the network's buffer."""
        draft = cls(network.input_shape, network.nodes[0].name)
        for node in network.nodes[1:]:
            if isinstance(node, LinearNode):
                terms = tuple(DraftTerm(t.source, *of_operator(t.operator)) for t in node.terms)
                draft.add(DraftLinear(node.name, node.size, terms, node.bias))
            elif not isinstance(node, InputNode):
                parameters = dict(zip(ACTIVATIONS[node.kind].parameters, node.parameters, strict=False))
                draft.add(DraftActivation(node.name, node.size, node.source, node.kind, parameters))
        return draft

    def add(self, node: DraftNode) -> int:
        """Append ``node`` and return its index."""
        self.nodes.append(node)
        return len(self.nodes) - 1

    def readers(self, output: int) -> Counter[int]:
        """How often each node is read, by nodes that ``output`` depends on and (once) by the caller."""
        counts = Counter(s for i in np.flatnonzero(self.needed(output)).tolist() for s in self.nodes[i].sources)
        counts[output] += 1
        return counts

    def needed(self, output: int) -> NDArray[np.bool_]:
        """Which nodes the ``output`` depends on; the input always counts."""
        needed = np.zeros(len(self.nodes), dtype=np.bool_)
        needed[[0, output]] = True
        for i in range(output, 0, -1):
            if needed[i]:
                needed[list(self.nodes[i].sources)] = True
        return needed

    def build(self, output: int) -> Network:
        """The network whose output is node ``output``, without the nodes that it does not depend on.

        Bounds are kept for linear nodes, so an activation that reads none (the input, or another activation)
        gets an identity before it.
        """
        if output == 0:
            size = self.nodes[0].size
            output = self.add(DraftLinear("output", size, (DraftTerm(0, "identity"),)))
        builder = NetworkBuilder(self.input_shape, self.nodes[0].name)
        index = {0: 0}
        for i in np.flatnonzero(self.needed(output)).tolist():
            node = self.nodes[i]
            if isinstance(node, DraftLinear):
                terms = [(index[t.source], t.kind, t.value) for t in node.terms]
                index[i] = builder.linear(node.name, terms, node.bias)
            elif isinstance(node, DraftActivation):
                source = index[node.source]
                if not isinstance(self.nodes[node.source], DraftLinear):
                    source = builder.linear(f"{node.name} (input)", [(source, "identity", None)])
                index[i] = builder.activation(node.name, source, node.kind, node.parameters)
        return builder.build(index[output])
