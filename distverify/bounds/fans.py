"""Lines below and above an activation that rows may choose from, neuron by neuron."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distverify.kernels.choices import fill_chosen, fill_fans
from distverify.kernels.table import PIECES, ROWS, TURNS

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

# Two pieces, and what lies between; or tangents.
_PIECES, _TANGENTS = 2, 9


@dataclass(frozen=True, eq=False)
class Fan:
    """K lines on either side of every neuron's activation. A place in [0, 1] is a line: one of them, or one between two neighbours.

    Attributes
    ----------
    lines : (below, below_cut, above, above_cut), float64 [n, K]
        Slopes and intercepts; each is sound on the neuron's interval.
    single : the same in single precision
    start : float64 [n]
        Where the activation's own lines are, about.
    far : float64 [n]
        Bounds of |z|.
    """

    lines: tuple[Floats, Floats, Floats, Floats]
    single: tuple[Singles, Singles, Singles, Singles]
    start: Floats
    far: Floats

    @staticmethod
    def of(code: int, lower: Floats, upper: Floats, parameters: Floats) -> Fan:
        """Of neurons of one activation with pre-activations in [lower, upper]; arguments as in :func:`relaxations.relax`."""
        count = _PIECES if ROWS[code, PIECES] > 0 and ROWS[code, TURNS] <= 1 else _TANGENTS
        below, below_cut, above, above_cut = np.empty((4, lower.size, count))
        start = np.empty(lower.size)
        fill_fans(code, lower, upper, parameters, below, below_cut, above, above_cut, start)
        lines = below, below_cut, above, above_cut
        a, b, c, d = (side.astype(np.float32) for side in lines)
        return Fan(lines, (a, b, c, d), start, np.maximum(np.abs(lower), np.abs(upper)))

    @property
    def opens(self) -> bool:
        """Whether there is anything to choose."""
        return any(bool((side != side[:, :1]).any()) for side in self.lines)

    def at(self, places: NDArray[Any]) -> tuple[Floats, Floats, Floats, Floats]:
        """The lines at ``places`` float32 [R, n]: su, cu, sl, cl float64 [R, n], sound whatever the places are."""
        su, cu, sl, cl = np.empty((4, *places.shape))
        fill_chosen(places, self.far, *self.lines, su, cu, sl, cl)
        below, below_cut, above, above_cut = (side[:, 0] for side in self.lines)
        # Of a function that is unbounded there is one line, and nothing between.
        for slope, cut, kept, kept_cut in ((sl, cl, below, below_cut), (su, cu, above, above_cut)):
            odd = np.flatnonzero(~np.isfinite(kept_cut))
            if odd.size:
                slope[:, odd], cut[:, odd] = kept[odd], kept_cut[odd]
        return su, cu, sl, cl
