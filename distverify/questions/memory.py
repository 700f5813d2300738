"""The region that a question is about, and what whoever answers keeps between two questions: the reduced networks of the last
regions, and the recursions over them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from distverify.bounds.chain import Chain, backward_chain, forward_chain
from distverify.bounds.columns import ColumnRecursion
from distverify.bounds.enclosure import Encloser, Enclosure, crossed
from distverify.bounds.methods import begin
from distverify.bounds.reduced import Floats, Pair
from distverify.bounds.splits import Split
from distverify.errors import PieceError
from distverify.network.graph import Network
from distverify.questions import open_rows
from distverify.questions.pieces import Arrays, Block
from distverify.region import Ball

# Regions that a worker keeps, and recursions over each: a sample's next piece is mostly about the last region.
KEPT_REGIONS = 2
KEPT_RECURSIONS = 4
# What else is kept under a key of its own: the problems of the last searches.
KEPT_OTHERS = 3

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Place:
    """A region, or the part of it that is left by splits, and bounds of its linear nodes.

    Attributes
    ----------
    key : str
        Hash of all but ``bounds`` and ``rows``; empty where the asker answers by itself.
    region : Ball
    layers : str
        Name of the method for pre-activation bounds.
    splits, within : see :func:`distverify.bounds.enclosure.enclose`
    bounds : dict linear node -> (lower, upper) float64 [size]
        As far as they are there.
    rows : dict linear node -> arrays
        Rows of open neurons that were pulled already; see :mod:`distverify.questions.open_rows`.
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
    rows: Mapping[int, Arrays] = field(default_factory=dict)

    def extended(self, bounds: Mapping[int, Pair], rows: Mapping[int, Arrays]) -> Place:
        """With the bounds, and the open rows, of further nodes."""
        return replace(self, bounds={**self.bounds, **bounds}, rows={**self.rows, **rows})

    @property
    def empty(self) -> bool:
        """Whether the bounds show that the splits leave nothing of the region."""
        return bool(self.splits or self.within) and any(crossed(*pair) for pair in self.bounds.values())


@dataclass(frozen=True)
class Recursion:
    """How derivatives are bounded.

    Attributes
    ----------
    method : str
    direction : "backward" or "forward" ("auto" or "both" where it is not decided yet)
    block_bytes : int
        Memory for the columns in flight.
    matrix : str
        Hash of the rows; empty where the asker answers by itself.
    """

    method: str
    direction: str
    block_bytes: int
    matrix: str = ""


@dataclass(eq=False)
class _Started:
    """A recursion, and the bounds of the last groups that it was given."""

    push: ColumnRecursion
    bounds: dict[int, Pair] = field(default_factory=dict)

    def give(self, group: int, lower: Floats, upper: Floats) -> None:
        self.push.fix_lines(group, lower, upper)
        self.bounds[group] = lower, upper

    def continues(self, bounds: Mapping[int, Pair], group: int) -> bool:
        """Whether it was given nothing but ``bounds``, and of groups after ``group``."""
        return all(index > group and _equal(pair, bounds[index]) for index, pair in self.bounds.items())


class RegionMemory:
    """What is kept of one region.

    Parameters
    ----------
    network : Network
    place : Place
    """

    def __init__(self, network: Network, place: Place) -> None:
        self.network = network
        self.encloser = Encloser(network, place.region, place.layers, splits=place.splits, within=place.within)
        self._forward: tuple[str, Chain] | None = None
        self._started: OrderedDict[tuple[Recursion, Block], _Started] = OrderedDict()

    def can_reach(self, place: Place, node: int) -> bool:
        """Whether the bounds in use are those of ``place``, and of nodes before ``node`` only."""
        encloser = self.encloser
        return encloser.node <= node and all(
            i in place.bounds and _equal(encloser.known(i), place.bounds[i]) for i in encloser.given
        )

    def reach(self, place: Place, node: int) -> Encloser:
        """The encloser, with the bounds of all linear nodes before ``node``."""
        while self.encloser.node < node:
            index = self.encloser.node
            told = {name: own_array(values) for name, values in place.rows.get(index, {}).items()}
            self.encloser.give(*_own(place.bounds[index]), open_rows.heard([told], index))
        return self.encloser

    @property
    def enclosure(self) -> Enclosure:
        """Once all bounds are in use."""
        return self.encloser.finish()

    def forward_chain(self, how: Recursion, rows: Floats) -> Chain:
        """That of all inputs."""
        if self._forward is None or self._forward[0] != how.matrix:
            self._forward = how.matrix, forward_chain(self.enclosure, np.array(rows))
        return self._forward[1]

    def recursion(
        self,
        how: Recursion,
        rows: Floats,
        chains: Block,
        bounds: Mapping[int, Pair],
        group: int,
        structure: bytes,
        losses: Sequence[Floats],
    ) -> _Started:
        """The recursion over ``chains`` with the bounds of all groups after ``group`` and no others.

        Parameters
        ----------
        rows : float64 [K, outputs]
            All of them.
        bounds : dict group -> (lower, upper) float64 [chains, members]
            Of derivatives.
        structure : bytes
            :attr:`Chain.structure` of the chain that ``bounds`` are about.
        losses : sequence of float64 [K, n]
            Of all rows, by :func:`distverify.bounds.chain.product_losses`; for the backward direction.
        """
        started = self._started.pop((how, chains), None)
        if started is None or not started.continues(bounds, group):
            if how.direction == "forward":
                chain = self.forward_chain(how, rows).take(slice(*chains))
            else:
                which = slice(*chains)
                chain = backward_chain(
                    self.enclosure, np.array(rows[which]), [np.array(loss[which]) for loss in losses]
                )
            if chain.structure != structure:
                raise PieceError(
                    "this machine keeps other neurons explicit than the one that the bounds are from, so that they cannot be "
                    "joined; run the sample on machines of one kind, or as a whole"
                )
            started = _Started(begin(chain, self.enclosure.rounding, how.method, how.block_bytes))
        for index in range(len(started.push.chain.sizes) - 1, group, -1):
            if index not in started.bounds:
                started.give(index, *_own(bounds[index]))
        self._started[how, chains] = started
        if len(self._started) > KEPT_RECURSIONS:
            self._started.popitem(last=False)
        return started


class Memory:
    """What is kept of the last regions.

    Attributes
    ----------
    network : Network
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._regions: OrderedDict[str, RegionMemory] = OrderedDict()
        self._others: OrderedDict[str, Any] = OrderedDict()

    def kept(self, key: str, make: Callable[[], T]) -> T:
        """What ``make`` returned; ``key`` is a hash of all that it depends on besides the network.

        What is kept must not hold on to shared arrays: :func:`own_array` copies them.
        """
        found = self._others.pop(key, None)
        if found is None:
            while len(self._others) >= KEPT_OTHERS:
                self._others.popitem(last=False)
            found = make()
        self._others[key] = found
        return found  # type: ignore[no-any-return]

    def at(self, place: Place, node: int | None = None) -> RegionMemory:
        """What is kept of ``place``, with its bounds of all linear nodes before ``node`` (of all by default) in use."""
        node = len(self.network.nodes) if node is None else node
        region = place.memory
        if region is None:
            region = self._regions.pop(place.key, None)
            if region is None or not region.can_reach(place, node):
                region = None  # what takes the memory goes before the next is made
                while len(self._regions) >= KEPT_REGIONS:
                    self._regions.popitem(last=False)
                region = RegionMemory(self.network, place)
            self._regions[place.key] = region
        region.reach(place, node)
        return region


def own_array(values: NDArray[Any]) -> NDArray[Any]:
    """A copy of a read-only array: what is kept must not hold on to the store that shared arrays lie in."""
    return values if values.flags.writeable else values.copy()


def _own(pair: Pair) -> Pair:
    lower, upper = pair
    return own_array(lower), own_array(upper)


def _equal(some: Pair, others: Pair) -> bool:
    return all(a is b or np.array_equal(a, b) for a, b in zip(some, others, strict=True))
