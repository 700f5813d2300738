"""Where neurons are split."""

from __future__ import annotations

import numpy as np

from distverify.bounds.packed import Indices, Packed
from distverify.bounds.reduced import Floats
from distverify.kernels.mixed import fill_places


def places_of(packed: Packed, lower: Floats, upper: Floats, neurons: Indices) -> Floats:
    """For each of ``neurons``, a kink inside of [lower, upper] (of these neurons); the middle where there is none."""
    places = np.empty(neurons.size)
    parameters = np.ascontiguousarray(packed.parameters[:, neurons])
    fill_places(packed.code[neurons], lower, upper, parameters, places)
    return places
