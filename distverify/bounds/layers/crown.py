"""`crown`: a CROWN row for every neuron whose bounds matter.

Source: Zhang et al., NeurIPS 2018 (arXiv 1811.00866); see :mod:`distverify.bounds.crown`.
"""

from __future__ import annotations

from distverify.bounds import crown
from distverify.bounds.layers.method import nodes_that_matter
from distverify.bounds.reduced import Affine, Floats, Reduced
from distverify.network.graph import Network


class Crown:
    """See :class:`distverify.bounds.layers.method.LayerMethod`."""

    name = "crown"

    def nodes(self, network: Network) -> frozenset[int]:
        """Those that an activation or the user reads, and first layers."""
        return nodes_that_matter(network)

    def rows(
        self, reduced: Reduced, affine: Affine, *, signs: bool = False, lowest: bool = False, in_passing: bool = False
    ) -> tuple[Floats, Floats]:
        """The lines that each activation has by default, for all rows."""
        return crown.affine_bounds(reduced, affine)
