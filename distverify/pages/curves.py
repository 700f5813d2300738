"""What the figures draw, as plain arrays; never more points than a figure can show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_POINTS = 400


def share_at_least(values: Floats, most: int = MOST_POINTS) -> tuple[Floats, Floats]:
    """Share of ``values`` that are at least x, for rising x from 0: with radii, the certified accuracy over eps.

    Returns
    -------
    x, share : float64 [K]
        Steps down after each x; exact at every x that is listed.
    """
    x = np.concatenate([[0.0], _thinned(np.unique(values[values > 0]), most)])
    return x, 1.0 - np.searchsorted(np.sort(values), x, side="left") / values.size


def between(lower: Floats, upper: Floats, most: int = MOST_POINTS) -> tuple[Floats, Floats, Floats]:
    """The share of ``lower`` and of ``upper`` numbers that are at least x: with radii certified and attacked, what is open lies between.

    Returns
    -------
    x, low, high : float64 [K]
        Up to the largest finite number.
    """
    every = np.concatenate([lower, upper])
    x = np.concatenate([[0.0], _thinned(np.unique(every[np.isfinite(every) & (every > 0)]), most)])
    low, high = (1.0 - np.searchsorted(np.sort(v), x, side="left") / v.size for v in (lower, upper))
    return x, low, high


def distribution(values: Floats, most: int = MOST_POINTS) -> tuple[Floats, Floats]:
    """Empirical distribution function: share of ``values`` that are at most x.

    Returns
    -------
    x, share : float64 [K]
        Steps up at each x; exact at every x that is listed.
    """
    x = _thinned(np.unique(values), most)
    return x, np.searchsorted(np.sort(values), x, side="right") / values.size


def _thinned(values: Floats, most: int) -> Floats:
    """At most ``most`` of the sorted values, both ends kept."""
    if values.size <= most:
        return values
    return np.asarray(values[np.linspace(0, values.size - 1, most).round().astype(np.int64)])


def wide(values: Floats) -> bool:
    """Whether positive ``values`` span so much that only a logarithmic axis shows them."""
    positive = values[np.isfinite(values) & (values > 0)]
    return positive.size > 1 and float(positive.max()) > 30 * float(np.median(positive))
