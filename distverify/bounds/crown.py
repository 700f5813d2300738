"""CROWN: linear bounds of rows of the network, pulled back to the input through the reduced network.

Source: Zhang et al., NeurIPS 2018 (arXiv 1811.00866), on any directed acyclic graph. Rounding terms: with |a_j| <= alpha_j over the
region, the rounding of a product A W moves the bound of A W a by at most gamma_n |A| (|W| alpha).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from distverify.bounds.reduced import Affine, Floats, Lines, Pair, Reduced
from distverify.kernels.crown import add_extremes, relax_rows
from distverify.kernels.interval import close_bounds
from distverify.kernels.sums import fill_extremes
from distverify.kernels.support import fill_support
from distverify.network.linear.dense import Dense

# Coefficients of one group in flight.
_BLOCK_ENTRIES = 2**22


class AtInput(Protocol):
    """What ends a pull: the extremes of linear functions of the input over what is left of the region."""

    def __call__(
        self, reduced: Reduced, coefficients: Floats, half: int, gamma: float, constant: Floats, error: Floats
    ) -> None:
        """Add each row's maximum (from ``half`` on: minimum) over the region to ``constant``, and what rounding may hide to ``error``.

        ``coefficients`` float64 or float32 [2 half, inputs], or [half, inputs] where both halves have the same; ``gamma`` covers
        the sums of constants so far.
        """
        ...


# Overflow gives infinities and NaN, which close_bounds takes as "nothing known".
@np.errstate(over="ignore", invalid="ignore")
def affine_bounds(
    reduced: Reduced, affine: Affine, lines: Mapping[int, Lines] | None = None, at_input: AtInput | None = None
) -> Pair:
    """Bounds of an affine function of the groups over the region: lower, upper float64 [n]; NaN where they overflow.

    Parameters
    ----------
    lines : dict group -> (su, cu, sl, cl), optional
        What to pull through instead of the group's own lines: float64 [size] for all rows, or [2 n, size], the first n for the
        upper bounds. They must be valid over the group's pre-activations.
    at_input : AtInput, optional
        By default the extremes over the region itself.
    """
    count = affine.constant.size
    block = max(16, _BLOCK_ENTRIES // max(g.size for g in reduced.groups))
    if count > block and lines is None and at_input is None:
        parts = [affine_bounds(reduced, affine.take(np.arange(count)[k : k + block])) for k in range(0, count, block)]
        return np.concatenate([low for low, _ in parts]), np.concatenate([high for _, high in parts])
    pull = _Pull(reduced, count, lines or {}, at_input or region_extremes)
    # The sums that later groups add to these rows round them too.
    error = affine.error + reduced.rounding.gamma(len(reduced.groups)) * affine.size
    pull.constant += np.concatenate([affine.constant, affine.constant])
    pull.error += np.concatenate([error, error])
    for group, edge in affine.edges.items():
        pull.start(group, edge.rows())
    return pull.finish()


@np.errstate(over="ignore", invalid="ignore")
def combine(reduced: Reduced, rows: Floats) -> Affine:
    """``rows @ f`` as an affine function of the groups; ``rows`` float64 [K, outputs]."""
    output = reduced.output
    assert output is not None
    rounding, terms = reduced.rounding, output.constant.size
    used = np.ascontiguousarray(rows, dtype=rounding.dtype)
    absolute = np.abs(used).astype(np.float64)
    # Of the rows, brought to the precision of the products, and of products that underflow.
    missed = np.abs(rows - used) @ (output.size + output.error) if used.dtype != rows.dtype else np.zeros(len(rows))
    held = sum(float(reduced.groups[group].magnitude.sum()) for group in output.edges) + float(
        output.size.max(initial=0.0)
    )
    return Affine(
        {group: Dense(edge.pull(used)) for group, edge in output.edges.items()},
        used.astype(np.float64) @ output.constant,
        absolute @ (output.error + rounding.gamma(terms) * output.size) + (missed + rounding.eta * (terms + 2) * held),
        absolute @ output.size + missed,
    )


class _Pull:
    """Coefficients on their way to the input: the first ``half`` rows bound from above, the others from below.

    Until the first activation both halves are the same and only one is kept.
    """

    def __init__(self, reduced: Reduced, half: int, lines: Mapping[int, Lines], at_input: AtInput) -> None:
        self.reduced = reduced
        self.half = half
        self.lines = lines
        self.at_input = at_input
        self.rows: dict[int, Floats] = {}
        self.constant = np.zeros(2 * half)
        self.error = np.zeros(2 * half)
        self.gamma = reduced.rounding.gamma(reduced.terms)

    def start(self, group: int, rows: Floats) -> None:
        self.rows[group] = rows

    def finish(self) -> Pair:
        """Pull everything down to the input, and take the extremes over the region."""
        for index in range(len(self.reduced.groups) - 1, 0, -1):
            if index in self.rows:
                self._through_group(index, self.rows.pop(index))
        if 0 in self.rows:
            self.at_input(self.reduced, self.rows.pop(0), self.half, self.gamma, self.constant, self.error)
        lower, upper = np.empty(self.half), np.empty(self.half)
        close_bounds(self.constant, self.error, self.half, self.reduced.rounding.tiny, lower, upper)
        return lower, upper

    def _through_group(self, index: int, rows: Floats) -> None:
        group = self.reduced.groups[index]
        affine, lines = group.affine, self.lines.get(index, group.lines)
        assert affine is not None
        assert lines is not None
        su, cu, sl, cl = (side.reshape(-1, group.size) for side in lines)
        out = np.empty((2 * self.half, group.size), rows.dtype)
        offset = self.half if rows.shape[0] == self.half else 0
        relax_rows(
            rows, offset, self.half, su, cu, sl, cl, affine.constant, group.pull_loss, group.pull_underflow, self.gamma,
            out, self.constant, self.error,
        )  # fmt: skip
        for source, edge in affine.edges.items():
            known = self.rows.get(source)
            if known is not None and known.shape[0] == self.half:
                known = np.concatenate([known, known])
            self.rows[source] = edge.pull(out, known)


def region_extremes(
    reduced: Reduced, coefficients: Floats, half: int, gamma: float, constant: Floats, error: Floats
) -> None:
    """The extremes over the whole region; see :class:`AtInput`."""
    region = reduced.region
    here = reduced.rounding.gamma(coefficients.shape[1] + 4)
    if region.norm == np.inf:
        centre, spread = np.empty((2, coefficients.shape[0]))
        fill_extremes(coefficients, reduced.middle, reduced.reach + here * reduced.groups[0].magnitude, centre, spread)
        add_extremes(centre, spread, half, gamma + 2.0 * here, constant, error)
        return
    if coefficients.shape[0] == half:
        coefficients = np.concatenate([coefficients, coefficients])
    eps = region.eps if isinstance(region.eps, float) else 0.0  # per feature only with norm inf
    lo, hi = region.box
    fill_support(
        coefficients, half, region.x0, eps, region.norm, lo, hi, region.clip is not None, here, constant, error
    )
