"""Lipschitz constants by branch and bound: the subproblem whose constant is largest is split at a neuron, until it is attained.

Where every open neuron of a ReLU network is on a known side, the gradient is one vector; on the way there, half-spaces of the splits
tighten the neurons' intervals, and with them the slopes. The constant of the region is the largest of what its subproblems leave.
Mathematics: docs/MATH.md, sections 5 and 8.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from distverify.analysis.branching.leaf import cut_off, look_inside, with_decided
from distverify.analysis.branching.places import places_of
from distverify.analysis.branching.polytopes import Problem
from distverify.analysis.branching.subproblem import Subproblem
from distverify.bounds.chain import Chain
from distverify.bounds.columns import ColumnRecursion
from distverify.bounds.half_spaces import HalfSpaces
from distverify.bounds.methods import RowBounds, begin
from distverify.bounds.packed import Packed, Rows
from distverify.bounds.reduced import Floats
from distverify.kernels.activations import ACTIVATIONS
from distverify.kernels.relaxations import slope_range
from distverify.kernels.rounding import Rounding
from distverify.network.nodes import ActivationNode

# Half-spaces under which a subproblem's neurons are bounded: those of the newest splits.
_CUTS = 12
# Sweeps of projections that look for a point of a leaf.
_LONG = 40

# The constant of some rows from bounds of their derivatives.
Constant = Callable[[RowBounds], float]


class Witness(Protocol):
    """Knows constants that are attained."""

    def look(self, points: Floats) -> float:
        """The largest constant that floating point has seen, at ``points`` float64 [K, n] of the packed network's inputs or before."""
        ...

    def confirm(self) -> float:
        """The largest one that is certain; from then on nothing larger is promised."""
        ...


@dataclass(frozen=True, eq=False)
class _Derivatives:
    """Bounds over a subproblem.

    Attributes
    ----------
    constant : float
        Of the rows.
    lower, upper : float64 [K, inputs]
    by_neuron : float64 [N]
        The largest magnitude of the rows' derivatives with respect to each neuron's value.
    slopes : (glo, ghi), float64 [N]
    """

    constant: float
    lower: Floats
    upper: Floats
    by_neuron: Floats
    slopes: tuple[Floats, Floats]


@dataclass(eq=False)
class ConstantTree:
    """A search for the Lipschitz constant of some rows over a region.

    Attributes
    ----------
    problem : Problem
        Of the region; without targets.
    chain : Chain
        The backward recursion of the rows over the whole region.
    constant : callable (RowBounds) -> float
        Sound.
    method : str
    attained : float
        A constant that is reached somewhere in the region; below it nothing needs to be split.
    tolerance : float
        Relative: the search ends where no subproblem's constant exceeds ``attained`` by more.
    bound : float
        The constant over the whole region: sound at any time.
    lower, upper : float64 [K, inputs]
        Hull of the bounds over all subproblems.
    nodes : int
        Subproblems that were bounded.
    """

    problem: Problem
    chain: Chain
    constant: Constant
    rounding: Rounding
    method: str = "linear"
    attained: float = 0.0
    tolerance: float = 1e-4
    bound: float = field(init=False)
    lower: Floats = field(init=False)
    upper: Floats = field(init=False)
    nodes: int = 0
    _heap: list[tuple[float, int, Subproblem, _Derivatives]] = field(default_factory=list)
    _closed: list[_Derivatives] = field(default_factory=list)
    _made: int = 0
    _sharp: dict[int, bool] = field(init=False)

    def __post_init__(self) -> None:
        # Activation nodes whose kinks are numbers, so that nothing but one side's slope lies between a kink and the next number.
        nodes = self.problem.network.nodes
        kinds = {i: ACTIVATIONS[node.kind] for i, node in enumerate(nodes) if isinstance(node, ActivationNode)}
        self._sharp = {i: row.piecewise_linear and row.exact_turns for i, row in kinds.items()}

    def plant(self) -> None:
        """Bound the constant over the whole region."""
        problem = self.problem
        nothing = np.zeros(0)
        root = Subproblem(
            0, 0.0, problem.lower, problem.upper, np.zeros(0, dtype=np.int64), nothing, nothing,
            np.zeros((0, problem.packed.neurons)), nothing,
        )  # fmt: skip
        self._take(root, self._derivatives(root.lower, root.upper))
        self._close()

    def grow(self, nodes: int, witness: Witness | None = None, deadline: float | None = None) -> None:
        """Split the subproblem of the largest constant until ``nodes`` are bounded, or nothing is to be gained.

        Parameters
        ----------
        nodes : int
            Of the whole search: the same number gives the same bounds.
        witness : Witness, optional
            Looks at points where large constants are likely.
        deadline : float, optional
            By ``time.monotonic``.
        """
        while self._heap and self.nodes < nodes:
            if deadline is not None and time.monotonic() >= deadline:
                break
            worst = self._heap[0]
            if self._reached(-worst[0]):
                if witness is None or self._reached(-worst[0], witness.confirm()):
                    break
                continue
            heapq.heappop(self._heap)
            _, _, sub, derivatives = worst
            neuron = self._choice(sub, derivatives)
            if neuron is None:
                neuron = self._settle(sub, derivatives, witness)
            if neuron is None:
                continue
            points = []
            for child in self._children(sub, neuron):
                bounded = self._bounded(child)
                if bounded is not None:
                    child, derivatives, cuts = bounded
                    self._take(child, derivatives)
                    if not self._reached(derivatives.constant):
                        points.append(near_point(cuts))
            if witness is not None and points:
                self.attained = max(self.attained, witness.look(np.array(points)))
        if witness is not None:
            self.attained = witness.confirm()
        self._close()

    def _reached(self, constant: float, attained: float | None = None) -> bool:
        """Whether ``constant`` is what is attained (by default, as far as floating point tells), up to the tolerance."""
        if attained is not None:
            self.attained = attained
        return constant <= self.attained * (1.0 + self.tolerance)

    def _take(self, sub: Subproblem, derivatives: _Derivatives) -> None:
        self.nodes += 1
        self._made += 1
        heapq.heappush(self._heap, (-derivatives.constant, self._made, sub, derivatives))

    def _close(self) -> None:
        """What stands now."""
        parts = [*(entry[3] for entry in self._heap), *self._closed]
        self.bound = max((part.constant for part in parts), default=0.0)
        self.lower = np.min([part.lower for part in parts], axis=0) if parts else np.zeros((self.chain.rows, 0))
        self.upper = np.max([part.upper for part in parts], axis=0) if parts else np.zeros((self.chain.rows, 0))

    def _children(self, sub: Subproblem, neuron: int) -> list[Subproblem]:
        one = np.array([neuron])
        place = float(places_of(self.problem.packed, sub.lower[one], sub.upper[one], one)[0])
        children = []
        for side in (-1.0, 1.0):
            lower, upper = sub.lower.copy(), sub.upper.copy()
            (upper if side < 0 else lower)[neuron] = place
            children.append(
                replace(
                    sub, lower=lower, upper=upper, neurons=np.append(sub.neurons, neuron), sides=np.append(sub.sides, side),
                    places=np.append(sub.places, place),
                )
            )  # fmt: skip
        return children

    def _bounded(self, sub: Subproblem) -> tuple[Subproblem, _Derivatives, HalfSpaces] | None:
        """The subproblem with its neurons bounded anew, its derivatives, and its half-spaces; None where nothing is left of it."""
        problem = self.problem
        lower, upper = sub.lower.copy(), sub.upper.copy()
        lines = problem.lines(lower, upper)
        cuts = cut_off(problem, _no_rows(problem.packed), sub, lines)
        if problem.tighten(lower, upper, lines, cuts, np.arange(max(0, cuts.count - _CUTS), cuts.count)) < 0:
            self.nodes += 1
            return None
        return replace(sub, lower=lower, upper=upper), self._derivatives(lower, upper), cuts

    def _derivatives(self, lower: Floats, upper: Floats) -> _Derivatives:
        packed = self.problem.packed
        ends = np.cumsum([0, *self.chain.sizes[1:]])
        slopes = [self.chain.slopes[0]]
        for group, first, last in zip(self.chain.groups[1:], ends[:-1], ends[1:], strict=True):
            own = slice(int(first), int(last))
            low, high = lower[own], upper[own]
            if self._sharp[group.node]:
                low, high = _inner(low, high)
            low, high = slope_range(group.code, low, high, np.ascontiguousarray(packed.parameters[:, own]))
            # Never wider than over the whole region.
            slopes.append((np.maximum(low, group.slopes[0]), np.minimum(high, group.slopes[1])))
        glo, ghi = (np.concatenate([np.zeros(0), *(pair[side] for pair in slopes[1:])]) for side in (0, 1))
        push: ColumnRecursion = begin(replace(self.chain, slopes=slopes), self.rounding, self.method)
        by_neuron = np.zeros(packed.neurons)
        for index in range(len(self.chain.sizes) - 1, 0, -1):
            low, high = push.unit_columns(index)
            push.fix_lines(index, low, high)
            by_neuron[ends[index - 1] : ends[index]] = np.maximum(np.abs(low), np.abs(high)).max(axis=0)
        bounds = RowBounds(*push.unit_columns(0), (push,))
        return _Derivatives(self.constant(bounds), bounds.lower, bounds.upper, by_neuron, (glo, ghi))

    def _choice(self, sub: Subproblem, derivatives: _Derivatives) -> int | None:
        """The neuron whose slope is most in doubt: by the rows' derivative with respect to it and its own with respect to the input."""
        glo, ghi = derivatives.slopes
        reach = _reach(self.problem, np.maximum(np.abs(glo), np.abs(ghi)))
        open_ = (ghi > glo) & (sub.lower < sub.upper)
        score = np.where(open_, (ghi - glo) * derivatives.by_neuron * reach, 0.0)
        best = int(np.argmax(score)) if score.size else 0
        return best if score.size and score[best] > 0.0 else None

    def _settle(self, sub: Subproblem, derivatives: _Derivatives, witness: Witness | None) -> int | None:
        """Close a subproblem in which no slope is open: it is empty, or its constant is attained inside.

        Returns
        -------
        int or None
            Where neither shows: a neuron whose value, still relaxed, decides whether anything is left. The row's derivatives do not
            depend on it there, but others' signs do.
        """
        lines = self.problem.lines(sub.lower, sub.upper)
        whole = with_decided(self.problem, sub, sub.lower, sub.upper)
        cuts = cut_off(self.problem, _no_rows(self.problem.packed), whole, lines)
        # A point that is projected into the leaf often settles it, in a fraction of a linear programme's time.
        if witness is not None and self._shown(near_point(cuts, _LONG), derivatives, witness):
            return None
        inside = look_inside(self.problem.packed, cuts)
        if inside is not None and inside.empty:
            return None
        deepest = None if inside is None else inside.point
        if witness is not None and deepest is not None and self._shown(deepest, derivatives, witness):
            return None
        if not self._reached(derivatives.constant):
            doubt = np.abs(cuts.coefficients).sum(axis=0) * np.maximum(sub.upper - sub.lower, 0.0)
            score = np.where(lines.open, doubt, 0.0)
            if score.size and score.max() > 0.0:
                return int(np.argmax(score))
        self._closed.append(derivatives)
        return None

    def _shown(self, point: Floats, derivatives: _Derivatives, witness: Witness) -> bool:
        """Whether a subproblem's constant is attained at ``point`` or was before; then it is closed."""
        self.attained = max(self.attained, witness.look(point[None]))
        if not self._reached(derivatives.constant):
            return False
        self._closed.append(derivatives)
        return True


def near_point(cuts: HalfSpaces, sweeps: int = 8) -> Floats:
    """A point of the cube that is inside most half-spaces, float64 [n]: the middle projected onto one after the other (Kaczmarz)."""
    point = np.zeros(cuts.half.shape[1])
    squares = np.einsum("sn,sn->s", cuts.half, cuts.half)
    depth = 0.01 * cuts.size
    for _ in range(sweeps):
        outside = False
        for s in np.flatnonzero((squares > 0.0) & np.isfinite(cuts.offset)):
            excess = float(cuts.half[s] @ point) + cuts.offset[s] + depth[s]
            if excess > 0.0:
                outside = True
                point = np.clip(point - (excess / squares[s]) * cuts.half[s], -1.0, 1.0)
        if not outside:
            break
    return point


def _no_rows(packed: Packed) -> Rows:
    """No constraints besides the splits' own."""
    nothing = np.zeros(0)
    return Rows(np.zeros((0, packed.weight.shape[1])), nothing, nothing, np.zeros(0, dtype=np.int64))


def _inner(lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """The intervals without their ends, where a piecewise linear activation may have a kink.

    Almost everywhere a pre-activation is not at the end of its interval, or does not move: so no derivative is missed that a
    Lipschitz constant depends on (Stampacchia).
    """
    low, high = np.nextafter(lower, np.inf), np.nextafter(upper, -np.inf)
    wide = low < high
    return np.where(wide, low, lower), np.where(wide, high, upper)


def _reach(problem: Problem, steepest: Floats) -> Floats:
    """About how much each pre-activation moves over the region: float64 [N]. Only choices rest on it."""
    packed = problem.packed
    n = packed.inputs
    moved = np.abs(packed.weight[:, :n]).sum(axis=1)
    for first, last in zip(packed.columns[1:-1], packed.columns[2:], strict=True):
        rows = slice(first - n, last - n)
        before = slice(0, first - n)
        moved[rows] += np.abs(packed.weight[rows, n:first]) @ (steepest[before] * moved[before])
    return np.asarray(moved)
