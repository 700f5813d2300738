"""Neurons' bounds by small searches of their own, one group after the other: see :mod:`distverify.kernels.refinement`."""

from __future__ import annotations

import numpy as np

from distverify.analysis.branching.polytopes import Problem
from distverify.bounds.half_spaces import HalfSpaces, half_spaces, neuron_rows, together
from distverify.bounds.packed import Indices
from distverify.bounds.reduced import Floats
from distverify.kernels.refinement import refine


def refined(
    problem: Problem, lower: Floats, upper: Floats, which: Indices, sides: Indices, slopes: Floats, nodes: int,
    cuts: HalfSpaces | None = None, active: Indices | None = None,
) -> Floats:  # fmt: skip
    """Lower bounds of the pre-activations of neurons ``which`` of one group (of their negatives where ``sides`` is 1).

    Parameters
    ----------
    lower, upper : float64 [N]
        Bounds that hold wherever the result is to hold.
    slopes : float64 [R, N]
        Of each row's lines below, where free.
    nodes : int
        Subproblems of each row's search.
    cuts, active : HalfSpaces, int64 [A]
        Half-spaces, and which of them hold everywhere.

    Returns
    -------
    float64 [R]
        Sound over the part of the region where bounds and half-spaces hold.
    """
    packed = problem.packed
    out = np.empty(which.size)
    if which.size == 0:
        return out
    lines = problem.lines(lower, upper)
    count = int(packed.ends[which[0]]) - packed.inputs
    # Either side of every neuron before.
    neurons, signs = np.arange(count).repeat(2), np.tile([1.0, -1.0], count)
    own = half_spaces(
        packed, neuron_rows(packed, neurons, signs), np.zeros(2 * count), lines, problem.slopes_of(neurons, signs)
    )
    always = np.zeros(0, dtype=np.int64)
    if cuts is not None and active is not None:
        own, always = together(own, cuts), active + own.count
    refine(
        packed.weight, packed.begins, packed.ends, packed.bias, packed.loss, packed.code, packed.parameters, packed.lowest,
        packed.gamma, packed.underflow, lower, upper, lines.su, lines.cu, lines.sl, lines.cl, lines.free, own.half, own.offset,
        own.size, always, packed.gamma_cut(own.count), packed.norm, packed.boxed, packed.lo, packed.hi, packed.rounding.tiny,
        nodes, which, sides, slopes, out,
    )  # fmt: skip
    return out
