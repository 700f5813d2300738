"""How steep combinations of outputs are at a point, about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distverify.bounds.gradient import jacobian_at
from distverify.questions.memory import Memory
from distverify.questions.pieces import Arrays, Block
from distverify.questions.question import Cuts, Floats, Question, cut, stacked


@dataclass(frozen=True, eq=False)
class Gradients(Question[Floats]):
    """Dual norms of the gradients of ``rows @ f`` at ``x0``, about: float64 [K].

    Attributes
    ----------
    x0 : float64 [inputs]
    rows : float64 [K, outputs]
    norm : inf, 2 or 1
    weights : float64 [inputs], optional
        One factor per feature.
    """

    x0: Floats
    rows: Floats
    norm: float
    weights: Floats | None = None

    def cut(self, pieces: int, cuts: Cuts) -> Sequence[Block]:
        """Blocks of rows."""
        return cut(self.rows.shape[0], pieces, cuts.rows)

    def answer(self, memory: Memory, block: Block) -> Arrays:
        """ "norms", float64 [block]."""
        dual = {np.inf: 1, 2.0: 2, 1.0: np.inf}[self.norm]
        gradients = jacobian_at(memory.network, self.x0[None], self.rows[slice(*block)])[0]
        if self.weights is not None:
            gradients = gradients * self.weights
        with np.errstate(over="ignore"):  # only choices of radii rest on them
            return {"norms": np.asarray(np.linalg.norm(gradients, ord=dual, axis=1))}

    def join(self, answers: Sequence[Arrays]) -> Floats:
        """Of all rows."""
        return stacked(answers, "norms")
