"""One step of a search: a subproblem's bounds are made anew, and where they do not close it, it is split in two.

Sources: BaB with ReLU splits (Bunel et al., JMLR 2020), multipliers of splits (beta-CROWN, NeurIPS 2021) by clipping (Clip-and-Verify,
NeurIPS 2025). A counterexample meets every constraint of its polytope, so that these are half-spaces like those of splits:
what is bounded under them holds for counterexamples, if there are any.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from distverify.analysis.branching.leaf import cut_off, look_inside, with_decided
from distverify.analysis.branching.places import places_of
from distverify.analysis.branching.polytopes import Problem
from distverify.analysis.branching.subproblem import Subproblem
from distverify.bounds.alpha import Ascent, bound_rows
from distverify.bounds.half_spaces import HalfSpaces
from distverify.bounds.packed import Indices, Lines, Rows
from distverify.bounds.reduced import Floats
from distverify.kernels.splits import try_splits

# Relative to what is missing: splits that gain less are no guide.
_LITTLE = 1e-3


@dataclass(frozen=True)
class Effort:
    """What a step may cost.

    Attributes
    ----------
    steps : int
        Of the ascent of each row.
    rate : float
        Of the ascent; see :func:`distverify.kernels.ascent.ascend`.
    candidates : int
        Neurons that are tried.
    sweeps : int
        Of coordinate ascent per bound.
    cuts : int
        Half-spaces of older splits under which neurons are bounded anew.
    """

    steps: int = 8
    rate: float = 0.0
    candidates: int = 4
    sweeps: int = 2
    cuts: int = 4


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a subproblem.

    Attributes
    ----------
    bound : float
        Of what is left of it; inf where nothing is.
    children : list of Subproblem
        What is still open of it.
    points : float64 [K, n]
        Where counterexamples are likely, in the packed network's inputs.
    stuck : bool
        It is open, and there is nothing to split.
    """

    bound: float
    children: list[Subproblem] = field(default_factory=list)
    points: Floats | None = None
    stuck: bool = False


def process(problem: Problem, sub: Subproblem, effort: Effort) -> Outcome:
    """Bound ``sub``, and split it unless it is closed; see :class:`Outcome`."""
    packed, rows = problem.packed, problem.rows[sub.polytope]
    state = _State(problem, sub, rows, sub.lower.copy(), sub.upper.copy())
    state.renew()
    if packed.neurons and sub.depth + rows.count:
        if (
            problem.tighten(state.lower, state.upper, state.lines, state.cuts, _decisive(rows, sub, state.cuts, effort))
            < 0
        ):
            return Outcome(np.inf)
        state.renew()
    main, ascent = _bound(state, effort)
    bound = max(sub.bound, float(ascent.bounds[main]))
    if bound > 0.0:
        return Outcome(bound)
    points = ascent.points[main : main + 1]
    neurons = _candidates(state, ascent, main, ascent.pulled[main, packed.inputs :], ascent.multipliers[main], effort)
    tried, blended = _try(state, ascent, main, neurons)
    if not _gains(tried, bound).max(initial=0.0) > _LITTLE * -bound:
        # The row's own relaxations cost nothing, or no half-space helps against them: is there anything left at all?
        deep = with_decided(problem, sub, state.lower, state.upper)
        cuts = cut_off(problem, rows, deep, state.lines)
        inside = look_inside(packed, cuts)
        if inside is not None:
            if inside.empty:
                return Outcome(np.inf)
            assert inside.point is not None
            points = np.concatenate([points, inside.point[None]])
            state.cuts, extra = cuts, inside.multipliers
            again = _candidates(state, ascent, main, np.zeros(packed.neurons), extra, effort)
            neurons = again if again.size else neurons
        if neurons.size == 0:
            neurons = _widest(state)
        if neurons.size == 0:
            return Outcome(bound, points=points, stuck=True)
        state.cuts = cut_off(problem, rows, sub, state.lines)
        tried, blended = _try(state, ascent, main, neurons)
    gains = _gains(tried, bound)
    best = int(np.argmax(gains.min(axis=1) + 0.1 * gains.max(axis=1)))
    return Outcome(bound, _children(state, ascent, main, bound, int(neurons[best]), tried[best], blended[best]), points)


@dataclass(eq=False)
class _State:
    """A subproblem while it is bounded: its neurons' bounds, their lines, and the half-spaces by these."""

    problem: Problem
    sub: Subproblem
    rows: Rows
    lower: Floats
    upper: Floats
    lines: Lines = field(init=False)
    cuts: HalfSpaces = field(init=False)

    def renew(self) -> None:
        """The lines and half-spaces that the bounds give."""
        self.lines = self.problem.lines(self.lower, self.upper)
        self.cuts = cut_off(self.problem, self.rows, self.sub, self.lines)


def _decisive(rows: Rows, sub: Subproblem, cuts: HalfSpaces, effort: Effort) -> Indices:
    """The half-spaces that neurons are bounded under: constraints, the newest split, and what held the parent's bound most."""
    weight = sub.multipliers * cuts.size
    weight[: rows.count] = 0.0
    held = np.argsort(-weight, kind="stable")[: effort.cuts]
    held = held[weight[held] > 0.0]
    newest = np.array([cuts.count - 1] if sub.depth else [], dtype=np.int64)
    return np.unique(np.concatenate([np.arange(rows.count), held, newest]))


def _bound(state: _State, effort: Effort) -> tuple[int, Ascent]:
    """Bounds of the polytope's rows, and which is the best one. Each row's own half-space does nothing for itself."""
    parts = []
    rows, sub, cuts = state.rows, state.sub, state.cuts
    for k in range(rows.count):
        others = np.array([s for s in range(cuts.count) if s != k], dtype=np.int64)
        one = np.array([k])
        parts.append(
            bound_rows(
                state.problem.packed, rows.take(one), effort.steps, lines=state.lines, slopes=sub.slopes[one], goal=0.0,
                half_spaces=cuts, multipliers=sub.multipliers[None], active=others, sweeps=effort.sweeps, rate=effort.rate,
            )
        )  # fmt: skip
        if parts[-1].bounds[0] > 0.0:
            break
    joined = Ascent(*(np.concatenate([getattr(p, name) for p in parts]) for name in Ascent.__dataclass_fields__))
    return int(np.argmax(joined.bounds)), joined


def _candidates(
    state: _State, ascent: Ascent, main: int, coefficients: Floats, multipliers: Floats, effort: Effort
) -> Indices:
    """The neurons whose relaxation costs most: of a row with ``coefficients`` [N], and of half-spaces with ``multipliers`` [S]."""
    lines, lower, upper = state.lines, state.lower, state.upper
    below = np.where(lines.free, ascent.slopes[main], lines.sl)
    above_cost = lines.cu
    below_cost = np.maximum((1.0 - below) * upper, -(below - state.problem.packed.lowest) * lower)
    if not lines.free.all():
        # Of other lines, how far they are apart.
        width = np.maximum(
            lines.su * upper + lines.cu - (lines.sl * upper + lines.cl),
            lines.su * lower + lines.cu - (lines.sl * lower + lines.cl),
        )
        above_cost, below_cost = np.where(lines.free, above_cost, width), np.where(lines.free, below_cost, width)
    used = np.flatnonzero(multipliers > 0.0)
    shares = np.concatenate([coefficients[None], state.cuts.coefficients[used] * multipliers[used, None]])
    score = np.maximum(-shares, 0.0).sum(axis=0) * above_cost + 0.5 * np.maximum(shares, 0.0).sum(axis=0) * below_cost
    score = np.where(lines.open, score, 0.0)
    neurons = np.argsort(-score, kind="stable")[: effort.candidates]
    return neurons[score[neurons] > 0.0]


def _widest(state: _State) -> Indices:
    """The open neuron of the widest interval, in the first group that has one."""
    apart = np.where(state.lines.open, state.upper - state.lower, 0.0)
    if not apart.any():
        return np.zeros(0, dtype=np.int64)
    ends = state.problem.packed.ends
    first = ends == ends[np.flatnonzero(apart)[0]]
    return np.array([int(np.argmax(np.where(first, apart, 0.0)))])


def _try(state: _State, ascent: Ascent, main: int, neurons: Indices) -> tuple[Floats, Floats]:
    """Both children's bounds [C, 2] for each candidate, and the slopes [C, 2, N] that they start from."""
    problem, rows, lines = state.problem, state.rows, state.lines
    packed, room = problem.packed, state.cuts.with_room()
    tried, blended = np.empty((neurons.size, 2)), np.empty((neurons.size, 2, packed.neurons))
    multipliers = np.append(ascent.multipliers[main], 0.0)
    places = places_of(packed, state.lower[neurons], state.upper[neurons], neurons)
    try_splits(
        packed.weight, packed.begins, packed.ends, packed.bias, packed.loss, packed.code, packed.parameters,
        state.lower, state.upper, lines.su, lines.cu, lines.sl, lines.cl, lines.free, problem.alpha, packed.gamma,
        packed.underflow, rows.weight[main], rows.constant[main], rows.error[main], rows.top[main], ascent.slopes[main],
        np.ascontiguousarray(ascent.pulled[main, packed.inputs :]), room.half, room.offset, room.size, multipliers,
        np.flatnonzero(multipliers > 0.0), 1, packed.gamma_cut(room.count), packed.norm, packed.boxed, packed.lo, packed.hi,
        packed.rounding.tiny, neurons, places, tried, blended,
    )  # fmt: skip
    return tried, blended


def _gains(tried: Floats, bound: float) -> Floats:
    """By how much each child's bound is nearer to 0; what is above it counts no more."""
    return np.minimum(np.maximum(tried - bound, 0.0), -bound + 1e-12)


def _children(
    state: _State, ascent: Ascent, main: int, bound: float, neuron: int, tried: Floats, blended: Floats
) -> list[Subproblem]:
    """Both sides of the split, unless the trial closed them."""
    sub = state.sub
    one = np.array([neuron])
    place = float(places_of(state.problem.packed, state.lower[one], state.upper[one], one)[0])
    children = []
    for side in (0, 1):
        if tried[side] > 0.0:
            continue
        lower, upper, slopes = state.lower.copy(), state.upper.copy(), sub.slopes.copy()
        slopes[: ascent.slopes.shape[0]] = ascent.slopes
        slopes[main] = blended[side]
        if side == 0:
            upper[neuron] = place
        else:
            lower[neuron] = place
        children.append(
            Subproblem(
                sub.polytope, max(bound, float(tried[side])), lower, upper, np.append(sub.neurons, neuron),
                np.append(sub.sides, 1.0 if side else -1.0), np.append(sub.places, place), slopes,
                np.append(ascent.multipliers[main], 0.0),
            )
        )  # fmt: skip
    return children
