"""The hull of the Jacobian bounds over all samples, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import h5py
import numpy as np
from numpy.typing import NDArray

_BLOCK_BYTES = 1 << 25
Array = NDArray[np.float64]


def hull_blocks(lower: h5py.Dataset, upper: h5py.Dataset) -> Iterator[tuple[int, slice, Array, Array]]:
    """The hull, a block of output rows at a time.

    Parameters
    ----------
    lower, upper : float64 [sample, eps, output, input]
        Samples without a value hold NaN and do not count.

    Yields
    ------
    eps : int
        Index of the radius.
    rows : slice
        Of the outputs.
    hull_lower, hull_upper : float64 [rows, input]
        Smallest lower and largest upper bound; NaN where no sample has a value.
    """
    samples, radii, outputs, inputs = lower.shape
    # At most an eighth of a block for the rows themselves, the rest for samples side by side.
    step = max(1, min(outputs, _BLOCK_BYTES // 8 // (8 * inputs)))
    for eps in range(radii):
        for start in range(0, outputs, step):
            rows = slice(start, min(start + step, outputs))
            at_once = max(1, _BLOCK_BYTES // (8 * inputs * (rows.stop - rows.start)))
            lo = np.full((rows.stop - rows.start, inputs), np.nan)
            hi = lo.copy()
            for s in range(0, samples, at_once):
                # fmin and fmax pass over NaN
                np.fmin(lo, np.fmin.reduce(lower[s : s + at_once, eps, rows], axis=0), out=lo)
                np.fmax(hi, np.fmax.reduce(upper[s : s + at_once, eps, rows], axis=0), out=hi)
            yield eps, rows, lo, hi
