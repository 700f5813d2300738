"""A crew in this process, through which everything goes as it would go to other machines."""

from __future__ import annotations

import pickle
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from distverify.network.graph import Network
from distverify.questions.askers import BoundsWorker
from distverify.questions.pieces import Arrays, Piece, Shared


class CrewHere:
    """Workers take turns; pieces, shared arrays and results are pickled on their way, and what arrives is read-only.

    Attributes
    ----------
    pieces : list of Piece
        All that were computed.
    kinds : Counter
        How many of each kind.
    requests : list of (kind, number of pieces)
        One for each call of ``map``.
    results : dict key -> arrays
    seconds : list of float
        Processor time of each piece.
    """

    def __init__(self, network: Network, workers: int = 1) -> None:
        self.workers = [BoundsWorker(sent(network)) for _ in range(workers)]
        self.pieces: list[Piece] = []
        self.kinds: Counter[str] = Counter()
        self.requests: list[tuple[str, int]] = []
        self.results: dict[str, Arrays] = {}
        self.seconds: list[float] = []

    def map(self, pieces: Sequence[Piece], shared: Shared) -> list[Arrays]:
        shared = sent(shared)
        for values in shared.arrays.values():
            assert values.flags.c_contiguous
            values.flags.writeable = False
        self.requests.append((pieces[0].kind, len(pieces)))
        return [self._compute(sent(piece), shared) for piece in pieces]

    def _compute(self, piece: Piece, shared: Shared) -> Arrays:
        worker = self.workers[len(self.pieces) % len(self.workers)]
        begin = time.process_time()
        found = worker.compute(piece, shared)
        self.seconds.append(time.process_time() - begin)
        self.pieces.append(piece)
        self.kinds[piece.kind] += 1
        for values in found.values():
            assert values.flags.c_contiguous
        found = sent(found)
        for values in found.values():
            values.flags.writeable = False
        self.results[piece.key] = found
        return found


def sent(value: Any) -> Any:
    """``value`` as it arrives elsewhere."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301  our own bytes
