"""`alpha`: CROWN rows whose lines are chosen row by row, by a few steps along supergradients.

Source: Xu et al., ICLR 2021 (arXiv 2011.13824); see :mod:`distverify.bounds.choices`.
"""

from __future__ import annotations

from distverify.bounds import crown
from distverify.bounds.choices import Choices
from distverify.bounds.layers.method import nodes_that_matter
from distverify.bounds.reduced import Affine, Floats, Reduced
from distverify.network.graph import Network


class Alpha:
    """See :class:`distverify.bounds.layers.method.LayerMethod`."""

    name = "alpha"

    def nodes(self, network: Network) -> frozenset[int]:
        """Those that an activation or the user reads, and first layers."""
        return nodes_that_matter(network)

    def rows(
        self, reduced: Reduced, affine: Affine, *, signs: bool = False, lowest: bool = False, in_passing: bool = False
    ) -> tuple[Floats, Floats]:
        """Never looser than CROWN's; where only ``signs`` matter, rows that CROWN decides stay as they are."""
        known = crown.affine_bounds(reduced, affine)
        if in_passing or reduced.region.unbounded or set(affine.edges) <= {0}:
            return known
        return Choices(reduced).bounds(affine, known, signs=signs, lowest=lowest)
