"""The reduced network over a region: only neurons that are not fixed affine functions there are kept.

Where an activation is one straight line over the whole region (a ReLU that is surely on or off), the neuron is an affine function
of what is before it, and the layers between the others can be multiplied out once, for all bounds that follow. What is left
are groups of neurons: group 0 is the input, every other group holds neurons of one activation node, and

    z_group = constant + sum over earlier groups s of  edge_s a_s,    a_group = activation(z_group),

up to an ``error`` that rounding of the products may have made, a bound of it over the region.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from distverify.bounds.edges import Edge, some_rows
from distverify.bounds.fans import Fan
from distverify.kernels.rounding import Rounding
from distverify.network.linear.operator import LinearOperator
from distverify.region import Ball

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
# Lower and upper.
Pair = tuple[Floats, Floats]
Lines = tuple[Floats, Floats, Floats, Floats]


@dataclass(frozen=True, eq=False)
class Affine:
    """``constant + sum edges[s] @ a_s``, off by at most ``error``; ``size`` bounds the sum of the terms' magnitudes.

    Attributes
    ----------
    edges : dict group -> Dense or Sparse [n, group size]
    constant, error, size : float64 [n]
    """

    edges: dict[int, Edge]
    constant: Floats
    error: Floats
    size: Floats

    def take(self, rows: Indices) -> Affine:
        """Some of its n entries, in ascending order."""
        if rows.size == self.constant.size:
            return self
        edges = {group: some_rows(edge, rows) for group, edge in self.edges.items()}
        return Affine(edges, self.constant[rows], self.error[rows], self.size[rows])


@dataclass(frozen=True, eq=False)
class Group:
    """Neurons that move explicitly.

    Attributes
    ----------
    node : int
        The network's activation node (0: the input).
    affine : Affine or None
        Their pre-activations; None for the input.
    slopes : (glo, ghi), float64 [n]
    lines : (su, cu, sl, cl), float64 [n], or None on an unbounded region
    magnitude : float64 [n]
        Bounds of |a|.
    pull_loss : float64 [n]
        What a unit coefficient of z may lose to rounding when it is pulled back by one step (CROWN).
    pull_underflow : float
        What a row may lose in that step to underflow, whatever its coefficients.
    members : int64 [n], optional
        Which of the node's neurons they are; all of them if not given.
    code : int
        The kernels' code of the activation.
    parameters : float64 [PARAMETER_ROWS, n], optional
        Of the activation; None for the input.
    interval : (lower, upper), float64 [n], optional
        Of the pre-activations; None for the input.
    """

    node: int
    affine: Affine | None
    slopes: tuple[Floats, Floats]
    lines: Lines | None
    magnitude: Floats
    pull_loss: Floats
    pull_underflow: float = 0.0
    members: NDArray[np.int64] | None = None
    code: int = 0
    parameters: Floats | None = None
    interval: Pair | None = None

    @property
    def size(self) -> int:
        return int(self.magnitude.size)

    @cached_property
    def fan(self) -> Fan:
        """The lines that rows may choose from; of the input there are none."""
        assert self.interval is not None
        assert self.parameters is not None
        lower, upper = (np.ascontiguousarray(side) for side in self.interval)
        return Fan.of(self.code, lower, upper, self.parameters)


@dataclass(frozen=True, eq=False)
class Product:
    """A product that folded stable neurons into a linear node: what its rounding depends on.

    Entry (j, c) of the product W F is off by at most ``gamma`` (|W| |F|)_jc + ``underflow`` + ``factor_underflow`` ||F_c||_2.

    Attributes
    ----------
    node, source : int
        The network's linear node, and the node that its factor W applies to.
    operator : LinearOperator
        W.
    stable : int64 [m]
        The rows of F, as neurons of ``source``.
    column_norms : dict group -> float64 [group size]
        2-norm of each column of F.
    gamma, underflow, factor_underflow : float
        The last where entries of W themselves may underflow to the precision of the products.
    """

    node: int
    source: int
    operator: LinearOperator
    stable: NDArray[np.int64]
    column_norms: dict[int, Floats]
    gamma: float
    underflow: float
    factor_underflow: float = 0.0


class PulledRows(Protocol):
    """Knows how rounding in the rows that were pulled may change derivatives."""

    def losses(self, rows: Floats, ranges: Iterator[tuple[int, Floats, Floats]]) -> list[Floats]:
        """For each group, what a unit of each member may lose in the derivatives of ``rows @ f``: float64 [K, n].

        ``ranges`` are intervals of those derivatives by every node's values, from the output back to the input.
        """
        ...


@dataclass(eq=False)
class Reduced:
    """The groups, in topological order, and the outputs.

    Attributes
    ----------
    middle, reach : float64 [inputs]
        The box around the region, contained in middle +/- reach.
    products : list of Product
        What made the edges, if whole maps were multiplied out;
    pulled : PulledRows, optional
        if rows were pulled instead.
    """

    region: Ball
    rounding: Rounding
    middle: Floats
    reach: Floats
    groups: list[Group] = field(default_factory=list)
    products: list[Product] = field(default_factory=list)
    pulled: PulledRows | None = None
    output: Affine | None = None

    @property
    def terms(self) -> int:
        """More than the number of terms in any sum over the whole reduced network."""
        return sum(g.size for g in self.groups) + len(self.groups) + 8
