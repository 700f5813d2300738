"""A question about bounds: what is asked, how it is cut into blocks, how a block is answered, and how the answers are joined.

One question is one file, or a part of one. Whoever asks does not know where it is answered: by the asker itself, or block by block
by a crew of workers (see :mod:`distverify.questions.askers`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from distverify.questions.memory import Memory
from distverify.questions.pieces import Arrays, Block

Floats = NDArray[np.float64]
A = TypeVar("A")


@dataclass(frozen=True)
class Cuts:
    """What no block is smaller than, unless the whole is.

    Attributes
    ----------
    rows, neurons, columns : int
        Chain rows (output rows, margins or inputs), neurons of a layer, members of a group.
    work : float
        Multiplications, about: a piece's way there and back is worth some milliseconds of them.
    """

    rows: int = 16
    neurons: int = 64
    columns: int = 64
    work: float = 2e7


class Question(ABC, Generic[A]):
    """A frozen dataclass: its fields are small values, arrays, and a :class:`distverify.questions.region.Place`.

    The arrays go to a machine once for all blocks of the question; an answer depends on nothing but the network, the fields and the
    block.
    """

    @property
    def kind(self) -> str:
        """A word for messages and counts."""
        return type(self).__name__.lower()

    @property
    def open_subproblems(self) -> int:
        """Of a search that goes on by this question: how many there are left, for progress."""
        return 0

    @abstractmethod
    def cut(self, pieces: int, cuts: Cuts) -> Sequence[Block]:
        """Blocks that cover the question: about ``pieces``; a single one where ``pieces`` is 1."""

    @abstractmethod
    def answer(self, memory: Memory, block: Block) -> Arrays:
        """What is to be told of ``block``, by names that :meth:`join` reads."""

    @abstractmethod
    def join(self, answers: Sequence[Arrays]) -> A:
        """The answer to the whole question, from those to its blocks in order."""


class Asker(Protocol):
    """Has questions answered."""

    @property
    def pieces(self) -> int:
        """About how many blocks are answered side by side; 1: every question is answered as a whole."""
        ...

    @property
    def cuts(self) -> Cuts: ...

    def ask(self, question: Question[A]) -> A:
        """The answer."""
        ...


def cut(size: int, count: int, least: int) -> Sequence[Block]:
    """Blocks of nearly equal size that cover 0:size: at most ``count``, none smaller than ``least`` but a single one."""
    n = max(1, min(count, size // least))
    edges = [i * size // n for i in range(n + 1)]
    return list(pairwise(edges))


def runs(parts: Sequence[tuple[int, int, int]], least: int) -> list[tuple[tuple[int, ...], int, int]]:
    """What is asked for in one go: a part of its own that is cut into blocks, or consecutive ones that are not worth it.

    Parameters
    ----------
    parts : sequence of (number, size, most pieces)

    Returns
    -------
    list of (numbers, sum of sizes, most pieces)
    """
    out: list[tuple[tuple[int, ...], int, int]] = []
    run: list[int] = []
    length = 0
    for number, size, most in parts:
        if len(cut(size, most, least)) > 1:
            out += [(tuple(run), length, 1)] if run else []
            out.append(((number,), size, most))
            run, length = [], 0
        else:
            run.append(number)
            length += size
    return [*out, (tuple(run), length, 1)] if run else out


def stacked(answers: Sequence[Arrays], name: str) -> Floats:
    """The arrays of consecutive blocks as one, along the first axis."""
    if len(answers) == 1:
        return np.asarray(answers[0][name])
    return np.concatenate([np.asarray(a[name]) for a in answers])
