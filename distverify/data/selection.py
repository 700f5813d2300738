"""Which samples of a data set a run takes, and which features may change: ``0:100``, ``3,7``, ``::10``, or combined, ``0:3,7``."""

from __future__ import annotations

import os
import re

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distverify.data.memory import check_memory
from distverify.data.vector import load_vector
from distverify.errors import DataError, SettingsError
from distverify.options.values import numbers

_NUMBER = r"\d{1,15}"
_PIECE = re.compile(rf"(?P<index>{_NUMBER})|(?P<start>{_NUMBER})?:(?P<stop>{_NUMBER})?(?::(?P<step>{_NUMBER})?)?")


def select_samples(samples: str | None, count: int, noun: str = "sample") -> NDArray[np.int64]:
    """The chosen indices, int64, in the order that ``samples`` names them; None chooses all ``count``.

    ``noun`` is what is chosen, for error messages.

    Raises
    ------
    SettingsError
        A text that is no selection, or that names a sample twice.
    DataError
        An index that the data do not have, an empty selection, or more samples than fit in memory.
    """
    pieces = (
        [range(count)] if samples is None else [_piece(p.strip(), samples, count, noun) for p in samples.split(",")]
    )
    # A file can declare any number of samples; sorting their indices takes a few copies.
    check_memory("samples", 32 * sum(-((p.start - p.stop) // p.step) for p in pieces))
    if samples is None and count:
        return np.arange(count, dtype=np.int64)
    chosen = np.concatenate([np.arange(p.start, p.stop, p.step, dtype=np.int64) for p in pieces])
    if chosen.size == 0:
        raise DataError("x: holds no samples; give at least one")
    values, times = np.unique(chosen, return_counts=True)
    if (times > 1).any():
        raise SettingsError(f"{noun}s: {samples} names {noun} {values[times > 1][0]} twice; name each once")
    return chosen


def _piece(text: str, samples: str, count: int, noun: str) -> range:
    match = _PIECE.fullmatch(text)
    step = 0 if match is None else int(match["step"] or 1)
    if match is None or step == 0:
        raise SettingsError(f"{noun}s: got {samples!r}; give indices and ranges from 0, such as 0:100, 3,7 or ::10")
    if match["index"] is not None:
        start, stop = int(match["index"]), int(match["index"]) + 1
    else:
        start, stop = int(match["start"] or 0), count if match["stop"] is None else int(match["stop"])
    if stop > count:
        raise DataError(f"{noun}s: {text} goes up to {noun} {stop - 1}, but x holds {count} (0 to {count - 1})")
    if start >= stop:
        raise DataError(f"{noun}s: {text} selects none of {count} {noun}s; choose at least one")
    return range(start, stop, step)


def feature_factors(
    size: int, feature_eps: ArrayLike | str | os.PathLike[str] | None, features: str | None
) -> tuple[float, ...] | None:
    """Factors of eps, one for each of ``size`` features: ``feature_eps`` (or 1) on ``features``, 0 on all others.

    None where neither is given.

    Raises
    ------
    DataError
        A file that cannot be read.
    SettingsError
        Another number of factors; features that are none.
    """
    if feature_eps is None and features is None:
        return None
    if isinstance(feature_eps, str | os.PathLike):
        feature_eps = load_vector(feature_eps)
    factors = (
        np.ones(size)
        if feature_eps is None
        else numbers("feature_eps", feature_eps, "one factor per feature").reshape(-1)
    )
    if factors.size != size:
        raise SettingsError(
            f"feature_eps: got {factors.size} values; the network takes {size} features, give one for each"
        )
    if features is not None:
        free = np.zeros(size, dtype=bool)
        free[select_samples(features, size, "feature")] = True
        factors = np.where(free, factors, 0.0)
    return tuple(factors.tolist())
