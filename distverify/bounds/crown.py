"""CROWN: linear bounds of rows of the network, pulled back to the input through the reduced network.

Source: Zhang et al., NeurIPS 2018 (arXiv 1811.00866), on any directed acyclic graph. Rounding terms: with |a_j| <= alpha_j over the
region, the rounding of a product A W moves the bound of A W a by at most gamma_n |A| (|W| alpha).
"""

from __future__ import annotations

import numpy as np

from distverify.bounds.reduced import Affine, Floats, Reduced
from distverify.kernels.crown import add_extremes, relax_rows
from distverify.kernels.interval import close_bounds
from distverify.kernels.sums import fill_extremes
from distverify.kernels.support import fill_support
from distverify.network.linear.dense import Dense


def affine_bounds(reduced: Reduced, affine: Affine) -> tuple[Floats, Floats]:
    """Bounds of an affine function of the groups over the region: lower, upper float64 [n]; NaN where they overflow."""
    pull = _Pull(reduced, affine.constant.size)
    # The sums that later groups add to these rows round them too.
    error = affine.error + reduced.rounding.gamma(len(reduced.groups)) * affine.size
    pull.constant += np.concatenate([affine.constant, affine.constant])
    pull.error += np.concatenate([error, error])
    for group, edge in affine.edges.items():
        pull.start(group, edge.weight)
    return pull.finish()


def row_bounds(reduced: Reduced, rows: Floats) -> tuple[Floats, Floats]:
    """Bounds of ``rows @ f(x)`` over the region; ``rows`` float64 [K, outputs], result float64 [K] each."""
    output = reduced.output
    assert output is not None
    rows = np.ascontiguousarray(rows, dtype=reduced.rounding.dtype)
    absolute = np.abs(rows).astype(np.float64)
    gamma = reduced.rounding.gamma(output.constant.size)
    combined = Affine(
        {group: Dense(edge.pull(rows)) for group, edge in output.edges.items()},
        rows.astype(np.float64) @ output.constant,
        absolute @ (output.error + gamma * output.size),
        absolute @ output.size,
    )
    return affine_bounds(reduced, combined)


class _Pull:
    """Coefficients on their way to the input: the first ``half`` rows bound from above, the others from below.

    Until the first activation both halves are the same and only one is kept.
    """

    def __init__(self, reduced: Reduced, half: int) -> None:
        self.reduced = reduced
        self.half = half
        self.rows: dict[int, Floats] = {}
        self.constant = np.zeros(2 * half)
        self.error = np.zeros(2 * half)
        self.gamma = reduced.rounding.gamma(reduced.terms)

    def start(self, group: int, rows: Floats) -> None:
        self.rows[group] = rows

    def finish(self) -> tuple[Floats, Floats]:
        """Pull everything down to the input, and take the extremes over the region."""
        for index in range(len(self.reduced.groups) - 1, 0, -1):
            if index in self.rows:
                self._through_group(index, self.rows.pop(index))
        if 0 in self.rows:
            self._at_input(self.rows.pop(0))
        lower, upper = np.empty(self.half), np.empty(self.half)
        close_bounds(self.constant, self.error, self.half, self.reduced.rounding.tiny, lower, upper)
        return lower, upper

    def _through_group(self, index: int, rows: Floats) -> None:
        group = self.reduced.groups[index]
        affine = group.affine
        assert affine is not None
        assert group.lines is not None
        out = np.empty((2 * self.half, group.size), rows.dtype)
        offset = self.half if rows.shape[0] == self.half else 0
        relax_rows(
            rows, offset, self.half, *group.lines, affine.constant, group.pull_loss, group.pull_underflow, self.gamma,
            out, self.constant, self.error,
        )  # fmt: skip
        for source, edge in affine.edges.items():
            known = self.rows.get(source)
            if known is not None and known.shape[0] == self.half:
                known = np.concatenate([known, known])
            self.rows[source] = edge.pull(out, known)

    def _at_input(self, rows: Floats) -> None:
        reduced, half = self.reduced, self.half
        region = reduced.region
        gamma = reduced.rounding.gamma(rows.shape[1] + 4)
        if region.norm == np.inf:
            centre, spread = np.empty((2, rows.shape[0]))
            fill_extremes(rows, reduced.middle, reduced.reach + gamma * reduced.groups[0].magnitude, centre, spread)
            add_extremes(centre, spread, half, self.gamma + 2.0 * gamma, self.constant, self.error)
            return
        if rows.shape[0] == half:
            rows = np.concatenate([rows, rows])
        eps = region.eps if isinstance(region.eps, float) else 0.0  # per feature only with norm inf
        lo, hi = region.box
        fill_support(
            rows, half, region.x0, eps, region.norm, lo, hi, region.clip is not None, gamma, self.constant, self.error
        )
