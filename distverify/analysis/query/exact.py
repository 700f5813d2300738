"""Small piecewise linear networks in exact fractions: a search that decides, at boundaries and for strict constraints too.

Every neuron whose sign the inputs leave open is a variable between its lines and its chord; where a point of that relaxation is no
point of the network, the neuron that is farthest off is split. Source: Katz et al., Reluplex, CAV 2017, with the chord of Ehlers 2017.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.query.simplex import GaveUp, Simplex
from distverify.network.graph import Network
from distverify.network.nodes import ActivationNode, LinearNode

# An affine function: weights by variable, and under -1 the constant.
Affine = dict[int, Fraction]
_ONE = Fraction(1)
_RAMPS = ("relu", "leaky_relu", "prelu", "identity")
_CLIPS = ("clip", "hardtanh", "relu6")
_MOST_NEURONS, _MOST_WEIGHTS = 200, 60_000


@dataclass(frozen=True)
class Row:
    """``weights . v <= bound``, or < where it is strict; v are the inputs, then the outputs."""

    weights: Mapping[int, Fraction]
    bound: Fraction
    strict: bool = False


@dataclass(frozen=True)
class Ramp:
    """a = z for z >= 0 and slope z below; z is affine in earlier variables."""

    variable: int
    z: Affine
    slope: Fraction


@dataclass(eq=False)
class PiecewiseLinear:
    """A network as ramps over affine functions.

    Attributes
    ----------
    inputs : int
    ramps : list of Ramp
    outputs : list of Affine
    """

    inputs: int
    ramps: list[Ramp] = field(default_factory=list)
    outputs: list[Affine] = field(default_factory=list)


def piecewise_linear(network: Network) -> PiecewiseLinear | None:
    """``network`` in exact fractions; None where it is too large, has other activations, or parameters that are rounded."""
    made = PiecewiseLinear(network.input_size)
    values: list[list[Affine]] = [[{i: _ONE} for i in range(network.input_size)]]
    weights = 0
    for node in network.nodes[1:]:
        if isinstance(node, LinearNode):
            if node.bias_error is not None or any(t.operator.roundings for t in node.terms):
                return None
            weights += sum(min(t.operator.stored, t.operator.in_size * t.operator.out_size) for t in node.terms)
            if weights > _MOST_WEIGHTS or node.size * max(t.operator.in_size for t in node.terms) > 4 * _MOST_WEIGHTS:
                return None
            values.append(_linear(node, values))
        elif isinstance(node, ActivationNode):
            if len(made.ramps) + node.size > _MOST_NEURONS:
                return None
            activated = _activated(made, node, values[node.source])
            if activated is None:
                return None
            values.append(activated)
    made.outputs = values[network.output]
    return made


def _linear(node: LinearNode, values: list[list[Affine]]) -> list[Affine]:
    totals: list[Affine] = [{-1: Fraction(float(b))} for b in node.bias]
    for term in node.terms:
        rows: NDArray[np.float64] = term.operator.rows()
        for total, row in zip(totals, rows, strict=True):
            for j in np.flatnonzero(row):
                _add(total, values[term.source][j], Fraction(float(row[j])))
    return totals


def _add(total: Affine, other: Mapping[int, Fraction], factor: Fraction) -> None:
    for variable, weight in other.items():
        total[variable] = total.get(variable, Fraction(0)) + factor * weight


def _activated(made: PiecewiseLinear, node: ActivationNode, z: list[Affine]) -> list[Affine] | None:
    if node.kind in _RAMPS:
        return [_ramp(made, own, Fraction(float(slope))) for own, slope in zip(z, node.parameters[0], strict=True)]
    if node.kind not in _CLIPS:
        return None
    results = []
    for own, low, high in zip(z, *node.parameters, strict=True):
        # lo + ramp(z - lo) - ramp(z - hi)
        total: Affine = {}
        for limit, sign in ((low, 1), (high, -1)):
            if np.isinf(limit):
                return None
            shifted = dict(own)
            _add(shifted, {-1: _ONE}, -Fraction(float(limit)))
            _add(total, _ramp(made, shifted, Fraction(0)), Fraction(sign))
        _add(total, {-1: _ONE}, Fraction(float(low)))
        results.append(total)
    return results


def _ramp(made: PiecewiseLinear, z: Affine, slope: Fraction) -> Affine:
    if slope == 1:
        return z
    variable = made.inputs + len(made.ramps)
    made.ramps.append(Ramp(variable, z, slope))
    return {variable: _ONE}


# A side of a closed or open interval; None where there is no bound.
Bound = tuple[Fraction, bool] | None


class ExactSearch:
    """Points of boxes for which all of some rows hold.

    Parameters
    ----------
    network : PiecewiseLinear
    lower, upper : sequence of (Fraction, strict) or None
        Of the inputs.
    slack : sequence of Fraction, optional
        By how much each output may be off, either way.
    free : int
        Further variables without bounds, numbered after the outputs.
    seconds, pivots : float, int
        Of processor time, and exchanges of variables, to give up after.
    """

    def __init__(
        self,
        network: PiecewiseLinear,
        lower: Sequence[Bound],
        upper: Sequence[Bound],
        slack: Sequence[Fraction] | None = None,
        free: int = 0,
        seconds: float = 1.0,
        pivots: int = 100_000,
    ) -> None:
        self._network, self._lower, self._upper = network, lower, upper
        self._slack, self._free = slack, free
        self._ends = time.thread_time() + seconds
        self._ranges: dict[int, tuple[Fraction | None, Fraction | None]] = {}
        self._pivots = pivots

    def find(self, rows: Sequence[Row]) -> list[Fraction] | None:
        """Inputs for which all rows hold; None: there are none.

        Raises
        ------
        GaveUp
        """
        network = self._network
        off = [] if self._slack is None else list(self._slack)
        count = network.inputs + len(network.ramps)
        self._simplex = Simplex(count + len(off) + self._free, self._pivots)
        for i, (low, high) in enumerate(zip(self._lower, self._upper, strict=True)):
            if low is not None and not self._simplex.at_least(i, *low):
                return None
            if high is not None and not self._simplex.at_most(i, *high):
                return None
            self._ranges[i] = (None if low is None else low[0], None if high is None else high[0])
        for k, most in enumerate(off):
            self._simplex.at_least(count + k, -most)
            self._simplex.at_most(count + k, most)
        self._open: list[tuple[Ramp, int, int, int]] = []
        forms: dict[int, Affine] = {i: {i: _ONE} for i in range(network.inputs)}
        for ramp in network.ramps:
            forms[ramp.variable] = self._take(ramp, forms)
        for row in rows:
            total: Affine = {}
            for v, weight in row.weights.items():
                if v < network.inputs:
                    _add(total, {v: _ONE}, weight)
                    continue
                out = v - network.inputs
                if out >= len(network.outputs):
                    _add(total, {count + len(off) + out - len(network.outputs): _ONE}, weight)
                    continue
                _add(total, _substituted(network.outputs[out], forms), weight)
                if off:
                    _add(total, {count + out: _ONE}, weight)
            if not self._at_most(total, row.bound, row.strict):
                return None
        return self._split()

    def _at_most(self, total: Affine, bound: Fraction, strict: bool) -> bool:
        constant = total.pop(-1, Fraction(0))
        weights = {v: w for v, w in total.items() if w}
        if not weights:
            return constant < bound if strict else constant <= bound
        if len(weights) == 1:
            ((v, w),) = weights.items()
            limit = (bound - constant) / w
            return self._simplex.at_most(v, limit, strict) if w > 0 else self._simplex.at_least(v, limit, strict)
        return self._simplex.at_most(self._simplex.row(weights), bound - constant, strict)

    def _take(self, ramp: Ramp, forms: Mapping[int, Affine]) -> Affine:
        """What a ramp is: an affine function where its sign is known, else a variable between its lines."""
        z = _substituted(ramp.z, forms)
        low, high = self._range(z)
        if low is not None and low >= 0:
            return z
        if high is not None and high <= 0:
            return {v: w * ramp.slope for v, w in z.items()}
        simplex, a, p = self._simplex, ramp.variable, ramp.slope
        own = simplex.row(_without_constant(z))
        constant = z.get(-1, Fraction(0))
        above = simplex.row({own: -_ONE, a: _ONE})  # a - z + constant of z
        below = simplex.row({own: -p, a: _ONE})  # a - p z + p constant of z
        bend = simplex.at_least if p <= 1 else simplex.at_most
        bend(above, constant)
        bend(below, p * constant)
        if low is not None and high is not None:
            # The chord from (low, p low) to (high, high).
            steep = (high - p * low) / (high - low)
            chord = simplex.row({own: -steep, a: _ONE})
            (simplex.at_most if p <= 1 else simplex.at_least)(chord, steep * constant + high - steep * high)
        ends = [None if e is None else e * (p if k == 0 else 1) for k, e in enumerate((low, high))]
        turned = [*ends, Fraction(0)]
        known = None not in ends
        self._ranges[a] = (
            min(t for t in turned if t is not None) if known or (p >= 0 and low is not None) or p == 0 else None,
            max(t for t in turned if t is not None) if known or (p >= 0 and high is not None) else None,
        )
        self._open.append((Ramp(a, z, p), own, above, below))
        return {a: _ONE}

    def _range(self, form: Affine) -> tuple[Fraction | None, Fraction | None]:
        low: Fraction | None = form.get(-1, Fraction(0))
        high = low
        for v, w in form.items():
            if v == -1 or not w:
                continue
            ends = self._ranges[v] if w > 0 else self._ranges[v][::-1]
            low = None if low is None or ends[0] is None else low + w * ends[0]
            high = None if high is None or ends[1] is None else high + w * ends[1]
        return low, high

    def _split(self) -> list[Fraction] | None:
        if time.thread_time() > self._ends:
            raise GaveUp
        if not self._simplex.check():
            return None
        worst, gap = None, Fraction(0)
        point = self._simplex.point(self._network.inputs + len(self._network.ramps))
        for entry in self._open:
            ramp = entry[0]
            z = sum((w * (_ONE if v == -1 else point[v]) for v, w in ramp.z.items()), Fraction(0))
            off = abs(point[ramp.variable] - (z if z >= 0 else ramp.slope * z))
            if off > gap:
                worst, gap = entry, off
        if worst is None:
            return point[: self._network.inputs]
        ramp, own, above, below = worst
        constant = ramp.z.get(-1, Fraction(0))
        for positive in (True, False):
            mark = self._simplex.mark
            bound, line, value = (
                (self._simplex.at_least, above, constant)
                if positive
                else (self._simplex.at_most, below, ramp.slope * constant)
            )
            left = bound(own, -constant) and self._simplex.at_most(line, value) and self._simplex.at_least(line, value)
            found = self._split() if left else None
            if found is not None:
                return found
            self._simplex.back(mark)
        return None


def _substituted(form: Mapping[int, Fraction], forms: Mapping[int, Affine]) -> Affine:
    total: Affine = {}
    for v, w in form.items():
        if v == -1:
            total[-1] = total.get(-1, Fraction(0)) + w
        else:
            _add(total, forms[v], w)
    return total


def _without_constant(form: Affine) -> Affine:
    return {v: w for v, w in form.items() if v != -1}


def value_at(network: PiecewiseLinear, x: Sequence[Fraction]) -> list[Fraction]:
    """The outputs at ``x``, exactly."""
    values = list(x)

    def at(form: Affine) -> Fraction:
        return sum((w * (_ONE if v == -1 else values[v]) for v, w in form.items()), Fraction(0))

    for ramp in network.ramps:
        z = at(ramp.z)
        values.append(z if z >= 0 else ramp.slope * z)
    return [at(form) for form in network.outputs]


__all__ = ["Affine", "Bound", "ExactSearch", "GaveUp", "PiecewiseLinear", "Row", "piecewise_linear", "value_at"]
