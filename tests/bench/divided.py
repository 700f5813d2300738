"""How the work of one large sample divides: ``python -m tests.bench.divided``; kernel seconds of one worker, and of each of two.

Processor time, so that a busy machine counts little. The sample is that of the table in docs/PERFORMANCE.md: four convolutions and three
dense layers of random weights.
"""

from __future__ import annotations

import sys
from collections import defaultdict

import numpy as np

from distverify.analysis.in_pieces import analyse_in_pieces
from distverify.settings import Settings
from distverify.work import Sample
from tests.analysis.crews import CrewHere
from tests.bench.cases import convolutions_and_dense


def main(layers: str = "crown", cut: int = 8) -> None:
    """Print both, and what each kind of question took."""
    network, x = convolutions_and_dense()
    settings = Settings(eps=(0.0005,), compute=("jacobian", "lipschitz"), layer_bounds=layers)
    sample = Sample(x)
    totals = {}
    for workers in (1, 2):
        for pieces in (1,) if workers == 1 else (cut,):
            analyse_in_pieces(network, sample, settings, pieces, CrewHere(network, workers))  # libraries, caches
            crew = CrewHere(network, workers)
            analyse_in_pieces(network, sample, settings, pieces, crew)
            each = [sum(crew.seconds[w::workers]) for w in range(workers)]
            kinds: defaultdict[str, float] = defaultdict(float)
            for piece, seconds in zip(crew.pieces, crew.seconds, strict=True):
                kinds[piece.kind] += seconds
            totals[workers] = each
            told = ", ".join(f"{kind} {seconds:.2f}" for kind, seconds in kinds.items())
            print(f"{workers} worker(s), {pieces} pieces: {np.round(each, 2)} s of kernels; {told}", flush=True)
    (one,), two = totals[1], totals[2]
    print(f"work grows by {sum(two) / one - 1:.0%}; one worker's time over the longer of two: {one / max(two):.2f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "crown")
