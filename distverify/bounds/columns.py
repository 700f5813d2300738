"""Jacobian bounds by pushing columns forward: the recursion that `linear` and `recurjac` share.

Y(group), float64 [K, n], is the derivative of the chain's K rows with respect to the members of a group. It is bounded from the
last group back to the first: unit columns start at the group and move forward to the output; each group on the way replaces its
products g Y by lines in Y, which the bounds found so far make valid (RecurJac, Zhang et al., AAAI 2019, section 3; chords: Shi
et al., NeurIPS 2022). All columns, all K rows and both sides move side by side in one product per link.

Rounding: where |Y_i| <= psi_i, rounding of a product W B moves the bound by at most gamma_n (psi' |W|) |B|, with psi' that of the
group the product leads to; the row vectors psi' |W| are made once per link.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from distverify.bounds.chain import Chain
from distverify.bounds.reduced import Floats, Pair
from distverify.kernels.products import add_loss, contract_columns, fill_product_lines, scale_columns
from distverify.kernels.rounding import Rounding
from distverify.network.linear.sparse import Sparse

# Columns in flight per block: large enough for the matrix products, small enough not to crowd the caches.
BLOCK_BYTES = 48 * 2**20
_LEAST_COLUMNS = 16
# Rows go side by side only as far as this many columns do with them: inner loops over fewer are up to 1.5 times slower.
_GOOD_COLUMNS = 64
_NONE = (0, 1, 1, 0)  # shape of no columns


class ColumnRecursion(Protocol):
    """Bounds of the rows' derivatives with respect to every group of a chain, from the last one back."""

    @property
    def chain(self) -> Chain: ...

    @property
    def rounding(self) -> Rounding: ...

    def bound(self) -> Pair:
        """Bounds with respect to group 0: lower, upper, float64 [K, n]."""
        ...

    def fix_lines(self, index: int, lower: Floats, upper: Floats) -> None:
        """Take ``lower`` and ``upper``, float64 [K, n], as the bounds of group ``index``: those of all later groups are there."""
        ...

    def unit_columns(self, index: int, which: slice | None = None) -> Pair:
        """Bounds with respect to group ``index``, or its members ``which``: lower, upper float64 [K, n]."""
        ...

    def merged_columns(self, columns: Floats) -> Pair:
        """Bounds of J[k] @ columns[:, k] for each row k: ``columns`` float64 [n, K], result float64 [K] each."""
        ...


class ColumnPush:
    """Bounds of the rows' derivatives with respect to every group, found by :meth:`bound`.

    Parameters
    ----------
    chain : Chain
    rounding : Rounding
    chord : bool
        `linear` (chords) or `recurjac` (worst case).
    block_bytes : int
        Memory for the columns in flight; a few columns are always in flight.
    """

    def __init__(self, chain: Chain, rounding: Rounding, *, chord: bool, block_bytes: int = BLOCK_BYTES) -> None:
        self.chain = chain
        self.rounding = rounding
        self.chord = chord
        self.block_bytes = block_bytes
        self._gamma = rounding.gamma(sum(chain.sizes) + len(chain.sizes) + 8)
        # Per group: members with any slope or constant, the product lines, and what a unit of scaled column loses.
        self._lines: dict[int, tuple[NDArray[np.int64], Floats, Floats, Floats, Floats, Floats]] = {}
        # What a unit of a group's member loses in links: as they are inexact, and in products with them besides.
        self.losses = [loss.copy() for loss in chain.inexact]
        # What a column loses to underflow in passing each group, whatever its entries: [K].
        self.underflow = [np.zeros(chain.rows) for _ in chain.sizes]
        # Bounds of |g Y|, [K, n], by group.
        self.products: dict[int, Floats] = {}

    def bound(self) -> tuple[Floats, Floats]:
        """Sound bounds of the rows' derivatives with respect to group 0: lower, upper, float64 [K, n]."""
        for index in range(len(self.chain.sizes) - 1, 0, -1):
            self.fix_lines(index, *self.unit_columns(index))
        return self.unit_columns(0)

    def fix_lines(self, index: int, lower: Floats, upper: Floats) -> None:
        """Take ``lower`` and ``upper``, float64 [K, n], as the bounds of group ``index``: those of all later groups are there."""
        su, cu, sl, cl, psi_z = np.empty((5, *lower.shape))
        weight, active = self.losses[index].copy(), np.empty(lower.shape[1], dtype=np.int64)
        sizes = np.ones(lower.shape[0])
        slopes = self.chain.slopes[index]
        count = fill_product_lines(
            self.chord, *slopes, lower, upper, self.rounding.unit, su, cu, sl, cl, weight, psi_z, sizes, active
        )
        self._lines[index] = active[:count], su, cu, sl, cl, weight
        self.products[index] = psi_z
        links = self.chain.links[index]
        terms = sum(matrix.push_terms for matrix in links.values()) + len(links)
        gamma, eta = self.rounding.gamma(terms), self.rounding.eta
        self.underflow[index] = eta * (terms + 4) * sizes
        for source, matrix in links.items():
            self.losses[source] += gamma * matrix.pull_abs(psi_z)

    def unit_columns(self, index: int, which: slice | None = None) -> tuple[Floats, Floats]:
        """Bounds of Y(group ``index``), all of its entries or those of the members ``which``: lower, upper float64 [K, n].

        Needs the bounds of all later groups: :meth:`fix_lines`.
        """
        first, last, _ = (which or slice(None)).indices(self.chain.sizes[index])
        size, rows = last - first, self.chain.rows
        lower, upper = np.empty((rows, size)), np.empty((rows, size))
        block = max(_LEAST_COLUMNS, min(size, self.block_bytes // (rows * _column_bytes(self.chain, index))))
        for start in range(0, size, block):
            stop = min(start + block, size)
            unit = slice(first + start, first + stop)
            lower[:, start:stop], upper[:, start:stop] = self._push(index, unit, np.zeros(_NONE))
        return lower, upper

    def merged_columns(self, columns: Floats) -> tuple[Floats, Floats]:
        """Bounds of J[k] @ columns[:, k] for each row k: ``columns`` float64 [n, K], result float64 [K] each."""
        low, high = self._push(0, None, np.repeat(columns[:, :, None, None], 2, axis=2).astype(self.rounding.dtype))
        return low[:, 0], high[:, 0]

    def _push(self, start: int, unit: slice | None, columns: NDArray[np.float64]) -> tuple[Floats, Floats]:
        """Push unit columns ``unit`` of group ``start``, or given ``columns`` [n, K, 2, r], to the output."""
        r = columns.shape[3] if unit is None else unit.stop - unit.start
        constant, error = np.zeros((2, self.chain.rows, 2, r))
        moving: dict[int, tuple[NDArray[np.float64], NDArray[np.int64]]] = {}
        if unit is None:
            moving[start] = columns, np.arange(self.chain.sizes[start])
            add_loss(self.losses[start], columns, error)
        else:
            # No product is taken with a unit column.
            error += self.chain.inexact[start][:, None, unit]
        for index in range(start + 1, len(self.chain.sizes)):
            error += self.underflow[index][:, None, None]
            self._through_group(index, start, unit, moving, constant, error)
        for source, (rows, loss) in self.chain.output.items():
            if source == start and unit is not None:
                constant += rows[:, None, unit]
                error += loss[:, None, unit]
            elif source in moving:
                value, active = moving[source]
                if active.size < rows.shape[1]:
                    rows, loss = np.ascontiguousarray(rows[:, active]), np.ascontiguousarray(loss[:, active])
                contract_columns(rows, loss, value, constant, error)
        error *= 1.001  # the error terms' own rounding
        return self.rounding.outward(constant[:, 1] - error[:, 1], constant[:, 0] + error[:, 0])

    def _through_group(
        self, index: int, start: int, unit: slice | None,
        moving: dict[int, tuple[NDArray[np.float64], NDArray[np.int64]]], constant: Floats, error: Floats,
    ) -> None:  # fmt: skip
        active, su, cu, sl, cl, weight = self._lines[index]
        if active.size == 0:
            return
        shared, total = np.zeros((0, 0), self.rounding.dtype), None
        reached: NDArray[np.bool_] | None = None
        for source, matrix in self.chain.links[index].items():
            if source == start and unit is not None:
                shared = matrix.columns(unit)
                reached = np.any(shared != 0.0, axis=1) if isinstance(matrix, Sparse) else None
            elif source in moving:
                value, rows = moving[source]
                total = matrix.push(value.reshape(value.shape[0], -1), rows, total)
        if total is not None and shared.size:
            # Their sum rounds the unit columns' own entries too; losses know of the others only.
            error += (2.0 * self.rounding.unit * (self.products[index] @ np.abs(shared)))[:, None, :]
        if total is None:
            if shared.size == 0:
                return
            if reached is not None:
                # Columns that lie side by side in an image reach a small part of it.
                active = active[reached[active]]
        r = constant.shape[2]
        arrived = (
            np.zeros(_NONE, self.rounding.dtype)
            if total is None
            else total.reshape(total.shape[0], self.chain.rows, 2, r)
        )
        out = np.empty((active.size, self.chain.rows, 2, r), self.rounding.dtype)
        scale_columns(shared, arrived, active, su, cu, sl, cl, weight, self._gamma, out, constant, error)
        moving[index] = out, active


def rows_at_once(chain: Chain, block_bytes: int = BLOCK_BYTES) -> int:
    """How many rows may be pushed side by side within the memory for columns in flight."""
    return max(1, block_bytes // (_GOOD_COLUMNS * _column_bytes(chain, 0)))


def _column_bytes(chain: Chain, index: int) -> int:
    """Memory of one column on its way from group ``index`` to the output, for one row: both sides, all groups."""
    ahead = chain.sizes[index + 1 :]
    return (sum(ahead) + max(ahead, default=0) + 4) * 2 * 8
