"""`interval`: interval arithmetic alone, after first layers.

Source: Gowal et al., 2018 (arXiv 1810.12715); see :mod:`distverify.bounds.interval`.
"""

from __future__ import annotations

from distverify.bounds import crown
from distverify.bounds.layers.method import first_layers
from distverify.bounds.reduced import Affine, Floats, Reduced
from distverify.network.graph import Network


class Interval:
    """See :class:`distverify.bounds.layers.method.LayerMethod`."""

    name = "interval"

    def nodes(self, network: Network) -> frozenset[int]:
        """First layers only."""
        return first_layers(network)

    def rows(
        self, reduced: Reduced, affine: Affine, *, signs: bool = False, lowest: bool = False, in_passing: bool = False
    ) -> tuple[Floats, Floats]:
        """CROWN's: of a first layer they are exact, and of the outputs' combinations intervals would know next to nothing."""
        return crown.affine_bounds(reduced, affine)
