"""The l2 Lipschitz constant of a chain of dense layers, by one matrix inequality per layer: ECLipsE-Fast, with proofs.

For two inputs let d_i be the difference of what activation i gives, and d_0 that of the inputs. Matrices X_i with

    d_i^T X_i d_i <= ||d_0||^2

are found layer after layer. With z = W d_(i-1), every neuron's slope in [a, b] and any t >= 0,

    t (d_i - a z)^T (b z - d_i) >= 0,     so that     d_i^T X_i d_i <= d_(i-1)^T X_(i-1) d_(i-1)

follows once the block matrix

    [ X_(i-1) + t a b W^T W    -t (a + b) / 2 W^T ]
    [ -t (a + b) / 2 W          t I - X_i         ]

is positive semidefinite. The best t for ||W X_(i-1)^-1 W^T|| is a root of a quadratic. Source: Xu and Sivaranjani, NeurIPS 2024
(arXiv 2404.04375), where a = 0. Whatever floating point makes of X_i, the inequality is proved for it as it is stored: the block
matrix has a Cholesky factorisation with its diagonal lowered by all that rounding may have done (Rump, BIT 46, 2006).
"""

from __future__ import annotations

import math

import numpy as np

from distverify.bounds.enclosure import Steepness
from distverify.bounds.reduced import Floats
from distverify.kernels.rounding import SOUND
from distverify.network.graph import Network
from distverify.network.linear.dense import Dense
from distverify.network.nodes import ActivationNode, InputNode, LinearNode

# Inputs and outputs of a layer: larger blocks take too long to factorise.
_MOST = 2048
# By how much X_i stays below the best one, as multiples of what rounding may cost: the first that can be proved.
_STEPS_DOWN = (8.0, 64.0, 512.0, 4096.0, 32768.0)
# Multipliers beyond make matrices of a condition that no factorisation proves.
_LARGEST = 1e4


def chain_constants(enclosure: Steepness, weights: Floats | None = None) -> tuple[Floats, float]:
    """Upper bounds of the l2 constants of each output row, float64 [outputs], and of all of them; inf where there is no chain.

    Parameters
    ----------
    enclosure : Steepness
        Constants are for the slopes that it gives.
    weights : float64 [inputs], optional
        One factor per feature, which scale the norm at the input.
    """
    network = enclosure.network
    nothing = np.full(network.output_size, math.inf), math.inf
    layers = _layers(network)
    if not layers:
        return nothing
    x, exponent = np.eye(network.input_size), 0
    rows, rounded = np.eye(network.output_size), 0
    for weight, roundings, activation in layers:
        # Not a product: columns of fixed features are left out, others of weight 1 are as they are; see feature_factors.
        w = _in_range(weight if weights is None or weight is not layers[0][0] else weight * (weights != 0.0))
        if w is None:
            return nothing
        if activation < 0:
            rows, rounded = w, 4 * roundings
            break
        glo, ghi = enclosure.slopes[activation]
        low, high = float(glo.min()), float(ghi.max())
        found = _next(x, w, low, high, 4 * roundings)
        if found is None:
            return nothing
        x, shift = found
        exponent += shift
    scale = math.ldexp(1.0, -exponent // 2) if -1000 < exponent // 2 < 1000 else math.inf
    vector = _last(x, rows, rounded)
    own = np.array([_last(x, row[None], rounded) for row in rows])
    return np.minimum(own, vector) * scale, vector * scale


def least(rows: Floats, vector: float, others: tuple[Floats, float]) -> tuple[Floats, float]:
    """The smaller ones of two kinds of constants, of rows float64 [K] and of all of them."""
    return np.fmin(rows, others[0]), min(vector, others[1])


def _layers(network: Network) -> list[tuple[Floats, int, int]]:
    """Of a chain of dense layers: (weight float64, roundings of its entries, activation node or -1 for linear outputs); else nothing."""
    layers: list[tuple[Floats, int, int]] = []
    waiting: tuple[Floats, int] | None = None
    for index, node in enumerate(network.nodes):
        if isinstance(node, InputNode):
            continue
        if isinstance(node, LinearNode) and waiting is None:
            operator = node.terms[0].operator
            if len(node.terms) != 1 or node.terms[0].source != index - 1 or not isinstance(operator, Dense):
                return []
            if operator.in_size + operator.out_size > _MOST:
                return []
            waiting = operator.weight.astype(np.float64), operator.roundings
        elif isinstance(node, ActivationNode) and waiting is not None and node.source == index - 1:
            layers.append((*waiting, index))
            waiting = None
        else:
            return []
    if network.output != len(network.nodes) - 1:
        return []
    return layers if waiting is None else [*layers, (*waiting, -1)]


def _in_range(weight: Floats) -> Floats | None:
    """``weight`` where no square of it overflows or vanishes; None elsewhere."""
    size = float(np.abs(weight).max(initial=0.0))
    return weight if 1e-100 < size < 1e100 else None


def _next(x: Floats, w: Floats, low: float, high: float, rounded: int) -> tuple[Floats, int] | None:
    """X behind the next activation, divided by 2 to an even power, and that power; None where nothing is proved.

    ``rounded``: relative roundings that products with the weights are off by, since they are rounded themselves.
    """
    n = w.shape[0]
    try:
        gram = w @ np.linalg.solve(x, w.T)
        values, vectors = np.linalg.eigh(0.5 * (gram + gram.T))
    except np.linalg.LinAlgError:
        return None
    largest = float(values[-1])
    both, product = 0.5 * (low + high), low * high
    if not (largest > 0.0 and math.isfinite(largest) and math.isfinite(both)):
        return None
    t = _best(both, product) / largest
    if not 0.0 < t < math.inf:
        return None
    values = np.maximum(values, 0.0)
    best = t - (both * t) ** 2 * values / (1.0 + product * t * values) if both else np.full(n, t)
    # Congruent by a power of two, so that all blocks are of about the same size.
    first = x + (t * product) * (w.T @ w)
    side = math.ldexp(1.0, round(0.5 * math.log2(max(float(np.linalg.norm(first)), 1e-300) / t)))
    off = -t * both * side * w
    steepest = max(abs(low), abs(high))
    size = float(np.linalg.norm(x)) + t * steepest * steepest * float((w * w).sum()) + side * side * t * n
    lost = _lost(x.shape[0] + n + rounded, size + 2.0 * t * steepest * side * float(np.linalg.norm(w)))
    for factor in _STEPS_DOWN:
        down = factor * lost / (side * side)
        new = (vectors * (best - down)) @ vectors.T
        new = 0.5 * (new + new.T)
        last = side * side * (t * np.eye(n) - new)
        if _positive(np.block([[first, off.T], [off, last]]), lost + _lost(n, float(np.linalg.norm(last)))):
            power = 2 * round(0.5 * math.log2(max(float(np.trace(new)) / n, 1e-300)))
            return np.ldexp(new, -power), power
    return None


def _best(both: float, product: float) -> float:
    """The t that makes the least of t - both^2 t^2 / (1 + product t) largest, for the norm 1."""
    square = both * both
    if square == 0.0:  # sine: what is left of t I is at most 1 / (-product)
        return (1.0 - 1e-9) / -product if product < 0.0 else 1.0
    # (product^2 - square product) t^2 + 2 (product - square) t + 1 = 0
    a, b = product * product - square * product, product - square
    denominator = -b + math.sqrt(max(b * b - a, 0.0))
    # For a single slope there is no largest t; what is lost is its share of 1 / t.
    return 1.0 / max(denominator, square / _LARGEST)


def _last(x: Floats, rows: Floats, rounded: int) -> float:
    """s with ||rows d||^2 <= s^2 d^T X d for all d, proved; inf where it is not."""
    size = float(np.abs(rows).max(initial=0.0))
    if size == 0.0:
        return 0.0
    if _in_range(rows) is None:
        return math.inf
    try:
        gram = rows @ np.linalg.solve(x, rows.T)
        largest = float(np.linalg.eigvalsh(0.5 * (gram + gram.T))[-1])
    except np.linalg.LinAlgError:
        return math.inf
    if not 0.0 < largest < math.inf:
        return math.inf
    product = rows.T @ rows
    total = float(np.linalg.norm(x)) + float((rows * rows).sum()) / largest
    lost = _lost(x.shape[0] + rows.shape[0] + rounded, total)
    for factor in (1.0 + 1e-9, 1.0 + 1e-7, 1.0 + 1e-4, 1.1):
        square = largest * factor
        if _positive(x - product / square, lost):
            return math.sqrt(square) * (1.0 + 4.0 * SOUND.unit)
    return math.inf


def _lost(terms: int, size: float) -> float:
    """What rounding of sums of ``terms`` products may change of a symmetric matrix of that Frobenius norm, and to spare."""
    return 2.0 * SOUND.gamma(terms + 12) * size


def _positive(matrix: Floats, lost: float) -> bool:
    """Whether the symmetric matrix, off by at most ``lost`` in the spectral norm, is certainly positive semidefinite."""
    n = matrix.shape[0]
    # A factorisation that ends proves the matrix to be positive but for gamma_(n + 1) times its trace.
    shift = lost + 2.0 * SOUND.gamma(n + 2) * float(np.abs(np.diagonal(matrix)).sum())
    lowered = matrix.copy()
    lowered[np.diag_indices(n)] -= 1.01 * shift + SOUND.tiny
    try:
        factor = np.linalg.cholesky(lowered)
    except np.linalg.LinAlgError:
        return False
    return bool(np.isfinite(factor).all())
