"""One step of a search: a subproblem's bounds are made anew, and where they do not close it, it is split in two.

Sources: BaB with ReLU splits (Bunel et al., JMLR 2020), multipliers of splits (beta-CROWN, NeurIPS 2021) by clipping (Clip-and-Verify,
NeurIPS 2025). A counterexample meets every constraint of its polytope, so that these are half-spaces like those of splits:
what is bounded under them holds for counterexamples, if there are any.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distverify.analysis.branching.leaf import settle
from distverify.analysis.branching.polytopes import Problem
from distverify.analysis.branching.subproblem import Outcome, Subproblem
from distverify.bounds.alpha import Ascent, bound_rows
from distverify.bounds.half_spaces import HalfSpaces, half_spaces, neuron_rows
from distverify.bounds.packed import Floats, Indices, Lines, Rows
from distverify.kernels.activations import CLIP, HARD_SIGMOID, LEAKY
from distverify.kernels.ascent import tighten
from distverify.kernels.splits import try_splits


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
    rounds : int
        Passes of tightening at most.
    """

    steps: int = 8
    rate: float = 0.0
    candidates: int = 4
    sweeps: int = 2
    cuts: int = 4
    rounds: int = 1


def process(problem: Problem, sub: Subproblem, effort: Effort) -> Outcome:
    """Bound ``sub``, and split it unless it is closed; see :class:`Outcome`."""
    packed, rows = problem.packed, problem.rows[sub.polytope]
    lower, upper = sub.lower.copy(), sub.upper.copy()
    lines = problem.lines(lower, upper)
    cuts = cut_off(problem, rows, sub, lines)
    active = _decisive(rows, sub, cuts, effort)
    if packed.neurons:
        moved = _tighten(problem, lower, upper, lines, cuts, active, effort)
        if moved < 0:
            return Outcome(np.inf)
        cuts = cut_off(problem, rows, sub, lines)
    main, ascent = _bound(problem, rows, sub, lines, cuts, effort)
    bound = max(sub.bound, float(ascent.bounds[main]))
    if bound > 0.0:
        return Outcome(bound)
    neurons, places = _candidates(problem, lower, upper, lines, ascent, main, cuts, effort)
    if neurons.size == 0:
        return settle(problem, sub, rows, main, ascent, cuts, lines, bound)
    children = _split(problem, sub, rows, lower, upper, lines, ascent, main, cuts, bound, neurons, places, effort)
    return Outcome(bound, children, ascent.points[main : main + 1])


def cut_off(problem: Problem, rows: Rows, sub: Subproblem, lines: Lines) -> HalfSpaces:
    """The half-spaces of the polytope's constraints and of the splits, by the lines given."""
    own = neuron_rows(problem.packed, sub.neurons, -sub.sides)
    together = Rows(
        np.concatenate([rows.weight, own.weight]), np.concatenate([rows.constant, own.constant]),
        np.concatenate([rows.error, own.error]), np.concatenate([rows.top, own.top]),
    )  # fmt: skip
    slopes = np.concatenate([sub.slopes, problem.slopes_of(sub.neurons, -sub.sides)])
    most = np.concatenate([np.zeros(rows.count), -sub.sides * sub.places])
    return half_spaces(problem.packed, together, most, lines, slopes)


def _decisive(rows: Rows, sub: Subproblem, cuts: HalfSpaces, effort: Effort) -> Indices:
    """The half-spaces that neurons are bounded under: constraints, the newest split, and what held the parent's bound most."""
    weight = sub.multipliers * cuts.size
    weight[: rows.count] = 0.0
    held = np.argsort(-weight, kind="stable")[: effort.cuts]
    held = held[weight[held] > 0.0]
    newest = np.array([cuts.count - 1] if sub.depth else [], dtype=np.int64)
    return np.unique(np.concatenate([np.arange(rows.count), held, newest]))


def _tighten(
    problem: Problem, lower: Floats, upper: Floats, lines: Lines, cuts: HalfSpaces, active: Indices, effort: Effort
) -> int:
    packed = problem.packed
    total = 0
    for _ in range(effort.rounds):
        chosen = (lines.su != lines.sl) | (lines.cu != lines.cl)
        moved = tighten(
            packed.weight, packed.begins, packed.ends, packed.bias, packed.loss, packed.code, packed.parameters, packed.optional,
            packed.gamma, packed.underflow, problem.alpha, chosen, cuts.half, cuts.offset, cuts.size, active, 1,
            packed.gamma_cut(cuts.count), packed.norm, packed.boxed, packed.lo, packed.hi, packed.rounding.tiny,
            lower, upper, lines.su, lines.cu, lines.sl, lines.cl, lines.free,
        )  # fmt: skip
        if moved < 0:
            return -1
        total += moved
        if moved == 0:
            break
    return total


def _bound(
    problem: Problem, rows: Rows, sub: Subproblem, lines: Lines, cuts: HalfSpaces, effort: Effort
) -> tuple[int, Ascent]:
    """Bounds of the polytope's rows, and which is the best one. Each row's own half-space does nothing for itself."""
    parts = []
    for k in range(rows.count):
        others = np.array([s for s in range(cuts.count) if s != k], dtype=np.int64)
        one = np.array([k])
        parts.append(
            bound_rows(
                problem.packed, rows.take(one), effort.steps, lines=lines, slopes=sub.slopes[one], goal=0.0,
                half_spaces=cuts, multipliers=sub.multipliers[None], active=others, sweeps=effort.sweeps,
                rate=effort.rate,
            )
        )  # fmt: skip
        if parts[-1].bounds[0] > 0.0:
            break
    joined = Ascent(*(np.concatenate([getattr(p, name) for p in parts]) for name in Ascent.__dataclass_fields__))
    return int(np.argmax(joined.bounds)), joined


def _candidates(
    problem: Problem, lower: Floats, upper: Floats, lines: Lines, ascent: Ascent, main: int, cuts: HalfSpaces, effort: Effort
) -> tuple[Indices, Floats]:  # fmt: skip
    """The neurons whose relaxation costs the bound most, and where to split them.

    The row's coefficients hold the share of the half-spaces, as far as their multipliers carry them.
    """
    n = problem.packed.inputs
    coefficients = ascent.pulled[main, n:].copy()
    gap = lines.cu.copy()
    below = np.where(lines.free, ascent.slopes[main], lines.sl)
    slack = np.where(lines.free, np.maximum((1.0 - below) * upper, -(below - problem.packed.lowest) * lower), 0.0)
    if not lines.free.all():
        width = np.maximum(lines.su * upper + lines.cu - (lines.sl * upper + lines.cl), 0.0)
        width = np.maximum(width, lines.su * lower + lines.cu - (lines.sl * lower + lines.cl))
        gap = np.where(lines.free, gap, width)
        slack = np.where(lines.free, slack, width)
    score = np.maximum(-coefficients, 0.0) * gap + 0.5 * np.maximum(coefficients, 0.0) * slack
    used = np.flatnonzero(ascent.multipliers[main] > 0.0)
    for s in used:
        own = cuts.coefficients[s] * ascent.multipliers[main, s]
        score += np.maximum(-own, 0.0) * gap + 0.5 * np.maximum(own, 0.0) * slack
    open_ = (lines.su != lines.sl) | (lines.cu != lines.cl)
    score = np.where(open_, score, 0.0)
    neurons = np.argsort(-score, kind="stable")[: effort.candidates]
    neurons = neurons[score[neurons] > 0.0]
    return neurons, _places(problem, lower, upper, neurons)


def _places(problem: Problem, lower: Floats, upper: Floats, neurons: Indices) -> Floats:
    """A kink inside the neuron's interval, or the middle of it."""
    packed = problem.packed
    places = 0.5 * lower[neurons] + 0.5 * upper[neurons]
    code, (p0, p1) = packed.code[neurons], packed.parameters[:, neurons]
    with np.errstate(divide="ignore", invalid="ignore"):
        kinks = np.stack(
            [
                np.where(code == LEAKY, 0.0, np.where(code == CLIP, p0, np.where(code == HARD_SIGMOID, -p1 / p0, np.nan))),
                np.where(code == LEAKY, 0.0, np.where(code == CLIP, p1, np.where(code == HARD_SIGMOID, (1 - p1) / p0, np.nan))),
            ]
        )  # fmt: skip
    for kink in kinks:
        inside = (lower[neurons] < kink) & (kink < upper[neurons])
        places = np.where(inside, kink, places)
    return places


def _split(
    problem: Problem, sub: Subproblem, rows: Rows, lower: Floats, upper: Floats, lines: Lines, ascent: Ascent, main: int,
    cuts: HalfSpaces, bound: float, neurons: Indices, places: Floats, effort: Effort,
) -> list[Subproblem]:  # fmt: skip
    packed = problem.packed
    room = cuts.with_room()
    tried = np.empty((neurons.size, 2))
    blended = np.empty((neurons.size, 2, packed.neurons))
    multipliers = np.append(ascent.multipliers[main], 0.0)
    active = np.flatnonzero(multipliers > 0.0)
    try_splits(
        packed.weight, packed.begins, packed.ends, packed.bias, packed.loss, packed.code, packed.parameters, lower, upper,
        lines.su, lines.cu, lines.sl, lines.cl, lines.free, problem.alpha, packed.gamma, packed.underflow,
        rows.weight[main], rows.constant[main], rows.error[main], rows.top[main], ascent.slopes[main],
        np.ascontiguousarray(ascent.pulled[main, packed.inputs :]),
        room.half, room.offset, room.size, multipliers, active, 1, packed.gamma_cut(room.count), packed.norm, packed.boxed,
        packed.lo, packed.hi, packed.rounding.tiny, neurons, places, tried, blended,
    )  # fmt: skip
    gain = np.minimum(np.maximum(tried - bound, 0.0), -bound + 1e-12)
    best = int(np.argmax(gain.min(axis=1) + 0.1 * gain.max(axis=1)))
    children = []
    i, place = int(neurons[best]), float(places[best])
    slopes = sub.slopes.copy()
    slopes[: ascent.slopes.shape[0]] = ascent.slopes
    for side in (0, 1):
        if tried[best, side] > 0.0:
            continue
        low, high = lower.copy(), upper.copy()
        slopes = slopes.copy()
        slopes[main] = blended[best, side]
        if side == 0:
            high[i] = place
        else:
            low[i] = place
        children.append(
            Subproblem(
                sub.polytope, max(bound, float(tried[best, side])), 0, low, high, np.append(sub.neurons, i),
                np.append(sub.sides, 1.0 if side else -1.0), np.append(sub.places, place), slopes, multipliers,
            )
        )  # fmt: skip
    return children
