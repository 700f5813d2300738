"""Leaves, and subproblems where half-spaces clip no further: a linear program tells whether they leave anything.

Its dual multipliers, evaluated soundly, prove that nothing is left; otherwise it names a point deep inside, which where every sign is
fixed is a counterexample but for rounding, and the half-spaces that are tight there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linprog

from distverify.analysis.branching.places import places_of
from distverify.analysis.branching.polytopes import Problem
from distverify.analysis.branching.subproblem import Subproblem
from distverify.bounds.half_spaces import HalfSpaces, half_spaces, neuron_rows
from distverify.bounds.packed import Lines, Packed, Rows
from distverify.bounds.reduced import Floats
from distverify.kernels.clip import cut_minima


@dataclass(frozen=True, eq=False)
class Inside:
    """What half-spaces leave of the cube.

    Attributes
    ----------
    empty : bool
        Proved: nothing.
    multipliers : float64 [S]
        Of the half-spaces that are tight at the deepest point.
    point : float64 [n] or None
        That point, up to rounding.
    """

    empty: bool
    multipliers: Floats
    point: Floats | None


def cut_off(problem: Problem, rows: Rows, sub: Subproblem, lines: Lines) -> HalfSpaces:
    """The half-spaces of the polytope's constraints and of the splits, by ``lines``."""
    own = neuron_rows(problem.packed, sub.neurons, -sub.sides)
    together = Rows(
        np.concatenate([rows.weight, own.weight]), np.concatenate([rows.constant, own.constant]),
        np.concatenate([rows.error, own.error]), np.concatenate([rows.top, own.top]),
    )  # fmt: skip
    slopes = np.concatenate([sub.slopes, problem.slopes_of(sub.neurons, -sub.sides)])
    most = np.concatenate([np.zeros(rows.count), -sub.sides * sub.places])
    return half_spaces(problem.packed, together, most, lines, slopes)


def with_decided(problem: Problem, sub: Subproblem, lower: Floats, upper: Floats) -> Subproblem:
    """``sub`` with a split for every neuron that was decided on the way: what all of its points satisfy anyhow.

    Where every sign is fixed, the splits are then all that makes the network's rows the linear ones of the leaf.
    """
    own = np.zeros(lower.size, dtype=bool)
    own[sub.neurons] = True
    before, now = problem.lines(problem.lower, problem.upper), problem.lines(lower, upper)
    neurons = np.flatnonzero(~own & before.open & ~now.open)
    at = places_of(problem.packed, problem.lower[neurons], problem.upper[neurons], neurons)
    sides = np.where(lower[neurons] >= at, 1.0, -1.0)
    return replace(
        sub, neurons=np.append(sub.neurons, neurons), sides=np.append(sub.sides, sides), places=np.append(sub.places, at),
        multipliers=np.append(sub.multipliers, np.zeros(neurons.size)),
    )  # fmt: skip


def look_inside(packed: Packed, cuts: HalfSpaces) -> Inside | None:
    """The deepest point of the cube behind all half-spaces; None where there is no such program: norms 2 and 1.

    Solved is min s with half t + offset <= s size: s > 0 says that there is none, and its dual multipliers prove it.
    """
    never = (cuts.size == 0.0) & (cuts.offset > 0.0)
    if never.any():  # a constant that is too large: there is no such point
        return Inside(True, never.astype(np.float64), None)
    usable = np.flatnonzero(np.isfinite(cuts.offset) & (cuts.size > 0.0))
    if packed.norm != np.inf or packed.inputs == 0 or usable.size == 0:
        return None
    half, size, n = cuts.half[usable], cuts.size[usable], packed.inputs
    solved = linprog(
        np.append(np.zeros(n), 1.0), A_ub=np.hstack([half / size[:, None], np.full((usable.size, 1), -1.0)]),
        b_ub=-cuts.offset[usable] / size, bounds=[(-1.0, 1.0)] * n + [(None, None)], method="highs",
    )  # fmt: skip
    if solved.status != 0:
        return None
    multipliers = np.zeros(cuts.count)
    multipliers[usable] = np.maximum(-solved.ineqlin.marginals, 0.0) / size
    out = np.empty(1)
    cut_minima(
        np.zeros((1, n)), np.zeros(1), np.zeros(1), cuts.half, cuts.offset, cuts.size, multipliers[None].copy(), usable, 0,
        packed.gamma_cut(cuts.count), packed.norm, packed.boxed, packed.lo, packed.hi, packed.rounding.tiny, out,
    )  # fmt: skip
    return Inside(bool(out[0] > 0.0), multipliers, np.clip(solved.x[:n], -1.0, 1.0))
