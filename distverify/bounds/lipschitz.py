"""Lipschitz constants from Jacobian bounds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distverify.bounds.enclosure import Steepness
from distverify.bounds.methods import RowBounds
from distverify.bounds.midpoints import midpoint_radius
from distverify.kernels.rounding import SOUND, Rounding
from distverify.network.linear.operator import LinearOperator
from distverify.network.linear.spectral_norm import spectral_norm_bound
from distverify.network.nodes import ActivationNode, LinearNode

Floats = NDArray[np.float64]

# Rounding is relative above the one; no positive number is below the other.
_SMALL, _LEAST = 1e-290, 2.0**-1074


def row_constants(
    bounds: RowBounds, norm: float, rounding: Rounding = SOUND, *, weights: Floats | None = None
) -> Floats:
    """Dual norm of each row, float64 [K]: upper bounds.

    For norm inf, all columns are merged first: |J_j| <= s_j J_j + t_j by the chord of the magnitude over J_j's bounds, and the sum
    of s_j J_j is the derivative of one function, which a single pushed column bounds: at least as tightly as the sum of the
    columns' own bounds in exact arithmetic, and usually more so.

    Parameters
    ----------
    weights : float64 [inputs], optional
        For the constants in the norm ||(x - y) / weights||: each column counts times its weight.
    """
    plain = dual_norms(weighted(bounds.magnitude, weights), norm, rounding)
    if norm != math.inf or not bounds.pushes:
        return plain
    grow = 1.0 + rounding.gamma(bounds.lower.shape[1] + 3)
    slopes, constants = magnitude_chords(bounds.lower, bounds.upper, weights, bounds.pushes[0].rounding.dtype)
    _, merged = bounds.merged_columns(np.ascontiguousarray(slopes.T))
    chords = merged + constants.sum(axis=1) * grow
    return np.asarray(np.fmin(plain, np.maximum(chords * (1.0 + 2 * rounding.unit), 0.0)))


def dual_norms(magnitude: Floats, norm: float, rounding: Rounding = SOUND) -> Floats:
    """Dual norms along the last axis of ``magnitude`` >= 0, float64 [..., n]: upper bounds [...], whatever their scale."""
    grow = 1.0 + rounding.gamma(magnitude.shape[-1] + 3)
    if norm == 1.0:
        return np.asarray(magnitude.max(axis=-1))
    if norm == math.inf:
        return np.asarray(magnitude.sum(axis=-1) * grow)
    scale = magnitude.max(axis=-1)
    safe = np.where((scale > 0) & np.isfinite(scale), scale, 1.0)
    return _not_below(safe * np.sqrt(((magnitude / safe[..., None]) ** 2).sum(axis=-1)) * grow)


def magnitude_chords(
    lower: Floats, upper: Floats, weights: Floats | None = None, dtype: type[np.floating[Any]] = np.float64
) -> tuple[Floats, Floats]:
    """Slopes s and constants t >= 0 with w |y| <= s y + t for every y in [lower, upper], in exact arithmetic.

    Parameters
    ----------
    lower, upper : float64 [K, n]
    weights : float64 [n], optional
        w >= 0, else 1.
    dtype : float64 or float32
        The slopes are numbers of this type.

    Returns
    -------
    s, t : float64 [K, n]
        The chord of the magnitude where the sign of y is open, else w or -w with t = 0 (up to rounding w to ``dtype``).
    """
    w = np.ones(lower.shape[1]) if weights is None else weights
    with np.errstate(invalid="ignore", divide="ignore"):
        chord = np.where(lower >= 0, 1.0, np.where(upper <= 0, -1.0, (upper + lower) / (upper - lower)))
        chord = np.where(np.isfinite(chord), chord, 0.0)
        slopes = (chord * w).astype(dtype).astype(np.float64)
        # w |y| - s y is convex and 0 at 0: largest at an end. Two roundings each, and underflow.
        left = np.where(lower < 0, w + slopes, slopes - w) * -lower
        right = np.where(upper > 0, w - slopes, -w - slopes) * upper
        largest = np.fmax(np.fmax(left, right), 0.0) * (1.0 + 4 * SOUND.unit) + SOUND.eta
    exact = ((lower >= 0) & (slopes == w)) | ((upper <= 0) & (slopes == -w))
    return slopes, np.where(exact, 0.0, largest)


def vector_constant(
    bounds: RowBounds,
    rows: Floats,
    norm: float,
    enclosure: Steepness,
    rounding: Rounding = SOUND,
    *,
    weights: Floats | None = None,
) -> float:
    """Induced p -> p norm over all outputs: an upper bound, never above :func:`product_of_norms`.

    Parameters
    ----------
    bounds, rows : of all outputs, with ``rows`` their :func:`row_constants`
    """
    product = product_of_norms(enclosure, norm, weights=weights)
    return min(induced_norm(rows, norm, vector_parts(bounds, norm, weights), bounds.lower.shape[1], rounding), product)


def vector_parts(bounds: RowBounds, norm: float, weights: Floats | None = None) -> Floats:
    """What :func:`induced_norm` needs of some rows besides their constants; parts of blocks are stacked.

    inf: nothing, float64 [0, inputs]. 1: the sum over the rows, [1, inputs]. 2: both bounds of every row, [rows, 2, inputs].
    """
    if norm == math.inf:
        return np.zeros((0, bounds.lower.shape[1]))
    if norm == 1.0:
        return np.asarray(weighted(bounds.magnitude, weights).sum(axis=0)[None])
    lower, upper = bounds.lower, bounds.upper
    if weights is not None:  # factors 0 and 1: exact, but what is unbounded of a fixed feature
        lower, upper = (np.where(weights > 0.0, side, 0.0) for side in (lower, upper))
    return np.stack([lower, upper], axis=1)


def induced_norm(rows: Floats, norm: float, parts: Floats, inputs: int, rounding: Rounding = SOUND) -> float:
    """Induced p -> p norm of every matrix within bounds: an upper bound.

    inf: the largest row constant. 1: the largest column sum. 2: the spectral norm of the elementwise maximum, bounded by
    Collatz and Wielandt's quotient: for M >= 0 and any x > 0, ||M||_2^2 <= max_i (M^T M x)_i / x_i; or that of the middles plus
    that of the radii, which is exact where bounds are points: signs count.

    Parameters
    ----------
    rows : float64 [K]
        The :func:`row_constants` of all rows.
    parts : float64
        Their :func:`vector_parts`.
    """
    grow = 1.0 + rounding.gamma(rows.size + inputs + 4)
    if norm == math.inf:
        return float(rows.max())
    if norm == 1.0:
        return float(parts.sum(axis=0).max() * grow)
    lower, upper = parts[:, 0], parts[:, 1]
    magnitude = np.maximum(np.abs(lower), np.abs(upper))
    largest = float(magnitude.max())
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    scaled = magnitude / largest
    # The row constants' own norm (Frobenius) is always valid; the quotient needs a positive vector close to Perron's.
    bound = float(np.sqrt(((rows / largest) ** 2).sum()) * grow)
    gram = scaled @ scaled.T if scaled.shape[0] <= scaled.shape[1] else scaled.T @ scaled
    # Powers times a positive vector: blocks that do not mix keep the shape of their own Perron vectors, however small.
    x = np.ones(gram.shape[0])
    for _ in range(64):
        y = gram @ x
        x = np.maximum(y / y.max(), 1e-250)
    quotient = float((gram @ x / x).max()) * grow * grow * (1.0 + 8 * rounding.unit)
    found = float(_not_below(min(bound, math.sqrt(quotient) * grow) * largest * (1.0 + 4 * rounding.unit)))
    return min(found, _spectral_constant(lower, upper))


def _spectral_constant(lower: Floats, upper: Floats) -> float:
    """Spectral norm of every matrix within bounds, float64 [K, n] each: at most that of the middle plus that of the radii."""
    middle, spread = midpoint_radius(lower, upper)
    if not (np.isfinite(middle).all() and np.isfinite(spread).all()):
        return math.inf
    both = spectral_norm_bound(middle) + spectral_norm_bound(spread)
    return float(_not_below(both * (1.0 + 4 * SOUND.unit)))


def product_of_norms(enclosure: Steepness, norm: float, *, weights: Floats | None = None) -> float:
    """The textbook bound of the vector output's Lipschitz constant: layer by layer, norm of the weights times steepest slope.

    Slopes are those over the enclosure's region, so that over the whole space it is the global bound (Szegedy et al., ICLR 2014);
    where branches meet, their products add up.
    """
    network = enclosure.network
    constants = np.zeros(len(network.nodes))
    constants[0] = 1.0 if weights is None else float(np.max(weights))
    with np.errstate(over="ignore", invalid="ignore"):
        for index, node in enumerate(network.nodes):
            if isinstance(node, ActivationNode):
                glo, ghi = enclosure.slopes[index]
                steepest = max(float(np.abs(glo).max()), float(np.abs(ghi).max()))
                constants[index] = _times(constants[node.source], steepest)
            elif isinstance(node, LinearNode):
                constants[index] = sum(
                    float(_times(constants[t.source], _operator_norm(t.operator, norm))) for t in node.terms
                )
    terms = sum(len(node.sources) + 2 for node in network.nodes)
    product = float(constants[network.output]) * (1.0 + SOUND.gamma(terms))
    return product if not math.isnan(product) else math.inf


def _operator_norm(operator: LinearOperator, norm: float) -> float:
    """A bound of the operator's induced p -> p norm."""
    if norm == 2.0:
        return operator.norm
    grow = 1.0 + SOUND.gamma(operator.in_size + operator.out_size + operator.roundings)
    if norm == math.inf:
        return float(operator.push_abs(np.ones((operator.in_size, 1))).max()) * grow
    return float(operator.pull_abs(np.ones((1, operator.out_size))).max()) * grow


def weighted(magnitude: Floats, weights: Floats | None) -> Floats:
    """``magnitude`` >= 0, float64 [..., n], times one factor per feature: not below it."""
    return magnitude if weights is None else _times(magnitude, weights)


def _times(a: Floats | float, b: Floats | float) -> Floats:
    """a b for numbers >= 0, below which underflow does not lead: 0 only where a factor is."""
    product = np.asarray(a) * b
    return np.where((np.asarray(a) > 0) & (np.asarray(b) > 0), _not_below(np.maximum(product, _LEAST)), product)


def _not_below(values: Floats | float) -> Floats:
    """Numbers >= 0, larger where they are so small that their last rounding was not relative."""
    values = np.asarray(values)
    return np.where((values > 0) & (values < _SMALL), np.nextafter(values * (1.0 + 1e-9), np.inf), values)
