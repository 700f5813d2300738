"""Bounds of combinations of outputs over a region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distverify.questions.memory import Memory, Place
from distverify.questions.pieces import Arrays, Block
from distverify.questions.question import Cuts, Floats, Question, cut, stacked


@dataclass(frozen=True, eq=False)
class Margins(Question[Floats]):
    """Lower bounds of ``rows @ f``, float64 [K].

    Attributes
    ----------
    place : Place
        With the bounds of all linear nodes.
    rows : float64 [K, outputs]
    """

    place: Place
    rows: Floats

    def cut(self, pieces: int, cuts: Cuts) -> Sequence[Block]:
        """Blocks of rows."""
        return cut(self.rows.shape[0], pieces, cuts.rows)

    def answer(self, memory: Memory, block: Block) -> Arrays:
        """ "lower", float64 [block]."""
        return {"lower": memory.at(self.place).enclosure.row_minima(self.rows[slice(*block)])}

    def join(self, answers: Sequence[Arrays]) -> Floats:
        """Of all rows."""
        return stacked(answers, "lower")
