"""Bounds of the outputs themselves over a region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distverify.arguments import network_of
from distverify.bounds.enclosure import enclose
from distverify.bounds.evaluation import EvaluationError
from distverify.bounds.jacobian import check_methods
from distverify.errors import SettingsError
from distverify.network.graph import Network
from distverify.region import Ball, region_of
from distverify.settings import ARITHMETICS

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OutputBounds:
    """``lower <= f(x) <= upper`` for every x of the region.

    Attributes
    ----------
    lower, upper : float64 [outputs]
        Valid in exact arithmetic, and in single precision where that was asked for.
    """

    lower: Floats
    upper: Floats

    def widened(self, error: Floats) -> OutputBounds:
        """The bounds with ``error`` float64 [outputs] on both sides."""
        return OutputBounds(np.nextafter(self.lower - error, -np.inf), np.nextafter(self.upper + error, np.inf))


def output_bounds(
    network: Network,
    region: Ball,
    *,
    layer_bounds: str = "crown",
    precision: str | None = None,
    arithmetic: str = "exact",
) -> OutputBounds:
    """Bound every output of ``network`` over ``region``.

    Parameters
    ----------
    network : Network
    region : Ball or Box
        Over an unbounded one the bounds are infinite.
    layer_bounds : "alpha", "crown" or "interval"
        How pre-activations are bounded; outputs are bounded by CROWN (Zhang et al., NeurIPS 2018) and interval arithmetic, whichever
        is tighter.
    precision : "float64" or "float32", optional
        Of matrix products, by default the network's; sound either way.

    arithmetic : "exact" or "float32"
        What the bounds hold for: the network in exact arithmetic, or also as it runs in single precision, in any order of
        summation.

    Returns
    -------
    OutputBounds

    Raises
    ------
    SettingsError
        An unknown name.
    ModelError
        A region of another size than the network's input.
    """
    check_methods("linear", layer_bounds)
    if arithmetic not in ARITHMETICS:
        raise SettingsError(f"arithmetic: got {arithmetic!r}; choose {', '.join(ARITHMETICS)}")
    network, region = network_of(network, precision), region_of(region)
    if region.unbounded:
        everything = np.full(network.output_size, np.inf)
        return OutputBounds(-everything, everything)
    enclosure = enclose(network, region, layer_bounds)
    lower = enclosure.row_minima(both_sides(network.output_size))
    bounds = tightest(lower, (enclosure.lower[network.output], enclosure.upper[network.output]))
    if arithmetic == "exact":
        return bounds
    nodes = dict(enumerate(zip(enclosure.lower, enclosure.upper, strict=True)))
    return bounds.widened(EvaluationError(network).error(region, nodes))


def both_sides(outputs: int) -> Floats:
    """Rows whose lower bounds are those of the outputs and of their negatives: float64 [2 outputs, outputs]."""
    return np.concatenate([np.eye(outputs), -np.eye(outputs)])


def tightest(lower: Floats, node: tuple[Floats, Floats] | None) -> OutputBounds:
    """The bounds from those of :func:`both_sides`, and from those of the output node where there are such."""
    half = lower.size // 2
    low, high = lower[:half], -lower[half:]
    if node is not None:
        low, high = np.fmax(low, node[0]), np.fmin(high, node[1])
    # What overflowed says nothing.
    return OutputBounds(np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high))
