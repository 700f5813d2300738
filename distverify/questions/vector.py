"""The Lipschitz constant of all rows together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distverify.bounds.lipschitz import induced_norm, product_of_norms
from distverify.bounds.reduced import Pair
from distverify.network.graph import Network
from distverify.questions.memory import Memory
from distverify.questions.pieces import Arrays, Block
from distverify.questions.question import Cuts, Floats, Question


@dataclass(frozen=True, eq=False)
class Vector(Question[Floats]):
    """The constant of the vector output, never above the product of norms: float64 [].

    Attributes
    ----------
    constants : float64 [K]
        The :func:`distverify.bounds.lipschitz.row_constants` of all rows.
    parts : float64
        Their :func:`distverify.bounds.lipschitz.vector_parts`.
    steepest : float64 [nodes]
        Of each activation, the largest magnitude of its slopes.
    norm : inf, 2 or 1
    weights : float64 [inputs], optional
    """

    constants: Floats
    parts: Floats
    steepest: Floats
    norm: float
    weights: Floats | None = None

    def cut(self, pieces: int, cuts: Cuts) -> Sequence[Block]:
        """One block."""
        return [(0, self.constants.size)]

    def answer(self, memory: Memory, block: Block) -> Arrays:
        """ "vector"."""
        steepness = _Steepest(memory.network, {i: (s, s) for i, s in enumerate(self.steepest.reshape(-1, 1))})
        induced = induced_norm(self.constants, self.norm, self.parts, memory.network.input_size)
        return {"vector": np.array(min(induced, product_of_norms(steepness, self.norm, weights=self.weights)))}

    def join(self, answers: Sequence[Arrays]) -> Floats:
        """The constant."""
        return np.asarray(answers[0]["vector"], np.float64)


@dataclass(frozen=True, eq=False)
class _Steepest:
    """See :class:`distverify.bounds.enclosure.Steepness`: one number stands for all slopes of a node."""

    network: Network
    slopes: dict[int, Pair]


def steepest_slopes(network: Network, slopes: dict[int, Pair]) -> Floats:
    """The largest magnitude of each node's slopes, float64 [nodes]; 0 where it is no activation."""
    steepest = np.zeros(len(network.nodes))
    for index, (glo, ghi) in slopes.items():
        steepest[index] = max(float(np.abs(glo).max()), float(np.abs(ghi).max()))
    return steepest
