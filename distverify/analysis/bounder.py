"""Through what the analyses get their bounds: the methods, and where they are computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.facts import Wanted, row_facts
from distverify.bounds import crown
from distverify.bounds.columns import BLOCK_BYTES
from distverify.bounds.enclosure import Enclosure, Steepness, enclose
from distverify.bounds.gradient import jacobian_at
from distverify.bounds.lipschitz import induced_norm, product_of_norms
from distverify.bounds.methods import bound_rows
from distverify.network.graph import Network
from distverify.questions.pieces import Arrays
from distverify.region import Ball

Floats = NDArray[np.float64]


class Bounder(Protocol):
    """Bounds of one network, by methods that are chosen once."""

    @property
    def network(self) -> Network: ...

    def enclose(self, region: Ball) -> Steepness:
        """Bounds of every node over ``region``: what the other questions about that region are asked with."""
        ...

    def margins(self, known: Steepness, rows: Floats) -> Floats:
        """CROWN's lower bounds of ``rows @ f``, ``rows`` float64 [K, outputs], over the region: float64 [K]."""
        ...

    def rows(self, known: Steepness, rows: Floats, wanted: Wanted) -> Arrays:
        """What is wanted of the derivatives of ``rows @ f`` over the region, by name."""
        ...

    def gradient_norms(self, x0: Floats, rows: Floats, norm: float, weights: Floats | None) -> Floats:
        """Dual norms of the gradients of ``rows @ f`` at ``x0``, about: float64 [K]. Only choices of radii rest on them."""
        ...


@dataclass(frozen=True, eq=False)
class Whole:
    """Every bound is computed here, as one.

    Attributes
    ----------
    network : Network
    method, layer_bounds : see :func:`distverify.jacobian_bounds`
    block_bytes : int
        Memory for the columns in flight.
    """

    network: Network
    method: str = "linear"
    layer_bounds: str = "crown"
    block_bytes: int = BLOCK_BYTES

    def enclose(self, region: Ball) -> Enclosure:
        """See :class:`Bounder`."""
        return enclose(self.network, region, self.layer_bounds)

    def margins(self, known: Steepness, rows: Floats) -> Floats:
        """See :class:`Bounder`."""
        return crown.row_bounds(_enclosure(known).reduced, rows)[0]

    def rows(self, known: Steepness, rows: Floats, wanted: Wanted) -> Arrays:
        """See :class:`Bounder`."""
        bounds = bound_rows(_enclosure(known), rows, self.method, wanted.direction, self.block_bytes)
        facts = row_facts(bounds, wanted.parts, wanted.norm, wanted.weights)
        if "vector" in wanted.facts:
            facts["vector"] = vector_fact(known, facts["constants"], facts.pop("parts"), wanted.norm, wanted.weights)
        return facts

    def gradient_norms(self, x0: Floats, rows: Floats, norm: float, weights: Floats | None) -> Floats:
        """See :class:`Bounder`."""
        return gradient_norms(self.network, x0, rows, norm, weights)


def _enclosure(known: Steepness) -> Enclosure:
    if not isinstance(known, Enclosure):
        raise TypeError(f"known: got {type(known).__name__}; give what enclose() of the same bounder returned")
    return known


def vector_fact(
    known: Steepness, constants: NDArray[np.generic], parts: NDArray[np.generic], norm: float, weights: Floats | None
) -> Floats:
    """The constant of the vector output from all rows' constants and parts, never above the product of norms: float64 []."""
    induced = induced_norm(_floats(constants), norm, _floats(parts), known.network.input_size)
    return np.array(min(induced, product_of_norms(known, norm, weights=weights)))


def gradient_norms(network: Network, x0: Floats, rows: Floats, norm: float, weights: Floats | None) -> Floats:
    """See :meth:`Bounder.gradient_norms`."""
    dual = {np.inf: 1, 2.0: 2, 1.0: np.inf}[norm]
    gradients = jacobian_at(network, x0[None], rows)[0]
    if weights is not None:
        gradients = gradients * weights
    return np.asarray(np.linalg.norm(gradients, ord=dual, axis=1))


def _floats(values: NDArray[np.generic]) -> Floats:
    return np.asarray(values, dtype=np.float64)
