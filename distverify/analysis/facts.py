"""What is asked of Jacobian bounds: the bounds themselves, or what follows from them row by row."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distverify.bounds.jacobian import JacobianBounds
from distverify.bounds.lipschitz import row_constants, vector_parts
from distverify.bounds.methods import RowBounds
from distverify.questions.pieces import Arrays

Floats = NDArray[np.float64]

# lower and upper; constants [K]; monotone int8 [K, inputs]; clearest [K]; vector []
FACTS = ("bounds", "constants", "monotone", "clearest", "vector")


@dataclass(frozen=True, eq=False)
class Wanted:
    """What to know of the derivatives of some rows over a region.

    Attributes
    ----------
    facts : any of :data:`FACTS`
        "bounds" are named "lower" and "upper" in the answer, the others as they are here. "constants": of each row;
        "vector": of all of them together; "monotone": :func:`monotone_features`; "clearest": see :func:`clearest_signs`.
    norm : inf, 2 or 1
        Of the constants.
    weights : float64 [inputs], optional
        One factor of eps per feature; constants are meant in the norm that they scale, and a feature of factor 0 is fixed.
    direction : str
        See :func:`distverify.bounds.methods.bound_rows`.
    """

    facts: tuple[str, ...]
    norm: float = math.inf
    weights: Floats | None = None
    direction: str = "auto"

    @property
    def parts(self) -> tuple[str, ...]:
        """What every block of rows has to tell."""
        if "vector" not in self.facts:
            return self.facts
        return tuple(dict.fromkeys(("constants", "parts", *(f for f in self.facts if f != "vector"))))


def row_facts(bounds: RowBounds, parts: Collection[str], norm: float, weights: Floats | None) -> Arrays:
    """What :attr:`Wanted.parts` ask of some rows; answers about several blocks of rows are stacked."""
    facts: Arrays = {}
    if "bounds" in parts:
        facts["lower"], facts["upper"] = bounds.lower, bounds.upper
    if "constants" in parts:
        facts["constants"] = row_constants(bounds, norm, weights=weights)
    if "parts" in parts:
        facts["parts"] = vector_parts(bounds, norm, weights)
    if "monotone" in parts:
        facts["monotone"] = monotone_features(bounds)
    if "clearest" in parts:
        facts["clearest"] = clearest_signs(bounds, weights)
    return facts


def monotone_features(bounds: JacobianBounds | RowBounds) -> NDArray[np.int8]:
    """Which outputs certainly rise (1) or fall (-1) with which features over a region; 0 where neither is known.

    Parameters
    ----------
    bounds : of the Jacobian over the region

    Returns
    -------
    int8 [rows, inputs]
        Strict signs of the bounds: an output is increasing in a feature of sign 1, whatever the others are in a box.
    """
    return np.asarray((bounds.lower > 0).astype(np.int8) - (bounds.upper < 0).astype(np.int8))


def clearest_signs(bounds: RowBounds, weights: Floats | None) -> Floats:
    """For each row, by how much the derivative of the clearest sign keeps away from 0: float64 [K], positive if one does.

    Features of weight 0 do not count.
    """
    free = slice(None) if weights is None else weights > 0.0
    with np.errstate(invalid="ignore"):
        return np.asarray(np.fmax(bounds.lower, -bounds.upper)[:, free].max(axis=1))
