"""What a search looks for: inputs of a region whose outputs lie in one of some polytopes, and the region's packed network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distverify.bounds import crown
from distverify.bounds.alpha import bound_rows
from distverify.bounds.enclosure import Enclosure
from distverify.bounds.half_spaces import HalfSpaces, neuron_rows
from distverify.bounds.packed import Indices, Lines, Packed, Rows, pack
from distverify.bounds.reduced import Affine, Floats
from distverify.kernels.ascent import tighten
from distverify.kernels.mixed import fill_mixed_lines
from distverify.network.graph import Network

# Steps of the ascent for the slopes that every neuron's bounds keep in the whole tree.
_LAYER_STEPS = 8
# More neurons than this keep the slopes that their lines have by themselves: the table of slopes grows with their square.
_MOST_OWN_SLOPES = 1500


@dataclass(frozen=True, eq=False)
class Target:
    """Outputs y with ``rows @ y - bounds <= off``, all of them.

    Attributes
    ----------
    rows : float64 [q, outputs]
    bounds : float64 [q]
    off : float64 [q]
        How much rounding of the constraints themselves, or evaluation in single precision, may hide: outputs are proved to lie
        farther off than that, and counterexamples lie as far inside.
    """

    rows: Floats
    bounds: Floats
    off: Floats


@dataclass(frozen=True, eq=False)
class Problem:
    """A region with targets, ready to be searched.

    Attributes
    ----------
    network : Network
    packed : Packed
    targets : tuple of Target
    rows : list of Rows
        Of each target, how far each constraint is from being met.
    lower, upper : float64 [N]
        Pre-activation bounds over the region.
    alpha : float64 [2, N or 1, N]
        Slopes of the lines below in each neuron's lower and upper bound, where free.
    """

    network: Network
    packed: Packed
    targets: tuple[Target, ...]
    rows: list[Rows]
    lower: Floats
    upper: Floats
    alpha: Floats

    def lines(self, lower: Floats, upper: Floats) -> Lines:
        """Lines on pre-activation bounds."""
        packed = self.packed
        rows = np.empty((4, packed.neurons))
        fill_mixed_lines(packed.code, lower, upper, packed.parameters, rows)
        su, cu, sl, cl = rows
        return Lines(su, cu, sl, cl, packed.optional & (lower < 0.0) & (upper > 0.0))

    def tighten(self, lower: Floats, upper: Floats, lines: Lines, cuts: HalfSpaces, active: Indices) -> int:
        """Bound open neurons anew under the half-spaces ``active``, first groups first, in place: see :mod:`distverify.kernels.ascent`.

        Returns
        -------
        int
            How many bounds moved; -1 where nothing is left.
        """
        packed = self.packed
        return int(
            tighten(
                packed.weight, packed.begins, packed.ends, packed.bias, packed.loss, packed.code, packed.parameters,
                packed.optional, packed.gamma, packed.underflow, self.alpha, lines.open, cuts.half, cuts.offset,
                cuts.size, active, 1, packed.gamma_cut(cuts.count), packed.norm, packed.boxed, packed.lo, packed.hi,
                packed.rounding.tiny, lower, upper, lines.su, lines.cu, lines.sl, lines.cl, lines.free,
            )
        )  # fmt: skip

    def slopes_of(self, neurons: Indices, signs: Floats) -> Floats:
        """The slopes that lower bounds of ``signs`` times the neurons' pre-activations take, float64 [S, N]."""
        sides = np.where(signs > 0, 0, 1)
        return np.asarray(self.alpha[sides, neurons if self.alpha.shape[1] > 1 else 0])


def pose(enclosure: Enclosure, targets: Sequence[Target]) -> Problem:
    """The search for ``targets`` over the enclosure's region."""
    reduced = enclosure.reduced
    packed = pack(reduced)
    intervals = [group.interval for group in reduced.groups[1:] if group.interval is not None]
    lower, upper = (np.concatenate([np.zeros(0), *[i[side] for i in intervals]]) for side in (0, 1))
    rows = [packed.rows(_clearance(enclosure, target)) for target in targets]
    return Problem(
        enclosure.network, packed, tuple(targets), rows, lower, upper, packed.lines.sl[None, None].repeat(2, axis=0)
    )


def with_own_slopes(problem: Problem) -> Problem:
    """The same with optimised slopes for every neuron's bounds, which they tighten group by group.

    Worth its time where many subproblems follow: a tree keeps the slopes.
    """
    packed = problem.packed
    if not 0 < packed.neurons <= _MOST_OWN_SLOPES:
        return problem
    lower, upper = problem.lower.copy(), problem.upper.copy()
    alpha = np.repeat(packed.lines.sl[None, None], 2, axis=0).repeat(packed.neurons, axis=1)
    for first, last in zip(packed.columns[1:-1], packed.columns[2:], strict=True):
        group = np.arange(first, last) - packed.inputs
        lines = problem.lines(lower, upper)
        which = group[(lower[group] < upper[group]) & lines.open[group]]
        for side, sign in enumerate((1.0, -1.0)):
            rows = neuron_rows(packed, which, np.full(which.size, sign))
            ascent = bound_rows(packed, rows, _LAYER_STEPS, lines=lines, goal=0.0)
            alpha[side, which] = ascent.slopes
            if side == 0:
                lower[which] = np.fmax(lower[which], ascent.bounds)
            else:
                upper[which] = np.fmin(upper[which], -ascent.bounds)
    return Problem(problem.network, packed, problem.targets, problem.rows, lower, upper, alpha)


def _clearance(enclosure: Enclosure, target: Target) -> Affine:
    """``rows @ f - bounds`` as a function of the groups."""
    rows = crown.combine(enclosure.reduced, target.rows)
    size = rows.size + np.abs(target.bounds)
    error = rows.error + enclosure.rounding.gamma(2) * size + target.off
    return Affine(rows.edges, rows.constant - target.bounds, error, size)
