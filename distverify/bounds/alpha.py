"""Optimised slopes: bounds of rows over the region whose lines below are chosen row by row.

Source: alpha-CROWN, Xu et al., ICLR 2021 (arXiv 2011.13824); see :mod:`distverify.kernels.ascent` for how.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distverify.bounds.half_spaces import HalfSpaces, whole_ball
from distverify.bounds.packed import Indices, Lines, Packed, Rows
from distverify.bounds.reduced import Floats
from distverify.kernels.ascent import ascend

STEPS = 20
RATE = 0.5


@dataclass(frozen=True, eq=False)
class Ascent:
    """Sound lower bounds of rows, and what gave them.

    Attributes
    ----------
    bounds : float64 [R]
    slopes : float64 [R, N]
        Of the lines below, where free.
    multipliers : float64 [R, S]
    pulled : float64 [R, n + N]
        Coefficients at the neurons; at the inputs with the multipliers' share.
    points : float64 [R, n]
        Minimisers of the bounding linear function, in the packed network's inputs.
    """

    bounds: Floats
    slopes: Floats
    multipliers: Floats
    pulled: Floats
    points: Floats


def bound_rows(
    packed: Packed,
    rows: Rows,
    steps: int = STEPS,
    *,
    lines: Lines | None = None,
    slopes: Floats | None = None,
    goal: float | Floats = np.inf,
    half_spaces: HalfSpaces | None = None,
    multipliers: Floats | None = None,
    active: Indices | None = None,
    sweeps: int = 2,
    rate: float = RATE,
) -> Ascent:
    """Sound lower bounds of ``rows`` over the packed region, or what half-spaces leave of it.

    Parameters
    ----------
    steps : int
        Of the ascent; 0: the lines as they are.
    lines : Lines, optional
        By default those of the whole region.
    slopes : float64 [R, N], optional
        Where the ascent starts; by default at the lines below.
    goal : float or float64 [R]
        A row ends early once its bound is larger.
    rate : see :func:`distverify.kernels.ascent.ascend`
    half_spaces, multipliers, active, sweeps : see :func:`distverify.kernels.clip.cut_minimum`
    """
    lines = packed.lines if lines is None else lines
    cuts = whole_ball(packed) if half_spaces is None else half_spaces
    count, neurons = rows.count, packed.neurons
    alpha = np.repeat(lines.sl[None], count, axis=0) if slopes is None else slopes.copy()
    found = np.zeros((count, cuts.count)) if multipliers is None else multipliers.copy()
    best, pulled = np.empty(count), np.empty((count, packed.inputs + neurons))
    points = np.empty((count, packed.inputs))
    ascend(
        packed.weight, packed.begins, packed.ends, packed.bias, packed.loss, lines.su, lines.cu, lines.sl, lines.cl, lines.free,
        packed.lowest, packed.gamma, packed.underflow, rows.top, rows.weight, rows.constant, rows.error,
        np.ascontiguousarray(np.broadcast_to(np.asarray(goal, dtype=np.float64), (count,))),
        cuts.half, cuts.offset, cuts.size, np.arange(cuts.count) if active is None else active, sweeps,
        packed.gamma_cut(cuts.count), packed.norm, packed.boxed, packed.lo, packed.hi, packed.rounding.tiny, steps, rate,
        alpha, found, best, pulled, points,
    )  # fmt: skip
    return Ascent(best, alpha, found, pulled, points)
