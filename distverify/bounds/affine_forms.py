"""Bounds of outputs and of all derivatives over many small boxes at a time, by forms that are affine in the input.

Over a box x = m + R t with t in [-1, 1]^n every value is written as c + A t +/- e. A pre-activation's form gives its interval, on
which parallel lines hold the activation and its derivative (:mod:`distverify.kernels.coupling`); so values a and slopes g are forms
again. With a number gm for every slope, and J0 and D the derivatives of outputs and of pre-activations that follow from these,

    J = J0 + sum over neurons of Y (g - gm) D

exactly, where Y is the rows' derivative with respect to the neuron's value: Y = ym +/- dy from forms that are pulled back, so that

    J = J0 + sum of ym (g - gm) D  +/-  sum of dy |g - gm| |D| .

What is dropped is of second order in the box, and nothing of first order is bounded by magnitudes on its way: bisecting converges as
fast as mean-value forms do. Mathematics: docs/MATH.md, section 11.

Rounding: every step adds to e what it may have cost; see docs/ROUNDING.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distverify.bounds.reduced import Floats
from distverify.kernels.coupling import parallel_lines
from distverify.kernels.relaxations import slope_range
from distverify.kernels.rounding import SOUND
from distverify.network.graph import Network
from distverify.network.linear.operator import LinearOperator
from distverify.network.nodes import ActivationNode, LinearNode

# Memory for the forms of one layer, about.
_BYTES = 24_000_000
_UNIT, _TINY = SOUND.unit, SOUND.tiny


@dataclass(frozen=True, eq=False)
class BoxBounds:
    """Over each of B boxes.

    Attributes
    ----------
    lower, upper : float64 [B, K]
        Of the rows' values.
    jacobian_lower, jacobian_upper : float64 [B, K, inputs]
        Of their derivatives.
    bends : float64 [B, K, inputs, inputs]
        By how much a derivative moves along each input over the box, about: magnitudes. Only choices rest on it.
    off : float64 [B, K, inputs]
        By how much more it may move.
    forms : float64 [K, 1 + n, inputs, B]
        Of the derivatives over the n inputs that move: c and A, so that each derivative lies within c + A t +/- ``off`` for some t
        in [-1, 1]^n, the same t for all of them.
    """

    lower: Floats
    upper: Floats
    jacobian_lower: Floats
    jacobian_upper: Floats
    bends: Floats
    off: Floats
    forms: Floats


@dataclass(frozen=True, eq=False)
class _Form:
    """``parts`` float64 [m, 1 + n, ...]: c and A; ``off`` float64 [m, ...]: e."""

    parts: Floats
    off: Floats

    @property
    def reach(self) -> Floats:
        """What A t is at most, float64 [m, ...]."""
        return np.asarray(np.abs(self.parts[:, 1:]).sum(axis=1))

    def range(self) -> tuple[Floats, Floats]:
        """Sound bounds, float64 [m, ...] each."""
        middle, reach = self.parts[:, 0], self.reach + self.off
        reach = reach * (1.0 + SOUND.gamma(self.parts.shape[1] + 4)) + _TINY
        return np.nextafter(middle - reach, -np.inf), np.nextafter(middle + reach, np.inf)

    def scaled(self, slope: Floats, shift: Floats, error: Floats) -> _Form:
        """``slope`` times the form plus ``shift`` +/- ``error``, float64 [m, ...] each."""
        parts = slope[:, None] * self.parts
        parts[:, 0] += shift
        size = np.abs(slope) * (np.abs(self.parts[:, 0]) + self.reach + self.off) + np.abs(shift)
        off = (np.abs(slope) * self.off + error + 4.0 * _UNIT * size) * (1.0 + 16.0 * _UNIT) + _TINY
        return _Form(parts, off)

    def times(self, other: _Form) -> _Form:
        """The product with a form [m, ...] that all of this one's [m, columns, ...] share."""
        a, b = self.parts, other.parts[:, :, None]
        c, d = a[:, 0], b[:, 0]
        parts = a * d[:, None]
        parts[:, 1:] += c[:, None] * b[:, 1:]
        size, others = np.abs(c), np.abs(d)
        reach, away = self.reach, other.reach[:, None]
        e, f = self.off, other.off[:, None]
        # A t times B t: squares of one coordinate lie in [0, 1], so half of their coefficients may join the middle.
        square = 0.5 * (a[:, 1:] * b[:, 1:]).sum(axis=1)
        parts[:, 0] += square
        spread = reach * away - np.abs(a[:, 1:] * b[:, 1:]).sum(axis=1) + np.abs(0.5 * a[:, 1:] * b[:, 1:]).sum(axis=1)
        off = np.maximum(spread, 0.0) + (size + reach) * f + (others + away) * e + e * f
        whole = (size + reach + e) * (others + away + f)
        n = a.shape[1]
        return _Form(parts, (off + SOUND.gamma(3 * n + 10) * whole) * (1.0 + 16.0 * _UNIT) + _TINY)


def _linear(node: LinearNode, forms: dict[int, _Form], shifts: bool) -> _Form:
    """The node's form; without ``shifts`` that of its derivative."""
    parts = off = None
    for term in node.terms:
        form, operator = forms[term.source], term.operator
        moved = operator.push(np.ascontiguousarray(form.parts.reshape(form.parts.shape[0], -1)))
        moved = np.asarray(moved, np.float64).reshape(operator.out_size, *form.parts.shape[1:])
        gamma = SOUND.gamma(operator.push_terms + len(node.terms) + 2)
        loss = form.off + gamma * (np.abs(form.parts).sum(axis=1) + form.off)
        loss = operator.push_abs(np.ascontiguousarray(loss.reshape(loss.shape[0], -1)))
        loss = np.asarray(loss, np.float64).reshape(operator.out_size, *form.off.shape[1:]) * (1.0 + gamma)
        parts, off = (moved, loss) if parts is None or off is None else (parts + moved, off + loss)
    assert parts is not None
    assert off is not None
    if shifts:
        along = (slice(None), *[None] * (off.ndim - 1))
        parts[:, 0] += node.bias[along]
        gamma = SOUND.gamma(len(node.terms) + 2)
        off = off + gamma * (np.abs(node.bias[along]) + np.abs(parts[:, 0]))
        if node.bias_error is not None:
            off = off + node.bias_error[along]
    return _Form(parts, off * (1.0 + 16.0 * _UNIT) + _TINY)


def boxes_at_once(network: Network, free: int) -> int:
    """How many boxes fit into memory side by side."""
    widest = max(node.size for node in network.nodes)
    each = 8 * widest * (1 + free) * (network.input_size + 1)
    return int(max(1, min(1024, _BYTES // each)))


@np.errstate(over="ignore", invalid="ignore")
def bound_boxes(network: Network, lower: Floats, upper: Floats, rows: Floats) -> BoxBounds:
    """Bounds of ``rows @ f``, ``rows`` float64 [K, outputs], over boxes between ``lower`` and ``upper``, float64 [B, inputs] each."""
    size, count = network.input_size, lower.shape[0]
    free = np.flatnonzero((lower < upper).any(axis=0)).astype(np.int64)
    middle = np.clip(0.5 * lower + 0.5 * upper, lower, upper)
    radius = np.maximum(upper - middle, middle - lower)
    radius = np.where(radius > 0.0, np.nextafter(radius, np.inf), 0.0)
    values, middles, steep = _input_forms(middle, radius, free, size, count)
    moves: dict[int, Floats] = {}
    for index, node in enumerate(network.nodes):
        if isinstance(node, LinearNode):
            values[index] = _linear(node, values, shifts=True)
            middles[index] = _linear(node, middles, shifts=False)
        elif isinstance(node, ActivationNode):
            values[index], steep[index], moves[index] = _activation(node, values[node.source])
            at = steep[index].parts[:, 0, None]
            middles[index] = middles[node.source].scaled(at, np.zeros_like(at), np.zeros_like(at))
    value, slope = _combined(rows, values[network.output]), _combined(rows, middles[network.output])
    parts = np.zeros((rows.shape[0], 1 + free.size, size, count))
    parts[:, 0] = slope.parts[:, 0]
    off, whole = slope.off, np.abs(slope.parts[:, 0])
    for index, adjoint in _adjoints(network, rows, free.size, count, steep):
        node = network.nodes[index]
        assert isinstance(node, ActivationNode)
        ym, dy = adjoint.parts[:, 0], adjoint.reach + adjoint.off
        g, before = steep[index], middles[node.source]
        d, lost = before.parts[:, 0], before.off
        away = moves[index]
        parts[:, 1:] += np.einsum("mkb,mlb,mjb->kljb", ym, g.parts[:, 1:], d, optimize=True)
        sizes = np.abs(ym)
        off = off + np.einsum("mkb,mjb->kjb", sizes * g.off[:, None] + dy * away[:, None], np.abs(d))
        off = off + np.einsum("mkb,mjb->kjb", (sizes + dy) * away[:, None], lost)
        whole = whole + np.einsum("mkb,mjb->kjb", (sizes + dy) * away[:, None], np.abs(d))
    terms = sum(n.size for n in network.nodes if isinstance(n, ActivationNode))
    off = (off + SOUND.gamma(terms + 3 * (free.size + 8)) * (whole + off)) * 1.001 + _TINY
    derivatives = _Form(parts, off)
    low, high = value.range()
    jl, ju = derivatives.range()
    bends = np.zeros((rows.shape[0], size, size, count))
    bends[:, :, free] = np.abs(parts[:, 1:]).transpose(0, 2, 1, 3)
    return BoxBounds(
        _closed(low.T, -np.inf), _closed(high.T, np.inf), _closed(jl.transpose(2, 0, 1), -np.inf),
        _closed(ju.transpose(2, 0, 1), np.inf), np.ascontiguousarray(bends.transpose(3, 0, 1, 2)),
        np.ascontiguousarray(off.transpose(2, 0, 1)), parts,
    )  # fmt: skip


def _adjoints(
    network: Network, rows: Floats, free: int, count: int, steep: dict[int, _Form]
) -> Iterator[tuple[int, _Form]]:
    """Of every activation, the form of the rows' derivatives with respect to its values, [m, 1 + n, K, B]."""
    parts = np.zeros((rows.shape[1], 1 + free, rows.shape[0], count))
    parts[:, 0] = rows.T[:, :, None]
    waiting = {network.output: _Form(parts, np.zeros((rows.shape[1], rows.shape[0], count)))}
    for index in range(len(network.nodes) - 1, 0, -1):
        node, form = network.nodes[index], waiting.pop(index, None)
        if form is None:
            continue
        if isinstance(node, ActivationNode):
            yield index, form
            _add(waiting, node.source, form.times(steep[index]))
        elif isinstance(node, LinearNode):
            for term in node.terms:
                if term.source > 0:
                    _add(waiting, term.source, _pulled(term.operator, form))


def _add(forms: dict[int, _Form], index: int, form: _Form) -> None:
    if index in forms:
        before = forms[index]
        parts = before.parts + form.parts
        form = _Form(parts, (before.off + form.off + _UNIT * np.abs(parts).sum(axis=1)) * (1.0 + 16.0 * _UNIT))
    forms[index] = form


def _pulled(operator: LinearOperator, form: _Form) -> _Form:
    parts = operator.pull(np.ascontiguousarray(form.parts.reshape(operator.out_size, -1).T))
    parts = np.asarray(parts, np.float64).T.reshape(operator.in_size, *form.parts.shape[1:])
    gamma = SOUND.gamma(operator.pull_terms + 2)
    loss = form.off + gamma * (np.abs(form.parts).sum(axis=1) + form.off)
    off = operator.pull_abs(np.ascontiguousarray(loss.reshape(operator.out_size, -1).T))
    off = np.asarray(off, np.float64).T.reshape(operator.in_size, *form.off.shape[1:])
    return _Form(parts, off * (1.0 + gamma) + _TINY)


def _closed(side: Floats, open_: float) -> Floats:
    return np.ascontiguousarray(np.where(np.isnan(side), open_, side))


def _input_forms(
    middle: Floats, radius: Floats, free: NDArray[np.int64], size: int, count: int
) -> tuple[dict[int, _Form], dict[int, _Form], dict[int, _Form]]:
    """The input's form, that of its derivative, which is a constant, and room for slopes."""
    parts = np.zeros((size, 1 + free.size, count))
    parts[:, 0] = middle.T
    parts[free, 1 + np.arange(free.size)] = radius.T[free]
    unit = np.zeros((size, 1, size, count))
    unit[np.arange(size), 0, np.arange(size)] = 1.0
    return {0: _Form(parts, np.zeros((size, count)))}, {0: _Form(unit, np.zeros((size, size, count)))}, {}


def _activation(node: ActivationNode, form: _Form) -> tuple[_Form, _Form, Floats]:
    """Forms of the activation and of its derivative, and by how much that one may be off its form's middle."""
    low, high = form.range()
    shape = low.shape
    flat = low.reshape(-1), high.reshape(-1)
    parameters = np.repeat(node.parameters, shape[1], axis=1)
    glo, ghi = slope_range(node.code, *flat, parameters)
    p, r, d, lam, mu, nu = (row.reshape(shape) for row in parallel_lines(node.code, *flat, parameters, (glo, ghi)))
    steep = form.scaled(p, r, d)
    middle = steep.parts[:, 0]
    most = np.maximum(ghi.reshape(shape) - middle, middle - glo.reshape(shape))
    moves = np.fmin(steep.reach + steep.off, np.maximum(most, 0.0) * (1.0 + 4.0 * _UNIT) + _TINY)
    return form.scaled(lam, mu, nu), steep, moves


def _combined(rows: Floats, form: _Form) -> _Form:
    """``rows`` times the outputs' form."""
    gamma = SOUND.gamma(rows.shape[1] + 2)
    parts = np.tensordot(rows, form.parts, axes=1)
    off = np.tensordot(np.abs(rows), form.off + gamma * (np.abs(form.parts).sum(axis=1) + form.off), axes=1)
    return _Form(parts, off * (1.0 + gamma) + _TINY)
