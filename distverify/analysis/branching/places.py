"""Where neurons are split."""

from __future__ import annotations

import numpy as np

from distverify.bounds.packed import Indices, Packed
from distverify.bounds.reduced import Floats
from distverify.kernels.activations import CLIP, HARD_SIGMOID, LEAKY


def kinks(packed: Packed, lower: Floats, upper: Floats, neurons: Indices) -> Floats:
    """For each of ``neurons``, a kink inside of [lower, upper]; the middle of it where the activation has none there."""
    code, (p0, p1) = packed.code[neurons], packed.parameters[:, neurons]
    places = 0.5 * lower + 0.5 * upper
    with np.errstate(divide="ignore", invalid="ignore"):
        sides = -p1 / p0, (1.0 - p1) / p0
    for clip, sigmoid in ((p0, sides[0]), (p1, sides[1])):
        kink = np.where(
            code == LEAKY, 0.0, np.where(code == CLIP, clip, np.where(code == HARD_SIGMOID, sigmoid, np.nan))
        )
        places = np.where((lower < kink) & (kink < upper), kink, places)
    return places
