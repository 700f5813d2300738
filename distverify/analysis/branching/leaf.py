"""Leaves: where no relaxation costs anything any more, a linear program settles the rest.

Its dual multipliers, evaluated soundly, prove a leaf empty or its row positive; its minimiser is a point to try, and where every sign is
fixed a counterexample but for rounding.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from distverify.analysis.branching.polytopes import Problem
from distverify.analysis.branching.subproblem import Outcome, Subproblem
from distverify.bounds.alpha import Ascent, bound_rows
from distverify.bounds.half_spaces import HalfSpaces
from distverify.bounds.packed import Floats, Lines, Rows


def settle(
    problem: Problem,
    sub: Subproblem,
    rows: Rows,
    main: int,
    ascent: Ascent,
    cuts: HalfSpaces,
    lines: Lines,
    bound: float,
) -> Outcome:
    """Settle a subproblem whose row no relaxation makes loose; norm inf only, for the others the ball is no polytope."""
    packed = problem.packed
    if packed.norm != np.inf or packed.inputs == 0:
        return Outcome(bound, points=ascent.points[main : main + 1], stuck=True)
    # The row without the half-spaces' share.
    plain = bound_rows(packed, rows.take(np.array([main])), 0, lines=lines, slopes=ascent.slopes[main : main + 1])
    row = plain.pulled[0, : packed.inputs]
    points = [ascent.points[main]]
    multipliers, point = _solve(row, cuts, main)
    if point is not None:
        points.append(point)
    for candidate in multipliers:
        # Far larger than any bound of the row: what is empty is proved so by the row's bound as well.
        again = bound_rows(
            packed, rows.take(np.array([main])), 0, lines=lines, slopes=ascent.slopes[main : main + 1],
            half_spaces=cuts, multipliers=candidate[None], sweeps=0,
        )  # fmt: skip
        bound = max(bound, float(again.bounds[0]))
    return Outcome(bound, points=np.stack(points), stuck=not bound > 0.0)


def _solve(row: Floats, cuts: HalfSpaces, main: int) -> tuple[list[Floats], Floats | None]:
    """Multipliers to try, and the minimiser of ``row`` over the cube and half-spaces, if there is one."""
    others = np.array([s for s in range(cuts.count) if s != main and np.isfinite(cuts.offset[s])], dtype=np.int64)
    half, offset = cuts.half[others], cuts.offset[others]
    found = []
    solved = linprog(row, A_ub=half, b_ub=-offset, bounds=(-1.0, 1.0), method="highs") if others.size else None
    if solved is None:
        return [], -np.sign(row)
    if solved.status == 0:
        multipliers = np.zeros(cuts.count)
        multipliers[others] = np.maximum(-solved.ineqlin.marginals, 0.0)
        return [multipliers], np.clip(solved.x, -1.0, 1.0)
    # Infeasible: how far must the half-spaces give way at least? Its multipliers are Farkas's.
    n = row.size
    elastic = linprog(
        np.append(np.zeros(n), 1.0), A_ub=np.hstack([half, -np.ones((others.size, 1))]), b_ub=-offset,
        bounds=[(-1.0, 1.0)] * n + [(0.0, None)], method="highs",
    )  # fmt: skip
    if elastic.status == 0:
        farkas = np.zeros(cuts.count)
        farkas[others] = np.maximum(-elastic.ineqlin.marginals, 0.0)
        scale = np.abs(row).sum() / max(1e-300, float(elastic.fun))
        found = [farkas * (scale * factor) for factor in (4.0, 1e3, 1e6)]
    return found, None
