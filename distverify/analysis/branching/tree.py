"""The tree of subproblems, the worst first: subtrees of a number of them at a time, in rounds that do not depend on who computes."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from distverify.analysis.branching.stack import Stack
from distverify.analysis.branching.subtrees import Objective, Ranked, Subtrees
from distverify.bounds.reduced import Floats
from distverify.questions.question import Asker

# Subtrees of one round: enough to keep workers busy between two rounds, few enough not to stray from what is worst.
WIDTH = 32
# Of the time that is left, what a round may take.
_SHARE = 0.5

S = TypeVar("S", bound=Ranked)


@dataclass(eq=False)
class Tree(Generic[S]):
    """A search over subproblems.

    Attributes
    ----------
    asker : Asker
        Has the subtrees grown.
    objective : Objective
    nodes : int
        Subproblems that were bounded.
    found : list of float64 [D]
        Points that the search was after.
    shut : list
        Subproblems that cannot be split.
    """

    asker: Asker
    objective: Objective[S]
    nodes: int = 0
    found: list[Floats] = field(default_factory=list)
    shut: list[S] = field(default_factory=list)
    _heap: list[tuple[float, int, S]] = field(default_factory=list)
    _made: int = 0

    @property
    def open(self) -> int:
        """Subproblems that are still to be bounded."""
        return len(self._heap)

    @property
    def left(self) -> list[S]:
        """What counts for the result: subproblems that are open, and those that cannot be split."""
        return [*(entry[2] for entry in self._heap), *self.shut]

    def push(self, subs: Iterable[S]) -> None:
        """Add subproblems."""
        for sub in subs:
            self._made += 1
            heapq.heappush(self._heap, (sub.rank, self._made, sub))

    def grow(self, nodes: int, deadline: float | None = None, after: Callable[[Tree[S]], bool] | None = None) -> None:
        """Bound subproblems until none is open, ``nodes`` are bounded, what was looked for is found, or ``deadline`` is past.

        Parameters
        ----------
        nodes : int
            Of the whole search, with those before: the same number gives the same result, whoever computes.
        deadline : float, optional
            By ``time.monotonic``. Rounds get shorter towards it.
        after : callable (Tree) -> bool, optional
            Looks at the tree after every round; False ends the search.
        """
        pace = 0.0  # seconds a node
        while self.goes_on(nodes, deadline):
            now = time.monotonic()
            most = nodes - self.nodes
            if deadline is not None:
                most = min(
                    most, int(_SHARE * (deadline - now) / pace) + 1 if pace else self.objective.nodes_while_narrow
                )
            before = self.nodes
            self._round(most)
            pace = (time.monotonic() - now) / max(1, self.nodes - before)
            if after is not None and not after(self):
                break

    def goes_on(self, nodes: int, deadline: float | None = None) -> bool:
        """Whether :meth:`grow` would bound another subproblem."""
        if not self._heap or self.nodes >= nodes or (self.found and self.objective.ends_when_found):
            return False
        return deadline is None or time.monotonic() < deadline

    def _round(self, most: int) -> None:
        """Grow the subtrees of the worst subproblems, by ``most`` nodes in all."""
        count, about = min(WIDTH, len(self._heap), most), self.objective
        size = about.nodes_of_subtree if len(self._heap) >= WIDTH else about.nodes_while_narrow
        each = np.full(count, min(size, most // count), dtype=np.int64)
        taken: list[S] = [heapq.heappop(self._heap)[2] for _ in range(count)]
        stacks: tuple[Stack[Any], ...] = tuple(Stack.of(type(sub), [sub]) for sub in taken)
        grown = self.asker.ask(Subtrees(self.objective, stacks, each, len(self._heap)))
        for subtree in grown:
            self.nodes += subtree.nodes
            self.push(subtree.open)
            self.shut += subtree.shut
            self.found += subtree.found
        self.push(taken[len(grown) :])  # behind one that ended the search
