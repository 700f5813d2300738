"""Pieces of one sample's bounds, for a crew of workers: what crosses the boundary when a sample is too large for one worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.generic]]
# (start, stop) of rows, neurons or columns.
Block = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Shared:
    """What all pieces of one request need, such as the pre-activation bounds found so far: sent to a machine once.

    Attributes
    ----------
    key : str
        Hash of the content.
    arrays : dict name -> array
    """

    key: str
    arrays: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Piece:
    """One part of the bounds around a sample: a block of neurons, output rows, or columns.

    Attributes
    ----------
    key : str
        Hash of everything that the result depends on besides the network: equal keys, equal results.
    kind : str
    block : (start, stop)
        Which neurons, rows or columns.
    request : any small picklable value
        The rest of what the piece worker must know.
    open_subproblems : int
        Of the search that it is a part of, for progress.
    """

    key: str
    kind: str
    block: Block
    request: Any = None
    open_subproblems: int = 0

    def __str__(self) -> str:
        return f"{self.kind} {self.block[0]}:{self.block[1]}"


class HandedBack(Exception):
    """A sample takes so long that others are to help: whoever began it gives it back."""


class Crew(Protocol):
    """Workers that compute the pieces of a request side by side."""

    def map(self, pieces: Sequence[Piece], shared: Shared) -> list[Arrays]:
        """The results of ``pieces``, in order.

        Raises
        ------
        PieceError
            A piece could not be computed; what was found about the cause is its text.
        """
        ...


class PieceWorker(Protocol):
    """Computes pieces; may keep what the next piece of the same sample is likely to need again."""

    def compute(self, piece: Piece, shared: Shared) -> Arrays: ...
