"""Nodes of a network: the input, linear nodes and activation nodes.

A linear node is ``z = bias + sum_i M_i a_i`` over its input nodes: dense layers, convolutions, residual sums and folded
constants are all of this one form. An activation node is ``a = s(z)``, elementwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from distverify.kernels.activations import ACTIVATIONS
from distverify.network.linear.operator import Array, LinearOperator


@dataclass(frozen=True)
class InputNode:
    """The flattened input, float64 [size]."""

    name: str
    size: int

    @property
    def sources(self) -> tuple[int, ...]:
        return ()


class Term(NamedTuple):
    """One summand of a linear node: ``operator`` applied to the value of node ``source``."""

    source: int
    operator: LinearOperator


@dataclass(frozen=True, eq=False)
class LinearNode:
    """``z = bias + sum of terms``; ``bias`` float64 [size], off by at most ``bias_error`` float64 [size] (None: exact).

    ``at_once``: the terms write out a maximum of two values, which whatever runs the network takes without rounding.
    """

    name: str
    size: int
    terms: tuple[Term, ...]
    bias: Array
    bias_error: Array | None = None
    at_once: bool = False

    @property
    def sources(self) -> tuple[int, ...]:
        return tuple(t.source for t in self.terms)


@dataclass(frozen=True, eq=False)
class ActivationNode:
    """``a = s(z)`` elementwise; ``kind`` names a row of the activation table, ``parameters`` float64 [PARAMETER_ROWS, size]."""

    name: str
    size: int
    source: int
    kind: str
    parameters: Array

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.source,)

    @property
    def code(self) -> int:
        """The number by which compiled kernels know the activation."""
        return ACTIVATIONS[self.kind].code


Node = InputNode | LinearNode | ActivationNode


@dataclass(frozen=True, eq=False)
class Unfolded:
    """A network as its file has it, before linear nodes were folded: what a runtime evaluates, step by step.

    Attributes
    ----------
    nodes : tuple of Node
        In topological order.
    output : int
    places : dict of int
        Nodes, and those of the folded network with the same values.
    """

    nodes: tuple[Node, ...]
    output: int
    places: dict[int, int]
