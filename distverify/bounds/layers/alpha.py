"""`alpha`: CROWN rows whose lines below are chosen row by row, by a few steps along supergradients.

Source: Xu et al., ICLR 2021 (arXiv 2011.13824); see :mod:`distverify.kernels.ascent`. Where an activation has no slope to choose,
its rows are CROWN's.
"""

from __future__ import annotations

import numpy as np

from distverify.bounds import crown
from distverify.bounds.alpha import bound_rows
from distverify.bounds.layers.method import nodes_that_matter
from distverify.bounds.packed import pack
from distverify.bounds.reduced import Affine, Floats, Reduced
from distverify.network.graph import Network


class Alpha:
    """See :class:`distverify.bounds.layers.method.LayerMethod`."""

    name = "alpha"

    def nodes(self, network: Network) -> frozenset[int]:
        """Those that an activation or the user reads, and first layers."""
        return nodes_that_matter(network)

    def rows(self, reduced: Reduced, affine: Affine, *, signs: bool = False) -> tuple[Floats, Floats]:
        """Never looser than CROWN's; where only ``signs`` matter, rows that CROWN decides stay as they are."""
        lower, upper = crown.affine_bounds(reduced, affine)
        if reduced.region.unbounded or set(affine.edges) <= {0}:
            return lower, upper
        packed = pack(reduced)
        open_ = np.flatnonzero(~((lower >= 0.0) | (upper <= 0.0))) if signs else np.arange(lower.size)
        if open_.size == 0 or not packed.lines.free.any():
            return lower, upper
        rows = packed.rows(affine).take(open_)
        goal = 0.0 if signs else np.inf
        low = bound_rows(packed, rows, goal=goal).bounds
        lower[open_] = np.fmax(lower[open_], low)
        # A row that is surely not negative needs no better upper bound where only its sign matters.
        left = np.flatnonzero(~(lower[open_] >= 0.0)) if signs else np.arange(open_.size)
        high = -bound_rows(packed, rows.take(left).negative(), goal=goal).bounds
        upper[open_[left]] = np.fmin(upper[open_[left]], high)
        return lower, upper
