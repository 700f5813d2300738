"""The reduced network as one block-triangular matrix over a unit ball: what searches and optimised slopes work on.

Inputs are t = (x - middle) / reach, so that the region lies in ``||t||_p <= 1`` (p = inf: a cube), for norms 2 and 1 possibly cut
by a box. Features that cannot move are constants. A pre-activation is

    z_i = bias_i + weight_i . (t, a),     off by at most ``error_i``,

where row i reads the inputs and the neurons of earlier groups only: columns ``begins_i`` to ``ends_i``.

Rounding: what a unit coefficient of z_i may lose when it is pulled back (``loss``) is the error of z_i itself, the rounding of the
coefficient's product with a slope, and of every sum that its row takes part in: gamma times sum_j |weight_ij| |a_j|, with |t| <= 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from distverify.bounds.reduced import Affine, Floats, Reduced
from distverify.kernels.activations import ACTIVATIONS
from distverify.kernels.rounding import SOUND, Rounding
from distverify.kernels.sums import abs_sums

_T = TypeVar("_T")
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Lines:
    """Lines above and below every neuron's activation, float64 [N] each; ``free``: any slope in [lowest, 1] is sound below."""

    su: Floats
    cu: Floats
    sl: Floats
    cl: Floats
    free: Flags

    @property
    def open(self) -> Flags:
        """Neurons whose activation is not one line, [N]."""
        return np.asarray((self.su != self.sl) | (self.cu != self.cl))

    def copy(self) -> Lines:
        """Arrays of its own."""
        return Lines(self.su.copy(), self.cu.copy(), self.sl.copy(), self.cl.copy(), self.free.copy())


@dataclass(frozen=True, eq=False)
class Rows:
    """Affine functions of the packed network's inputs and neurons, each off by at most ``error``.

    Attributes
    ----------
    weight : float64 [R, n + N]
    constant, error : float64 [R]
    top : int64 [R]
        Neurons from there on have no coefficient.
    """

    weight: Floats
    constant: Floats
    error: Floats
    top: Indices

    @property
    def count(self) -> int:
        return int(self.constant.size)

    def take(self, which: Indices) -> Rows:
        """Some of them."""
        return Rows(np.ascontiguousarray(self.weight[which]), self.constant[which], self.error[which], self.top[which])

    def negative(self) -> Rows:
        """Their negatives: lower bounds of these are upper bounds of the others."""
        return Rows(-self.weight, -self.constant, self.error, self.top)


@dataclass(frozen=True, eq=False)
class Packed:
    """See the module's docstring.

    Attributes
    ----------
    features : int64 [n]
        Which features the inputs are.
    middle, reach : float64 [D]
        Of all features.
    norm, boxed, lo, hi : float, bool, float64 [n]
        The ball, and the box that cuts it (norms 2 and 1).
    weight : float64 [N, n + N]
    begins, ends : int64 [N]
        The same for all neurons of a group.
    bias, loss : float64 [N]
    underflow : float
        What a row may lose to underflow, whatever its coefficients.
    magnitude : float64 [n + N]
        Bounds of |t| (1) and of |a|.
    code, parameters : int64 [N], float64 [PARAMETER_ROWS, N]
        The activations.
    lines : Lines
        Over the whole region.
    columns : int64 [groups + 1]
        Where each group's columns begin.
    """

    reduced: Reduced
    rounding: Rounding
    features: Indices
    middle: Floats
    reach: Floats
    norm: float
    boxed: bool
    lo: Floats
    hi: Floats
    weight: Floats
    begins: Indices
    ends: Indices
    bias: Floats
    loss: Floats
    underflow: float
    magnitude: Floats
    code: Indices
    parameters: Floats
    lines: Lines
    columns: Indices

    @property
    def inputs(self) -> int:
        return int(self.features.size)

    @property
    def neurons(self) -> int:
        return int(self.bias.size)

    @property
    def gamma(self) -> float:
        """Of the sums of a pull's constants, and of the products that add up to a coefficient."""
        return self.rounding.gamma(2 * self.neurons + 8)

    @property
    def ramp(self) -> Flags:
        """Neurons that are linear on either side of 0 and never fall."""
        return np.asarray((self.code == ACTIVATIONS["leaky_relu"].code) & (self.parameters[0] >= 0.0))

    @property
    def optional(self) -> Flags:
        """Neurons whose line below has a free slope, between their own on either side of 0, while their sign is open."""
        return np.asarray(self.ramp & (self.parameters[0] < 1.0))

    @property
    def lowest(self) -> Floats:
        """The smallest free slope, float64 [N]."""
        return np.asarray(np.where(self.ramp, self.parameters[0], 0.0))

    def gamma_cut(self, half_spaces: int) -> float:
        """Of the sums at the inputs."""
        return self.rounding.gamma(self.inputs + half_spaces + 8)

    def point(self, t: Floats) -> Floats:
        """The points x of ``t`` float64 [K, n], up to rounding: float64 [K, D]."""
        x = np.repeat(self.middle[None], t.shape[0], axis=0)
        x[:, self.features] += self.reach[self.features] * t
        return x

    def rows(self, affine: Affine) -> Rows:
        """An affine function of the reduced network's groups in these coordinates."""
        weight, bias, error = _in_coordinates(self, affine, self.weight.shape[1])
        used = np.flatnonzero((weight[:, self.inputs :] != 0.0).any(axis=0))
        top = int(used[-1]) + 1 if used.size else 0
        ends = np.append(self.ends, self.weight.shape[1])
        # A group enters whole.
        while top < self.neurons and top > 0 and ends[top] == ends[top - 1]:
            top += 1
        return Rows(weight, bias, error, np.full(bias.size, top, dtype=np.int64))


def pack(reduced: Reduced) -> Packed:
    """The groups so far, over the whole region.

    Raises
    ------
    ValueError
        An unbounded region: there is no unit ball to bring it to.
    """
    region, rounding = reduced.region, reduced.rounding
    if region.unbounded:
        raise ValueError("region: is unbounded; searches need a bounded one")
    low, high = region.box
    free = low < high
    features = np.flatnonzero(free)
    boxed = region.norm != math.inf and region.clip is not None
    lo, hi = np.full(features.size, -1.0), np.ones(features.size)
    if region.norm == math.inf:
        middle, reach = reduced.middle, reduced.reach.copy()
    else:
        assert isinstance(region.eps, float)
        middle, reach = region.x0, np.full(region.size, region.eps)
        if boxed:
            lo = np.maximum(_down((low - middle)[features] / region.eps), -1.0)
            hi = np.minimum(_up((high - middle)[features] / region.eps), 1.0)
    groups = reduced.groups[1:]
    sizes = [g.size for g in groups]
    columns = np.cumsum([0, features.size, *sizes])
    total = int(columns[-1])
    n = features.size
    magnitude = np.concatenate([np.ones(n), *[g.magnitude for g in groups]])
    weight = np.zeros((total - n, total))
    bias, loss = np.zeros(total - n), np.zeros(total - n)
    packed = Packed(
        reduced, SOUND if rounding.unit > 0.0 else rounding, features, middle, reach, region.norm, boxed, lo, hi, weight,
        np.zeros(total - n, dtype=np.int64), np.repeat(columns[1:-1], sizes), bias, loss,
        sum(g.pull_underflow for g in groups) + (1e-300 * (total + 1) * (1.0 + float(magnitude.sum())) if rounding.unit > 0.0 else 0.0),
        magnitude, np.repeat(np.array([g.code for g in groups], dtype=np.int64), sizes),
        np.concatenate([np.zeros((2, 0)), *[_of(g.parameters) for g in groups]], axis=1),
        _no_lines(total - n), columns,
    )  # fmt: skip
    gamma = packed.gamma
    for k, group in enumerate(groups):
        assert group.affine is not None
        rows = slice(int(columns[k + 1]) - n, int(columns[k + 2]) - n)
        end = int(columns[k + 1])
        part, constant, error = _in_coordinates(packed, group.affine, end)
        weight[rows, :end] = part
        bias[rows] = constant
        reads = np.flatnonzero((part != 0.0).any(axis=0))
        packed.begins[rows] = int(reads[0]) if reads.size else end
        size = abs_sums(part, magnitude[:end])
        # z itself enters through fl(slope * coefficient).
        loss[rows] = error + gamma * size + packed.rounding.unit * (size + np.abs(constant))
    return replace(packed, lines=_over_all(packed))


def _of(values: _T | None) -> _T:
    assert values is not None
    return values


def _no_lines(count: int) -> Lines:
    nothing = np.zeros(count)
    return Lines(nothing, nothing, nothing, nothing, np.zeros(count, dtype=bool))


def _over_all(packed: Packed) -> Lines:
    """The groups' own lines."""
    groups = packed.reduced.groups[1:]
    if not groups:
        return packed.lines
    su, cu, sl, cl = (np.concatenate([_of(g.lines)[k] for g in groups]) for k in range(4))
    return Lines(su, cu, sl, cl, packed.optional & (su != sl))


def _in_coordinates(packed: Packed, affine: Affine, width: int) -> tuple[Floats, Floats, Floats]:
    """Weights over the packed columns, constants and errors of an affine function of the groups."""
    features, middle, reach = packed.features, packed.middle, packed.reach
    rounding = packed.rounding
    weight = np.zeros((affine.constant.size, width))
    constant = affine.constant.astype(np.float64)
    error = affine.error.copy()
    # The sums that later groups add to these rows round them too.
    error += rounding.gamma(len(packed.columns)) * affine.size
    for source, edge in affine.edges.items():
        block = np.asarray(edge.rows(), dtype=np.float64)
        if source > 0:
            weight[:, packed.columns[source] : packed.columns[source + 1]] = block
            continue
        taken = block[:, features]
        weight[:, : features.size] = taken * reach[features]
        moved = block @ middle
        constant = constant + moved
        # Of the products with the reach, the sum over the middle, and the addition; with the fixed features' reach
        # (at most a few units of the smallest number) in the underflow.
        error += rounding.gamma(middle.size + 4) * (
            abs_sums(np.ascontiguousarray(block), np.abs(middle)) + np.abs(constant) + np.abs(affine.constant)
        ) + 2.0 * rounding.unit * abs_sums(np.ascontiguousarray(weight[:, : features.size]), np.ones(features.size))
    return weight, constant, error


def _down(x: Floats) -> Floats:
    return np.nextafter(np.nextafter(np.nextafter(x, -np.inf), -np.inf), -np.inf)


def _up(x: Floats) -> Floats:
    return np.nextafter(np.nextafter(np.nextafter(x, np.inf), np.inf), np.inf)
