"""Jacobian bound methods by name: one interface over `linear`, `recurjac` and `fastlip`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distverify.bounds import fastlip, linear, recurjac
from distverify.bounds.columns import ColumnPush
from distverify.bounds.enclosure import Enclosure

Floats = NDArray[np.float64]
_RECURSIVE = {"linear": linear.push, "recurjac": recurjac.push}


@dataclass(frozen=True, eq=False)
class RowBounds:
    """Sound bounds of the derivatives of K rows over a region.

    Attributes
    ----------
    lower, upper : float64 [K, inputs]
    push : ColumnPush or None
        Pushes further columns through the same relaxation; None for methods without recursion.
    """

    lower: Floats
    upper: Floats
    push: ColumnPush | None

    @property
    def magnitude(self) -> Floats:
        """max(|lower|, |upper|), float64 [K, inputs]."""
        return np.maximum(np.abs(self.lower), np.abs(self.upper))


def bound_rows(enclosure: Enclosure, rows: Floats, method: str) -> RowBounds:
    """Bound the derivatives of ``rows @ f``, ``rows`` float64 [K, outputs], by the named method."""
    if method == "fastlip":
        return RowBounds(*fastlip.bound(enclosure, rows), None)
    push = _RECURSIVE[method](enclosure, rows)
    return RowBounds(*push.bound(), push)
