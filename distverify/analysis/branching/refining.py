"""Refining neurons' bounds over the whole region as a question: rows of one group are dealt to workers.

What small searches prove of a neuron holds in every subproblem of the main search; with most neurons of deep layers settled so,
many a main search ends at its root.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from distverify.analysis.branching.counterexamples import Hunt
from distverify.analysis.branching.refinement import refined
from distverify.bounds.alpha import bound_rows
from distverify.bounds.half_spaces import neuron_rows
from distverify.bounds.packed import Flags, Indices
from distverify.bounds.reduced import Floats
from distverify.questions.memory import Memory
from distverify.questions.pieces import Arrays, Block
from distverify.questions.question import Asker, Cuts, Question, cut

# Of the ascent for the slopes that a neuron's search, and the main one, keep.
_STEPS = 12
# Rows that a worker is given at least.
_ROWS = 8


@dataclass(frozen=True, eq=False)
class Refinement(Question[tuple[Floats, Floats]]):
    """Bound both sides of some neurons of one group anew: (float64 [R], slopes [R, N]).

    Attributes
    ----------
    hunt : Hunt
    lower, upper, alpha : float64 arrays
        See :class:`distverify.analysis.branching.polytopes.Problem`.
    which, sides : int64 [R]
        Neurons, and 0 for a pre-activation's lower bound, 1 for its negative's.
    nodes : int
        Subproblems of each row's search.
    """

    hunt: Hunt
    lower: Floats
    upper: Floats
    alpha: Floats
    which: Indices
    sides: Indices
    nodes: int

    def cut(self, pieces: int, cuts: Cuts) -> Sequence[Block]:
        """Blocks of rows."""
        return cut(self.which.size, pieces, _ROWS)

    def answer(self, memory: Memory, block: Block) -> Arrays:
        """ "bounds" and "slopes"."""
        rows = slice(*block)
        problem = replace(self.hunt.problem(memory), lower=self.lower, upper=self.upper, alpha=self.alpha)
        which, sides = np.array(self.which[rows]), np.array(self.sides[rows])
        signs = np.where(sides == 0, 1.0, -1.0)
        ascent = bound_rows(
            problem.packed, neuron_rows(problem.packed, which, signs), _STEPS, goal=0.0,
            lines=problem.lines(self.lower, self.upper), slopes=problem.slopes_of(which, signs),
        )  # fmt: skip
        found = refined(problem, self.lower, self.upper, which, sides, ascent.slopes, self.nodes)
        return {"bounds": np.fmax(found, ascent.bounds), "slopes": ascent.slopes}

    def join(self, answers: Sequence[Arrays]) -> tuple[Floats, Floats]:
        """All rows."""
        bounds, slopes = (np.concatenate([np.asarray(a[name]) for a in answers]) for name in ("bounds", "slopes"))
        return bounds, slopes


@dataclass(frozen=True, eq=False)
class Neurons:
    """What is known of all neurons over the whole region, float64 [N] and [2, N or 1, N]; see :class:`Refinement`.

    Attributes
    ----------
    lower, upper, alpha : float64 arrays
    groups : int64 [N]
        Ascending; the same for all neurons of a group.
    splits : bool [N]
        Neurons of two straight pieces.
    """

    lower: Floats
    upper: Floats
    alpha: Floats
    groups: Indices
    splits: Flags

    @property
    def refinable(self) -> Flags:
        """Neurons whose sign is open, behind others: bool [N]."""
        return np.asarray(self.splits & (self.lower < 0.0) & (self.upper > 0.0) & (self.groups > self.groups[:1]))

    def refined(self, asker: Asker, hunt: Hunt, nodes: int, deadline: float | None = None) -> Neurons:
        """With bounds and slopes renewed, the first groups first; ``deadline`` (by ``time.monotonic``) ends it early."""
        lower, upper, alpha = self.lower.copy(), self.upper.copy(), self.alpha.copy()
        if alpha.shape[1] == 1:
            return self
        for group in np.unique(self.groups[self.refinable]):
            if deadline is not None and time.monotonic() >= deadline:
                break
            neurons = np.flatnonzero(self.refinable & (self.groups == group))
            which, sides = neurons.repeat(2), np.tile([0, 1], neurons.size)
            question = Refinement(hunt, lower.copy(), upper.copy(), alpha.copy(), which, sides, nodes)
            bounds, slopes = asker.ask(question)
            alpha[sides, which] = slopes
            lower[neurons] = np.fmax(lower[neurons], bounds[0::2])
            upper[neurons] = np.fmin(upper[neurons], -bounds[1::2])
        return replace(self, lower=lower, upper=upper, alpha=alpha)
