"""The tree of subproblems, worst bound first: a number of them at a time, in rounds that do not depend on who computes them."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from distverify.analysis.branching.polytopes import Problem, with_own_slopes
from distverify.analysis.branching.step import Effort, process
from distverify.analysis.branching.subproblem import Outcome, Subproblem
from distverify.bounds.alpha import bound_rows
from distverify.bounds.reduced import Floats

# Subproblems of one round. Larger rounds keep more workers busy and look less at what the last ones taught.
ROUND = 8
_ROOT_STEPS = 20

# Maps a step over the subproblems of a round, in order.
Mapper = Callable[[Callable[[Subproblem], Outcome], Sequence[Subproblem]], Iterable[Outcome]]
# Tries points [K, n] of the packed network's inputs against a target; a counterexample x [D], or None.
Trial = Callable[[int, Floats], Floats | None]


@dataclass(eq=False)
class Tree:
    """A search for counterexamples.

    Attributes
    ----------
    problem : Problem
    bounds : float64 [targets]
        For each target, by how much some constraint is violated all over the region, at least: above 0, there is no
        counterexample. Where splits proved it, nothing larger than 0 is claimed.
    counterexample : float64 [D] or None
    nodes : int
        Subproblems that were bounded, roots included.
    """

    problem: Problem
    effort: Effort = field(default_factory=Effort)
    bounds: Floats = field(init=False)
    counterexample: Floats | None = None
    nodes: int = 0
    _heap: list[tuple[float, int, Subproblem]] = field(default_factory=list)
    _made: int = 0
    _stuck: list[Subproblem] = field(default_factory=list)

    @property
    def open(self) -> int:
        """Subproblems that are still to be bounded."""
        return len(self._heap)

    def plant(self) -> None:
        """Bound every target over the whole region by optimised slopes; those that stay open are the roots."""
        problem = self.problem
        packed = problem.packed
        self.bounds = np.empty(len(problem.targets))
        for k, rows in enumerate(problem.rows):
            if rows.count == 0:
                # No constraint on the outputs: every input of the region is a counterexample.
                self.bounds[k] = -np.inf
                ascent_slopes = np.zeros((0, packed.neurons))
            else:
                ascent = bound_rows(packed, rows, _ROOT_STEPS, goal=0.0)
                self.bounds[k] = float(ascent.bounds.max())
                ascent_slopes = ascent.slopes
            self.nodes += 1
            if not self.bounds[k] > 0.0:
                nothing = np.zeros(0)
                self._push(
                    Subproblem(
                        k, float(self.bounds[k]), 0, problem.lower, problem.upper, np.zeros(0, dtype=np.int64), nothing,
                        nothing, ascent_slopes, np.zeros(rows.count),
                    )
                )  # fmt: skip

    def refine(self) -> None:
        """Optimise the slopes of all neurons' bounds, before the roots are split."""
        self.problem = with_own_slopes(self.problem)
        lower, upper = self.problem.lower, self.problem.upper
        self._heap = [(bound, k, replace(sub, lower=lower, upper=upper)) for bound, k, sub in self._heap]

    def grow(
        self, nodes: int, mapper: Mapper | None = None, trial: Trial | None = None, deadline: float | None = None
    ) -> None:
        """Bound subproblems until none is open, ``nodes`` are bounded, a counterexample turns up or ``deadline`` is past.

        Parameters
        ----------
        nodes : int
            Of the whole search: the same number gives the same bounds, whoever computes.
        mapper : optional
            Computes a round; by default one after the other, here.
        trial : optional
            Tries points where counterexamples are likely.
        deadline : float, optional
            By ``time.monotonic``.
        """
        step = lambda sub: process(self.problem, sub, self.effort)  # noqa: E731
        while self._heap and self.nodes < nodes and self.counterexample is None:
            if deadline is not None and time.monotonic() >= deadline:
                break
            count = min(ROUND, len(self._heap), nodes - self.nodes)
            taken = [heapq.heappop(self._heap)[2] for _ in range(count)]
            outcomes = map(step, taken) if mapper is None else mapper(step, taken)
            for sub, outcome in zip(taken, outcomes, strict=True):
                self._take(sub, outcome, trial)
        self._close()

    def _take(self, sub: Subproblem, outcome: Outcome, trial: Trial | None) -> None:
        self.nodes += 1
        if trial is not None and outcome.points is not None and self.counterexample is None:
            self.counterexample = trial(sub.polytope, outcome.points)
        if outcome.bound > 0.0:
            return
        if outcome.stuck:
            self._stuck.append(replace(sub, bound=outcome.bound))
        for child in outcome.children:
            self._push(child)

    def _push(self, sub: Subproblem) -> None:
        self._made += 1
        heapq.heappush(self._heap, (sub.bound, self._made, replace(sub, order=self._made)))

    def _close(self) -> None:
        """The bounds that stand now."""
        left = np.full(self.bounds.size, np.inf)
        for sub in [*(entry[2] for entry in self._heap), *self._stuck]:
            left[sub.polytope] = min(left[sub.polytope], sub.bound)
        proved = np.nextafter(0.0, 1.0)
        self.bounds = np.where(self.bounds > 0.0, self.bounds, np.maximum(self.bounds, np.minimum(left, proved)))
