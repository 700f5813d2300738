"""Subtrees of a search as questions: whoever answers grows each by a given number of nodes, and tells what is left of it.

What a subtree comes to depends on its subproblem and on that number alone, so that a search gives the same bits whoever computes,
however many compute, and wherever a run was killed: the answers are kept under hashes of what was asked.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np

from distverify.analysis.branching.stack import Stack
from distverify.bounds.packed import Indices
from distverify.bounds.reduced import Floats
from distverify.questions.memory import Memory
from distverify.questions.pieces import Arrays, Block
from distverify.questions.question import Cuts, Question, cut


class Ranked(Protocol):
    """A subproblem: a dataclass of arrays and numbers."""

    @property
    def rank(self) -> float:
        """The smallest is searched first."""
        ...


S = TypeVar("S", bound=Ranked)


@dataclass(frozen=True, eq=False)
class Step(Generic[S]):
    """What became of a subproblem.

    Attributes
    ----------
    open : list
        Subproblems that are still to be searched.
    shut : list
        Subproblems that cannot be split: what holds of them counts for the result.
    found : float64 [D] or None
        A point that the search looks for.
    nodes : int
        What it counts for.
    """

    open: list[S] = field(default_factory=list)
    shut: list[S] = field(default_factory=list)
    found: Floats | None = None
    nodes: int = 1


class Objective(ABC, Generic[S]):
    """What a search is about: a frozen dataclass of small values and arrays, as in a :class:`Question`."""

    # Whether the first point that is found ends the search.
    ends_when_found: ClassVar[bool] = True
    # Nodes of a subtree in one round, also while the tree is narrow: then rounds are what widens it; subtrees that a worker is given
    # at a time.
    nodes_of_subtree: ClassVar[int] = 16
    nodes_while_narrow: ClassVar[int] = 4
    together: ClassVar[int] = 2

    @abstractmethod
    def begin(self, memory: Memory) -> Callable[[S, int], Step[S]]:
        """Make ready for the steps of one subtree: what they do depends on the subtree alone.

        Returns
        -------
        callable (subproblem, most) -> Step
            ``most``: nodes that are left for the subtree, at least 1.
        """


@dataclass(frozen=True, eq=False)
class Grown(Generic[S]):
    """A subtree after a number of nodes.

    Attributes
    ----------
    nodes : int
    open, shut : list
        See :class:`Step`.
    found : list of float64 [D]
    """

    nodes: int
    open: list[S]
    shut: list[S]
    found: list[Floats]


def grow(objective: Objective[S], memory: Memory, root: S, nodes: int) -> Grown[S]:
    """The subtree of ``root`` after at most ``nodes`` nodes."""
    step = objective.begin(memory)
    heap, made, spent = [(root.rank, 0, root)], 1, 0
    shut: list[S] = []
    found: list[Floats] = []
    while heap and spent < nodes and not (found and objective.ends_when_found):
        taken = step(heapq.heappop(heap)[2], nodes - spent)
        spent += taken.nodes
        shut += taken.shut
        found += [] if taken.found is None else [taken.found]
        for child in taken.open:
            heapq.heappush(heap, (child.rank, made, child))
            made += 1
    return Grown(spent, [entry[2] for entry in sorted(heap, key=lambda entry: entry[:2])], shut, found)


@dataclass(frozen=True, eq=False)
class Subtrees(Question[list[Grown[Any]]]):
    """Grow subtrees side by side. Behind the first one that ends the search no other counts, nor needs to be grown.

    Attributes
    ----------
    objective : Objective
    roots : tuple of Stack
        Of one subproblem each.
    nodes : int64 [roots]
        Of each.
    waiting : int
        Subproblems of the search that are open besides: for progress.
    """

    objective: Objective[Any]
    roots: tuple[Stack[Any], ...]
    nodes: Indices
    waiting: int = 0

    @property
    def open_subproblems(self) -> int:
        return len(self.roots) + self.waiting

    def cut(self, pieces: int, cuts: Cuts) -> Sequence[Block]:
        """Blocks of subtrees; a single one where nobody else computes."""
        count = len(self.roots)
        return cut(count, 1 if pieces == 1 else -(-count // self.objective.together), 1)

    def answer(self, memory: Memory, block: Block) -> Arrays:
        """All of every subtree, under names that begin with its number."""
        answer: Arrays = {}
        for k in range(*block):
            grown = grow(self.objective, memory, self.roots[k].items()[0], int(self.nodes[k]))
            kind = self.roots[k].kind
            answer[f"{k}.nodes"] = np.array([grown.nodes])
            answer |= Stack.of(kind, grown.open).named(f"{k}.open.") | Stack.of(kind, grown.shut).named(f"{k}.shut.")
            if grown.found:
                answer[f"{k}.found"] = np.array(grown.found)
                if self.objective.ends_when_found:
                    break
        return answer

    def join(self, answers: Sequence[Arrays]) -> list[Grown[Any]]:
        """The subtrees in order, up to the one that ends the search."""
        every = {name: values for answer in answers for name, values in answer.items()}
        out: list[Grown[Any]] = []
        for k, root in enumerate(self.roots):
            kind = root.kind
            found = list(every.get(f"{k}.found", ()))
            left, shut = (Stack.read(kind, every, f"{k}.{name}.").items() for name in ("open", "shut"))
            out.append(Grown(int(every[f"{k}.nodes"][0]), left, shut, [np.array(x) for x in found]))
            if found and self.objective.ends_when_found:
                break
        return out
