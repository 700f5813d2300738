"""Outputs at a point with an error bound: what makes a point a counterexample."""

from __future__ import annotations

import numpy as np

from distverify.bounds.enclosure import enclose
from distverify.bounds.reduced import Floats
from distverify.kernels.rounding import SOUND
from distverify.network.graph import Network
from distverify.region import Box


def highest_at(network: Network, x: Floats, rows: Floats, bounds: Floats) -> Floats:
    """Upper bounds of ``rows @ f(x) - bounds`` at the point ``x`` [D] in exact arithmetic: float64 [K]."""
    _, upper = enclose(network.in_precision("float64"), Box(x, x)).row_bounds(rows)
    upper = np.where(np.isnan(upper), np.inf, upper)
    # The difference rounds once more.
    moved = upper - bounds
    return np.asarray(np.nextafter(moved + SOUND.gamma(1) * np.abs(moved), np.inf))
