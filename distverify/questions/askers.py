"""Where questions are answered: by the asker itself, or block by block by a crew of workers; and what such a worker does."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from distverify.errors import PieceError, SettingsError
from distverify.network.graph import Network
from distverify.questions.memory import Memory
from distverify.questions.packing import make_piece, pack, unpack
from distverify.questions.pieces import Arrays, Crew, HandedBack, Piece, Shared
from distverify.questions.question import Cuts, Question

A = TypeVar("A")


class Alone:
    """A crew of one: the asker answers every question as a whole. Nothing is hashed or copied.

    Parameters
    ----------
    network : Network
    """

    pieces = 1
    cuts = Cuts()

    def __init__(self, network: Network) -> None:
        self._memory = Memory(network)

    def ask(self, question: Question[A]) -> A:
        """See :class:`distverify.questions.question.Asker`."""
        return question.join([question.answer(self._memory, block) for block in question.cut(1, self.cuts)])


class Impatient(Alone):
    """A crew of one that hands a sample back which takes longer than others may have to wait for.

    Parameters
    ----------
    network : Network
    seconds : float
        From now on; inf: whatever it takes. A question that is begun is answered.
    """

    def __init__(self, network: Network, seconds: float) -> None:
        super().__init__(network)
        self._until = time.monotonic() + seconds

    def ask(self, question: Question[A]) -> A:
        """See :class:`distverify.questions.question.Asker`.

        Raises
        ------
        HandedBack
        """
        if time.monotonic() > self._until:
            raise HandedBack("takes long")
        return super().ask(question)


@dataclass(frozen=True)
class ThroughCrew:
    """Blocks go to a crew, whose workers are each a :class:`BoundsWorker` of the same network.

    Attributes
    ----------
    crew : Crew
    pieces : int
        About how many blocks every question is cut into, at least 1.
    cuts : Cuts
    """

    crew: Crew
    pieces: int
    cuts: Cuts = field(default_factory=Cuts)

    def __post_init__(self) -> None:
        if self.pieces < 1:
            raise SettingsError(f"pieces: got {self.pieces}; give a whole number of at least 1")

    def ask(self, question: Question[A]) -> A:
        """See :class:`distverify.questions.question.Asker`."""
        request, shared = pack(question)
        pieces = [make_piece(request, block, shared) for block in question.cut(self.pieces, self.cuts)]
        return question.join(self.crew.map(pieces, shared))


class BoundsWorker:
    """Answers pieces of questions about ``network``, and keeps what the next piece is likely to need again.

    Parameters
    ----------
    network : Network
    """

    def __init__(self, network: Network) -> None:
        self._memory = Memory(network)

    @np.errstate(over="ignore", invalid="ignore")
    def compute(self, piece: Piece, shared: Shared) -> Arrays:
        """The arrays that ``piece`` asks for, by name, in C order."""
        if not isinstance(piece.request, Question):
            raise PieceError(
                f"request: got {type(piece.request).__name__}, which this version does not know; start the workers anew"
            )
        answer = unpack(piece.request, shared).answer(self._memory, piece.block)
        return {name: np.asarray(values, order="C") for name, values in answer.items()}
