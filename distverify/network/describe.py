"""What a network consists of, as rows of a table."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from distverify.kernels.activations import ACTIVATIONS
from distverify.network.graph import Network
from distverify.network.linear.operator import LinearOperator
from distverify.network.linear.sparse import Sparse
from distverify.network.nodes import ActivationNode, InputNode, LinearNode, Node


class NodeRow(NamedTuple):
    """One node.

    Attributes
    ----------
    name : str
    type : str
        "input", "activation", or a linear node's operators, such as "dense" or "dense + identity".
    size : int
        Number of values.
    activation : str
        Such as "leaky_relu(slope=0.01)"; empty for other nodes.
    parameters : int
        Number of weights and biases, and of slopes where they differ between the neurons.
    """

    name: str
    type: str
    size: int
    activation: str
    parameters: int


def describe(network: Network) -> list[NodeRow]:
    """One row for each node of ``network``, in topological order."""
    return [_row(node) for node in network.nodes]


def _row(node: Node) -> NodeRow:
    if isinstance(node, InputNode):
        return NodeRow(node.name, "input", node.size, "", 0)
    if isinstance(node, LinearNode):
        kinds = " + ".join(t.operator.kind for t in node.terms)
        parameters = node.size + sum(_count(t.operator) for t in node.terms)
        return NodeRow(node.name, kinds, node.size, "", parameters)
    text, parameters = _activation(node)
    return NodeRow(node.name, "activation", node.size, text, parameters)


def _count(operator: LinearOperator) -> int:
    """Numbers that a model stores for an operator: where values are merely taken from, none."""
    return 0 if isinstance(operator, Sparse) else operator.stored


def _activation(node: ActivationNode) -> tuple[str, int]:
    """The activation with its parameters, and how many of these are the neurons' own."""
    texts, own = [], 0
    for name, row in zip(ACTIVATIONS[node.kind].parameters, node.parameters, strict=False):
        lo, hi = float(np.min(row)), float(np.max(row))
        texts.append(f"{name}={lo:g}" if lo == hi else f"{name}={lo:g}..{hi:g}")
        own += 0 if lo == hi else node.size
    return (f"{node.kind}({', '.join(texts)})" if texts else node.kind), own
