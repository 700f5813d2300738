"""A case that is still to be decided."""

from __future__ import annotations

from dataclasses import dataclass

from distverify.analysis.query.cases import Case
from distverify.analysis.query.joint import Joint
from distverify.analysis.query.space import Sides
from distverify.analysis.query.witness import Judge


@dataclass(frozen=True, eq=False)
class OpenCase:
    """A case that is not decided.

    Attributes
    ----------
    case : Case
    sides : Sides
    judge : Judge
    """

    case: Case
    sides: Sides
    judge: Judge

    @property
    def joint(self) -> Joint:
        return self.judge.joint
