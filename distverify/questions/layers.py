"""Bounds of linear nodes over a region, one stage of layers after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distverify.bounds.enclosure import crossed
from distverify.bounds.layers.table import layer_method
from distverify.bounds.reduced import Pair
from distverify.network.graph import Network
from distverify.network.nodes import LinearNode
from distverify.questions import open_rows
from distverify.questions.memory import Memory, Place
from distverify.questions.pieces import Arrays, Block
from distverify.questions.question import Asker, Cuts, Question, cut, runs, stacked


@dataclass(frozen=True, eq=False)
class Neurons(Question[tuple[dict[int, Pair], dict[int, Arrays]]]):
    """Bounds of the only node's neurons, in blocks, or of consecutive nodes as a whole; and their open rows, for a crew.

    The answer has no bounds of what is after a node whose bounds are crossed: nothing is left of the region.

    Attributes
    ----------
    place : Place
        With the bounds of all linear nodes before ``nodes``.
    nodes : tuple of int
    size : int
        Neurons of all of them.
    most : int
        Into how many blocks they are worth cutting.
    """

    place: Place
    nodes: tuple[int, ...]
    size: int
    most: int

    def cut(self, pieces: int, cuts: Cuts) -> Sequence[Block]:
        """Blocks of neurons."""
        return cut(self.size, min(pieces, self.most), cuts.neurons)

    def answer(self, memory: Memory, block: Block) -> Arrays:
        """ "lower<node>" and "upper<node>", float64 [block]."""
        encloser = memory.at(self.place, self.nodes[0]).encloser
        answer: Arrays = {}
        lower, upper = np.zeros(0), np.zeros(0)
        for node in self.nodes:
            if node != self.nodes[0]:
                encloser.give(lower, upper)
                if encloser.node != node:
                    break
            lower, upper = encloser.bound(slice(*block) if len(self.nodes) == 1 else None)
            answer[f"lower{node}"], answer[f"upper{node}"] = lower, upper
            if self.place.memory is None:
                answer |= open_rows.told(encloser.pulled, node)
        return answer

    def join(self, answers: Sequence[Arrays]) -> tuple[dict[int, Pair], dict[int, Arrays]]:
        """The bounds of each node, and what is told of the open rows."""
        known = [node for node in self.nodes if f"lower{node}" in answers[0]]
        bounds = {node: (stacked(answers, f"lower{node}"), stacked(answers, f"upper{node}")) for node in known}
        rows = {node: open_rows.heard(answers, node) for node in known}
        return bounds, {node: open_rows.told(found, node) for node, found in rows.items() if found is not None}


class LayerStages:
    """The linear nodes of ``network`` in the order in which they are asked for: those that one question is about together."""

    def __init__(self, network: Network, layers: str, pieces: int, cuts: Cuts) -> None:
        by_rows = layer_method(layers).nodes(network)
        work = np.zeros(len(network.nodes))  # multiplications to pull a row from each node back to the input
        parts: list[tuple[int, int, int]] = []
        for index, node in enumerate(network.nodes):
            work[index] = sum(work[source] for source in node.sources)
            if isinstance(node, LinearNode):
                work[index] += sum(t.operator.in_size * t.operator.pull_terms for t in node.terms)
                worth = 2.0 * node.size * work[index] / max(cuts.work, 1.0)
                parts.append((index, node.size, int(min(pieces, worth)) if index in by_rows else 1))
        self._stages = runs(parts, cuts.neurons)

    def ask(self, asker: Asker, place: Place) -> Place:
        """``place`` with the bounds of all linear nodes; it ends where nothing is left of the region."""
        for nodes, size, most in self._stages:
            bounds, rows = asker.ask(Neurons(place, nodes, size, most))
            place = place.extended(bounds, rows)
            if (place.splits or place.within) and any(crossed(*pair) for pair in bounds.values()):
                break
        return place
