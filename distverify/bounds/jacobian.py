"""Element-wise bounds of the Jacobian over a region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distverify.arguments import network_of, numbers
from distverify.bounds.enclosure import enclose
from distverify.bounds.methods import bound_rows
from distverify.errors import ModelError, SettingsError
from distverify.network.graph import Network
from distverify.region import Ball, region_of
from distverify.settings import DIRECTIONS, LAYER_BOUNDS, canonical_method

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class JacobianBounds:
    """``lower <= J(x) <= upper`` for every x of the region where f is differentiable (at kinks: for the Clarke Jacobian).

    Attributes
    ----------
    lower, upper : float64 [rows, inputs]
        Valid in exact arithmetic.
    """

    lower: Floats
    upper: Floats


def jacobian_bounds(
    network: Network,
    region: Ball,
    *,
    method: str = "linear",
    layer_bounds: str = "crown",
    direction: str = "auto",
    precision: str | None = None,
    rows: Sequence[int] | None = None,
    C: ArrayLike | None = None,
) -> JacobianBounds:
    """Bound every entry of the Jacobian of ``network`` over ``region``.

    Parameters
    ----------
    network : Network
    region : Ball
    method : "linear", "recurjac" or "interval" (also named "fastlip")
        Sources: Shi et al., NeurIPS 2022; Zhang et al., AAAI 2019; Weng et al., ICML 2018.
    layer_bounds : "alpha", "crown" or "interval"
        How pre-activations are bounded.
    direction : "auto", "backward", "forward" or "both"
        One chain per output row, one per input, whichever is cheaper, or the intersection of both (tighter than either).
    precision : "float64" or "float32", optional
        Of matrix products, by default the network's; sound either way.
    rows : sequence of int, optional
        Output rows to bound; all by default.
    C : array_like [K, outputs], optional
        Bound the Jacobian of C f instead (margins: rows e_c - e_j).

    Returns
    -------
    JacobianBounds
        ``lower`` and ``upper`` float64 [K, inputs]: sound, rounding included.

    Raises
    ------
    SettingsError
        Unknown method, rows out of range, ``C`` of the wrong shape, both ``rows`` and ``C``.
    ModelError
        A network that jumps.
    """
    check_methods(method, layer_bounds, direction)
    network, region = network_of(network, precision), region_of(region)
    check_differentiable(network)
    combined = output_rows(network, rows, C)
    bounds = bound_rows(enclose(network, region, layer_bounds), combined, method, direction)
    return JacobianBounds(bounds.lower, bounds.upper)


def check_methods(method: str, layer_bounds: str, direction: str = "auto") -> None:
    """Refuse unknown names."""
    canonical_method(method)
    for name, value, choices in (
        ("layer_bounds", layer_bounds, LAYER_BOUNDS),
        ("direction", direction, DIRECTIONS),
    ):
        if value not in choices:
            raise SettingsError(f"{name}: got {value!r}; choose {', '.join(choices)}")


def check_differentiable(network: Network) -> None:
    """Refuse a network that jumps."""
    if network.jump:
        raise ModelError(
            f"network: jumps ({network.jump}), and has no derivatives there; bound its outputs, margins or radii instead"
        )


def output_rows(network: Network, rows: Sequence[int] | None, C: ArrayLike | None) -> Floats:
    """The matrix [K, outputs] that ``rows`` or ``C`` stand for."""
    size = network.output_size
    if C is not None:
        if rows is not None:
            raise SettingsError("rows, C: give one of them, not both")
        matrix = np.ascontiguousarray(numbers("C", C, f"a matrix [K, {size}], a column for each output"))
        if matrix.ndim != 2 or matrix.shape[1] != size or matrix.shape[0] < 1:
            raise SettingsError(f"C: got shape {matrix.shape}; give [K, {size}], a column for each output")
        if not np.isfinite(matrix).all():
            raise SettingsError(f"C: {int((~np.isfinite(matrix)).sum())} values are NaN or infinite")
        return matrix
    which = (
        np.arange(size) if rows is None else numbers("rows", rows, f"output rows between 0 and {size - 1}").reshape(-1)
    )
    chosen = which.astype(np.int64)
    if chosen.size == 0 or (chosen != which).any() or (chosen < 0).any() or (chosen >= size).any():
        raise SettingsError(f"rows: got {chosen.tolist()}; give output rows between 0 and {size - 1}")
    return np.ascontiguousarray(np.eye(size)[chosen])


def margin_rows(outputs: int, label: int, targets: Sequence[int] | None = None) -> Floats:
    """Rows e_label - e_j for every other class j (or those of ``targets``): float64 [targets, outputs]."""
    others = [j for j in range(outputs) if j != label] if targets is None else list(targets)
    rows = np.zeros((len(others), outputs))
    rows[:, label] = 1.0
    rows[np.arange(len(others)), others] -= 1.0
    return rows
