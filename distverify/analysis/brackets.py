"""Constants between two ends, [attained, bound], by branch and bound: of each row, and of all rows together."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distverify.analysis.attained import AttainedConstant
from distverify.analysis.box_tree import BoxTree, LargestConstant, pays_to_halve
from distverify.analysis.branching.constants import ConstantTree
from distverify.analysis.branching.polytopes import Problem, pose, with_own_slopes
from distverify.bounds.chain import backward_chain
from distverify.bounds.enclosure import enclose
from distverify.bounds.lipschitz import induced_norm, row_constants, vector_parts
from distverify.bounds.methods import RowBounds
from distverify.bounds.reduced import Floats
from distverify.network.graph import Network
from distverify.questions.memory import Memory
from distverify.questions.pieces import Arrays, Block
from distverify.questions.question import Cuts, Question, cut, stacked
from distverify.region import Ball

# Points of a box of few dimensions that are looked at first.
_SAMPLES = 1024


@dataclass(frozen=True, eq=False)
class Bracket:
    """A constant between two ends.

    Attributes
    ----------
    bound, attained : float
    attained_at : float64 [D]
        NaN where nothing was found.
    lower, upper : float64 [K, D]
        Hull of the rows' derivatives over all subproblems.
    nodes : int
    """

    bound: float
    attained: float
    attained_at: Floats
    lower: Floats
    upper: Floats
    nodes: int


class ConstantSearch:
    """Branch and bound for the constants of rows over one region, which it prepares once.

    Parameters
    ----------
    network : Network
    region : Ball
        Bounded.
    norm : inf, 2 or 1
        Of the constants.
    weights : float64 [D], optional
        Factors of the features, which scale that norm.
    method, layer_bounds : see :func:`distverify.lipschitz_constant`
    """

    def __init__(
        self, network: Network, region: Ball, norm: float, weights: Floats | None = None, method: str = "linear",
        layer_bounds: str = "crown",
    ) -> None:  # fmt: skip
        self.network = network
        self.region = region
        self.norm = norm
        self.weights = weights
        self.method = method
        self.enclosure = enclose(network, region, layer_bounds, fold=True)
        self.problem = with_own_slopes(pose(self.enclosure, []))

    def bracket(
        self, rows: Floats, nodes: int, seed: int | Sequence[int] = 0, deadline: float | None = None
    ) -> Bracket:
        """The constant of ``rows`` float64 [K, outputs] together (the induced norm), by at most ``nodes`` subproblems."""
        weights, norm = self.weights, self.norm

        def constant(bounds: RowBounds) -> float:
            own = row_constants(bounds, norm, weights=weights)
            if own.size == 1:
                return float(own[0])
            return induced_norm(own, norm, vector_parts(bounds, norm, weights), bounds.lower.shape[1])

        attained = AttainedConstant(self.network, self.region, rows, norm, weights)
        attained.sample(seed)
        attained.climb()
        tree = ConstantTree(
            self.problem,
            backward_chain(self.enclosure, rows),
            constant,
            self.enclosure.rounding,
            self.method,
            attained.promised,
        )
        tree.plant()
        tree.grow(nodes, _Packed(attained, self.problem), deadline)
        place = np.full(self.network.input_size, np.nan) if attained.point is None else attained.point
        return Bracket(tree.bound, attained.value, place, tree.lower, tree.upper, tree.nodes)


class BoxSearch:
    """The same for networks of curved activations over boxes of few dimensions, which are halved."""

    def __init__(self, network: Network, region: Ball, norm: float, weights: Floats | None = None) -> None:
        self.network = network
        self.region = region
        self.norm = norm
        self.weights = weights

    def bracket(
        self, rows: Floats, nodes: int, seed: int | Sequence[int] = 0, deadline: float | None = None
    ) -> Bracket:
        """See :meth:`ConstantSearch.bracket`."""
        attained = AttainedConstant(self.network, self.region, rows, self.norm, self.weights)
        attained.sample(seed, _SAMPLES)
        attained.climb()
        tree = BoxTree(self.network, self.region, rows, LargestConstant(self.norm, self.weights), attained.look)
        # What floating point has promised may not be certain: then the search goes on.
        attained.confirm()
        tree.grow(nodes, deadline)
        if attained.promised > attained.confirm():
            tree.grow(nodes, deadline)
        place = np.full(self.network.input_size, np.nan) if attained.point is None else attained.point
        return Bracket(tree.bound, attained.value, place, tree.lower, tree.upper, tree.nodes)


@dataclass(frozen=True, eq=False)
class _Packed:
    """A :class:`distverify.analysis.branching.constants.Witness` of points of the packed network's inputs."""

    attained: AttainedConstant
    problem: Problem

    def look(self, points: Floats) -> float:
        return self.attained.look(self.problem.packed.point(points))

    def confirm(self) -> float:
        return self.attained.confirm()


@dataclass(frozen=True, eq=False)
class Brackets(Question[Arrays]):
    """Constants of rows over a region between two ends, each row by a tree of its own.

    Attributes
    ----------
    region : Ball
        Bounded.
    rows : float64 [K, outputs]
    norm : inf, 2 or 1
        Of the constants.
    weights : float64 [D], optional
        Factors of the features, which scale that norm.
    method, layer_bounds : str
    nodes : int
        Subproblems of each tree, at most.
    seed : tuple of int
    together : bool
        Whether the induced norm of all rows follows, by one tree more. For norm inf it is the largest of the rows' constants.
    seconds : float, optional
        For each tree.
    """

    region: Ball
    rows: Floats
    norm: float
    weights: Floats | None
    method: str
    layer_bounds: str
    nodes: int
    seed: tuple[int, ...]
    together: bool = True
    seconds: float | None = None

    @property
    def trees(self) -> int:
        """How many there are."""
        return int(self.rows.shape[0]) + int(self.together and self.norm != math.inf)

    def cut(self, pieces: int, cuts: Cuts) -> Sequence[Block]:
        """Blocks of trees."""
        return cut(self.trees, pieces, 1)

    def answer(self, memory: Memory, block: Block) -> Arrays:
        """For each tree "bound", "attained", "nodes" and "attained_at" [D]; "lower" and "upper" [K, D] of the rows."""
        search: ConstantSearch | BoxSearch
        if pays_to_halve(memory.network, self.region):
            search = BoxSearch(memory.network, self.region, self.norm, self.weights)
        else:
            search = ConstantSearch(
                memory.network, self.region, self.norm, self.weights, self.method, self.layer_bounds
            )
        count = self.rows.shape[0]
        found = []
        for k in range(*block):
            deadline = None if self.seconds is None else time.monotonic() + self.seconds
            rows = self.rows[k : k + 1] if k < count else self.rows
            found.append(search.bracket(rows, self.nodes, (k, *self.seed), deadline))
        own = [b for k, b in zip(range(*block), found, strict=True) if k < count]
        nothing = np.zeros((0, memory.network.input_size))
        return {
            "bound": np.array([b.bound for b in found]),
            "attained": np.array([b.attained for b in found]),
            "nodes": np.array([b.nodes for b in found]),
            "attained_at": np.array([b.attained_at for b in found]),
            "lower": np.concatenate([nothing, *(b.lower for b in own)]),
            "upper": np.concatenate([nothing, *(b.upper for b in own)]),
        }

    def join(self, answers: Sequence[Arrays]) -> Arrays:
        """Of all trees, and "vector_bound" and "vector_attained": of all rows together."""
        told: Arrays = {name: stacked(answers, name) for name in answers[0]}
        for name in ("bound", "attained"):
            values = np.asarray(told[name], np.float64)
            told[name] = values[: self.rows.shape[0]]
            if self.together:
                told[f"vector_{name}"] = np.array(values.max() if self.norm == math.inf else values[-1])
        return told
