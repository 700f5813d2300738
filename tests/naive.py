"""Slow, obvious oracles: CROWN and the Jacobian recursions entry by entry, in plain Python floats.

One coefficient list per bound, one bound at a time, no matrix products, no rounding terms. Lines and slope ranges of
the leaky ReLU family are written down here; those of others come from the activation table, which its own tests
measure against exact values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distverify.bounds.enclosure import SMALL_LAYER
from distverify.kernels import relaxations
from distverify.kernels.activations import ACTIVATIONS
from distverify.network.graph import Network
from distverify.network.nodes import ActivationNode, InputNode, LinearNode
from distverify.region import Ball

Floats = NDArray[np.float64]
Line = tuple[float, float]
# A sign that only rounding leaves open counts as a chord in either method (distverify.kernels.products).
OPEN_BY_ROUNDING = 1e-9


def line_pair(node: ActivationNode, i: int, left: float, right: float) -> tuple[Line, Line]:
    """Lines (slope, intercept) above and below neuron ``i`` on [left, right]."""
    if node.kind in ("relu", "leaky_relu"):
        a = float(node.parameters[0, i])
        if left >= 0:
            return (1.0, 0.0), (1.0, 0.0)
        if right <= 0:
            return (a, 0.0), (a, 0.0)
        if a <= 1.0:
            chord = (right - a * left) / (right - left)
            return (chord, right - chord * right), (1.0 if right > -left else a, 0.0)
    su, cu, sl, cl = relaxations.lines(
        node.code, np.array([left]), np.array([right]), node.parameters[:, i : i + 1].copy()
    )
    return (float(su[0]), float(cu[0])), (float(sl[0]), float(cl[0]))


def slope_pair(node: ActivationNode, i: int, left: float, right: float) -> tuple[float, float]:
    """Range of neuron ``i``'s derivative on [left, right]."""
    if node.kind in ("relu", "leaky_relu"):
        a = float(node.parameters[0, i])
        return (1.0, 1.0) if left > 0 else (a, a) if right < 0 else (min(a, 1.0), max(a, 1.0))
    lo, hi = relaxations.slope_range(
        node.code, np.array([left]), np.array([right]), node.parameters[:, i : i + 1].copy()
    )
    return float(lo[0]), float(hi[0])


def value_pair(node: ActivationNode, i: int, left: float, right: float) -> tuple[float, float]:
    """Range of neuron ``i``'s value on [left, right]."""
    lo, hi = relaxations.value_range(
        node.code, np.array([left]), np.array([right]), node.parameters[:, i : i + 1].copy()
    )
    return float(lo[0]), float(hi[0])


def support(a: Sequence[float], region: Ball) -> float:
    """max of a.x over the region."""
    x0, n = region.x0, region.size
    lo, hi = region.clip_box
    eps = np.broadcast_to(np.asarray(region.eps, dtype=float), (n,))
    centre = math.fsum(a[i] * x0[i] for i in range(n))
    room = [min(eps[i], hi[i] - x0[i] if a[i] > 0 else x0[i] - lo[i]) for i in range(n)]
    if region.norm == math.inf:
        return centre + math.fsum(abs(a[i]) * room[i] for i in range(n))
    if region.norm == 1.0:
        left, total = float(region.eps), 0.0
        for i in sorted(range(n), key=lambda i: -abs(a[i])):
            step = min(left, room[i])
            total, left = total + step * abs(a[i]), left - step
        return centre + total
    # The best point moves min(|a_i| / penalty, room_i): bisect on the penalty until the ball's surface is met.
    if math.sqrt(sum(r * r for r in room)) <= region.eps:
        return centre + sum(abs(a[i]) * room[i] for i in range(n))
    below, above = 0.0, math.sqrt(sum(v * v for v in a)) / float(region.eps)
    for _ in range(200):
        penalty = 0.5 * (below + above)
        d = [min(abs(a[i]) / penalty, room[i]) if penalty > 0 else room[i] for i in range(n)]
        if sum(v * v for v in d) > region.eps**2:
            below = penalty
        else:
            above = penalty
    return centre + sum(abs(a[i]) * d[i] for i in range(n))


class NaiveBounds:
    """Node bounds by CROWN (or intervals), then Jacobian bounds by ``linear``, ``recurjac`` or ``fastlip``."""

    def __init__(self, network: Network, region: Ball, layer_bounds: str = "crown") -> None:
        self.network, self.region = network, region
        self.matrices = {
            i: [t.operator.pull(np.eye(n.size)) for t in n.terms]
            for i, n in enumerate(network.nodes)
            if isinstance(n, LinearNode)
        }
        self.lower: list[list[float]] = []
        self.upper: list[list[float]] = []
        self.lines: dict[int, list[tuple[Line, Line]]] = {}
        self.slopes: dict[int, list[tuple[float, float]]] = {}
        for index, node in enumerate(network.nodes):
            pairs = [self._range(index, node, r, layer_bounds) for r in range(node.size)]
            self.lower.append([p[0] for p in pairs])
            self.upper.append([p[1] for p in pairs])
            if isinstance(node, ActivationNode):
                z = list(zip(self.lower[node.source], self.upper[node.source], strict=True))
                self.lines[index] = [line_pair(node, i, left, right) for i, (left, right) in enumerate(z)]
                self.slopes[index] = [slope_pair(node, i, left, right) for i, (left, right) in enumerate(z)]

    def _range(self, index: int, node: Any, r: int, layer_bounds: str) -> tuple[float, float]:
        if isinstance(node, InputNode):
            unit = [1.0 if i == r else 0.0 for i in range(node.size)]
            return -support([-v for v in unit], self.region), support(unit, self.region)
        if isinstance(node, ActivationNode):
            return value_pair(node, r, self.lower[node.source][r], self.upper[node.source][r])
        lo = hi = float(node.bias[r])
        for term, matrix in zip(node.terms, self.matrices[index], strict=True):
            for j, w in enumerate(matrix[r]):
                ends = (w * self.lower[term.source][j], w * self.upper[term.source][j])
                lo, hi = lo + min(ends), hi + max(ends)
        consumers = self.network.consumers()[index]
        # Only what an activation reads, and the output, is worth a CROWN pass; others keep their intervals.
        read = index == self.network.output or any(isinstance(self.network.nodes[c], ActivationNode) for c in consumers)
        settled = node.size > SMALL_LAYER and index != self.network.output
        settled = settled and all(self._settled(c, r, lo, hi) for c in consumers)
        if read and not settled and (layer_bounds == "crown" or all(t.source == 0 for t in node.terms)):
            unit = [1.0 if i == r else 0.0 for i in range(node.size)]
            lo, hi = (
                max(lo, -self.crown_upper(index, [-v for v in unit])),
                min(hi, self.crown_upper(index, unit)),
            )
        return lo, hi

    def _settled(self, index: int, r: int, lo: float, hi: float) -> bool:
        """Whether a piecewise linear activation is one line on the interval: then no better bounds are asked for."""
        node = self.network.nodes[index]
        if not isinstance(node, ActivationNode):
            return True
        above, below = line_pair(node, r, lo, hi)
        steepness = slope_pair(node, r, lo, hi)
        return ACTIVATIONS[node.kind].piecewise_linear and above == below and steepness[0] == steepness[1]

    def crown_upper(self, index: int, row: Sequence[float]) -> float:
        """Upper bound of ``row`` . node ``index``."""
        nodes = self.network.nodes
        coefficients = {i: [0.0] * nodes[i].size for i in range(index + 1)}
        coefficients[index] = [float(v) for v in row]
        constant = 0.0
        for i in range(index, 0, -1):
            node, a = nodes[i], coefficients[i]
            if isinstance(node, LinearNode):
                for r in range(node.size):
                    constant += a[r] * float(node.bias[r])
                    for term, matrix in zip(node.terms, self.matrices[i], strict=True):
                        for j in range(matrix.shape[1]):
                            coefficients[term.source][j] += a[r] * float(matrix[r, j])
            elif isinstance(node, ActivationNode):
                for r in range(node.size):
                    if a[r] != 0.0:
                        s, c = self.lines[i][r][0 if a[r] > 0 else 1]
                        coefficients[node.source][r] += a[r] * s
                        constant += a[r] * c
        return constant + support(coefficients[0], self.region)

    def rows(self, rows: Floats) -> tuple[Floats, Floats]:
        """CROWN bounds of ``rows @ f``: lower, upper [K]."""
        upper = [self.crown_upper(self.network.output, row) for row in rows]
        lower = [-self.crown_upper(self.network.output, -row) for row in rows]
        return np.array(lower), np.array(upper)

    def jacobian(self, rows: Floats, method: str) -> tuple[Floats, Floats]:
        """Bounds of the derivatives of ``rows @ f``: lower, upper [K, inputs]."""
        bound = self._fastlip if method in ("fastlip", "interval") else self._recursion
        results = [bound([float(v) for v in row], method) for row in rows]
        return np.array([r[0] for r in results]), np.array([r[1] for r in results])

    def _recursion(self, row: list[float], method: str) -> tuple[list[float], list[float]]:
        nodes, output = self.network.nodes, self.network.output
        known: dict[int, tuple[list[float], list[float]]] = {output: (row, row)}
        for index in range(output - (isinstance(nodes[output], LinearNode)), -1, -1):
            if isinstance(nodes[index], LinearNode):
                continue
            if index != output:
                upper = [self._push(row, known, index, j, 1, method) for j in range(nodes[index].size)]
                lower = [-self._push(row, known, index, j, -1, method) for j in range(nodes[index].size)]
                known[index] = lower, upper
        return known[0]

    def _push(self, row: list[float], known: dict[int, Any], start: int, column: int, sign: int, method: str) -> float:
        """Upper bound of sign times the derivative of the row with respect to entry ``column`` of node ``start``."""
        nodes, output = self.network.nodes, self.network.output
        moving = [[0.0] * n.size for n in nodes]
        moving[start][column] = float(sign)
        constant = 0.0
        for index in range(start + 1, output + 1):
            node = nodes[index]
            if isinstance(node, LinearNode):
                for term, matrix in zip(node.terms, self.matrices[index], strict=True):
                    for r in range(node.size):
                        moving[index][r] += sum(
                            float(w) * b for w, b in zip(matrix[r], moving[term.source], strict=True)
                        )
            elif isinstance(node, ActivationNode):
                for i, a in enumerate(moving[node.source]):
                    if a != 0.0:
                        yl, yu = known[index][0][i], known[index][1][i]
                        (su, cu), (sl, cl) = self._product(*self.slopes[index][i], yl, yu, method)
                        moving[index][i] = a * (su if a > 0 else sl)
                        constant += a * (cu if a > 0 else cl)
        return constant + sum(c * b for c, b in zip(row, moving[output], strict=True))

    @staticmethod
    def _product(glo: float, ghi: float, yl: float, yu: float, method: str) -> tuple[Line, Line]:
        """Lines above and below g Y in Y, for g in [glo, ghi] and Y in [yl, yu]."""
        if glo == ghi:
            return (glo, 0.0), (glo, 0.0)
        if yl >= 0:
            return (ghi, 0.0), (glo, 0.0)
        if yu <= 0:
            return (glo, 0.0), (ghi, 0.0)
        # Corners: g Y is largest at ghi where Y > 0, at glo where Y < 0.
        top_right, top_left, low_right, low_left = ghi * yu, glo * yl, glo * yu, ghi * yl
        if method == "linear" or min(-yl, yu) <= OPEN_BY_ROUNDING * max(-yl, yu):
            su, sl = (top_right - top_left) / (yu - yl), (low_right - low_left) / (yu - yl)
            return (su, top_right - su * yu), (sl, low_left - sl * yl)
        return (0.0, max(top_right, top_left)), (0.0, min(low_right, low_left))

    def _fastlip(self, row: list[float], method: str) -> tuple[list[float], list[float]]:
        nodes, output = self.network.nodes, self.network.output
        lower, upper = ([[0.0] * n.size for n in nodes] for _ in range(2))
        lower[output], upper[output] = list(row), list(row)
        for index in range(output, 0, -1):
            node = nodes[index]
            for r in range(node.size):
                yl, yu = lower[index][r], upper[index][r]
                if isinstance(node, ActivationNode):
                    corners = [g * y for g in self.slopes[index][r] for y in (yl, yu)]
                    lower[node.source][r] += min(corners)
                    upper[node.source][r] += max(corners)
                elif isinstance(node, LinearNode):
                    for term, matrix in zip(node.terms, self.matrices[index], strict=True):
                        for j, w in enumerate(matrix[r]):
                            lower[term.source][j] += min(w * yl, w * yu)
                            upper[term.source][j] += max(w * yl, w * yu)
        return lower[0], upper[0]
