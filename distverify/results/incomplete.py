"""Samples that are there in part: a quantity failed, and the others have their values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from distverify.status import NOT_COMPUTED, WITHOUT_VALUE


def lacking(status: NDArray[np.int8], message: NDArray[Any]) -> NDArray[np.bool_]:
    """The samples that lack something that was asked for: failed, timed out, or with a quantity that was not computed."""
    partly = np.char.find(np.asarray(message).astype(str), NOT_COMPUTED) >= 0
    return np.asarray(np.isin(status, WITHOUT_VALUE) | partly)
