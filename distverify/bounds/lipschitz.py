"""Lipschitz constants from Jacobian bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distverify.bounds.enclosure import enclose
from distverify.bounds.jacobian import check_methods, output_rows
from distverify.bounds.methods import RowBounds, bound_rows
from distverify.errors import SettingsError
from distverify.kernels.rounding import SOUND, Rounding
from distverify.network.graph import Network
from distverify.region import Ball
from distverify.settings import NORMS

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LipschitzConstants:
    """Lipschitz constants over a region, for the region's norm at the input.

    Attributes
    ----------
    rows : float64 [outputs]
        |f_k(x) - f_k(y)| <= rows[k] ||x - y||_p: the dual norm of each Jacobian row.
    vector : float
        ||f(x) - f(y)||_p <= vector ||x - y||_p: the induced norm.
    """

    rows: Floats
    vector: float


def lipschitz_constant(
    network: Network,
    region: Ball | None = None,
    *,
    norm: float | None = None,
    method: str = "linear",
    layer_bounds: str = "crown",
) -> LipschitzConstants:
    """Local Lipschitz constants over ``region``, or global ones without a region.

    Parameters
    ----------
    network : Network
    region : Ball, optional
        Its norm is the norm of the constants.
    norm : inf, 2 or 1, optional
        For global constants (default inf); with a region, leave it out.
    method, layer_bounds
        As for :func:`jacobian_bounds`.

    Returns
    -------
    LipschitzConstants
        Upper bounds, valid in exact arithmetic.

    Raises
    ------
    SettingsError
        ``norm`` given beside a region, or not one of inf, 2, 1; unknown methods.
    """
    check_methods(method, layer_bounds)
    if region is not None and norm is not None and float(norm) != region.norm:
        raise SettingsError(f"norm: got {norm:g} beside a region of norm {region.norm:g}; leave norm out")
    if region is None:
        if norm is not None and float(norm) not in NORMS:
            raise SettingsError(f"norm: got {norm}; choose inf, 2 or 1")
        region = Ball(np.zeros(network.input_size), np.inf, math.inf if norm is None else norm)
    bounds = bound_rows(enclose(network, region, layer_bounds), output_rows(network, None, None), method)
    rows = row_constants(bounds, region.norm)
    return LipschitzConstants(rows, vector_constant(bounds, rows, region.norm))


def row_constants(bounds: RowBounds, norm: float, rounding: Rounding = SOUND) -> Floats:
    """Dual norm of each row, float64 [K]: upper bounds.

    For norm inf, columns of known sign are merged first: their signed sum is one function whose derivative a single pushed
    column bounds, at least as tightly as the sum of their bounds in exact arithmetic and usually more so.
    """
    magnitude = bounds.magnitude
    grow = 1.0 + rounding.gamma(magnitude.shape[1] + 2)
    if norm == 1.0:
        return np.asarray(magnitude.max(axis=1))
    if norm == 2.0:
        scale = magnitude.max(axis=1)
        safe = np.where((scale > 0) & np.isfinite(scale), scale, 1.0)
        return np.asarray(safe * np.sqrt(((magnitude / safe[:, None]) ** 2).sum(axis=1)) * grow)
    plain = magnitude.sum(axis=1) * grow
    if not bounds.pushes:
        return np.asarray(plain)
    signs = np.where(bounds.lower >= 0, 1.0, np.where(bounds.upper <= 0, -1.0, 0.0))
    unknown = np.where(signs == 0, magnitude, 0.0).sum(axis=1)
    _, merged = bounds.merged_columns(signs.T)
    return np.asarray(np.fmin(plain, (np.maximum(merged, 0.0) + unknown) * grow))


def vector_constant(bounds: RowBounds, rows: Floats, norm: float, rounding: Rounding = SOUND) -> float:
    """Induced p -> p norm over all rows: an upper bound.

    inf: the largest row constant. 1: the largest column sum. 2: the spectral norm of the elementwise maximum, bounded by
    Collatz and Wielandt's quotient: for M >= 0 and any x > 0, ||M||_2^2 <= max_i (M^T M x)_i / x_i.
    """
    magnitude = bounds.magnitude
    grow = 1.0 + rounding.gamma(sum(magnitude.shape) + 4)
    if norm == math.inf:
        return float(rows.max())
    if norm == 1.0:
        return float(magnitude.sum(axis=0).max() * grow)
    largest = float(magnitude.max())
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    scaled = magnitude / largest
    # The row constants' own norm (Frobenius) is always valid; the quotient needs a positive vector close to Perron's.
    bound = float(np.sqrt(((rows / largest) ** 2).sum()) * grow)
    gram = scaled @ scaled.T if scaled.shape[0] <= scaled.shape[1] else scaled.T @ scaled
    x = np.linalg.eigh(gram)[1][:, -1]
    x = np.abs(x) + 1e-6 * np.abs(x).max()
    quotient = float((gram @ x / x).max()) * grow * grow * (1.0 + 8 * rounding.unit)
    return min(bound, math.sqrt(quotient) * grow) * largest * (1.0 + 4 * rounding.unit)
