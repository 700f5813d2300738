"""`coupled`: Jacobian bounds with products to second order, for networks with curved activations.

A product of a slope g in gm +/- dg and a derivative Y in ym +/- dy is written around both middles,

    g Y = gm Y + ym g - gm ym  +/-  dg dy ,       g = s'(z) = p z + r +/- d   (parallel lines around the derivative),

so that what it may be off is of second order, and no sign is asked for. The part in Y moves on as in every recursion, as one
column for all rows and both sides; the part in z is collected, and pulled back to the input once, through parallel lines
around every activation. What comes out is intersected with `linear` before it is used. Mathematics: docs/MATH.md, section 11.

Rounding. Products with links cost what they cost `linear` (the same vectors serve); coefficients of z are taken as they were
computed, and what they may be off is charged to |z|; sums of constants are charged by the magnitudes of their terms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distverify.bounds.chain import Chain
from distverify.bounds.columns import BLOCK_BYTES, ColumnPush
from distverify.bounds.reduced import Floats, Group
from distverify.kernels.coupling import parallel_lines
from distverify.kernels.rounding import Rounding
from distverify.kernels.support import fill_support

_LEAST_COLUMNS = 4


@dataclass(frozen=True, eq=False)
class _Coupling:
    """A group's slopes and activations in terms of z, float64 [n] each.

    ``middle`` and ``spread``: gm and dg. s' = ``slope`` z + gm + ``offset`` +/- ``error``. s = ``line`` z + ``intercept`` +/- ``gap``.
    ``magnitude`` bounds |z|.
    """

    middle: Floats
    spread: Floats
    slope: Floats
    offset: Floats
    error: Floats
    line: Floats
    intercept: Floats
    gap: Floats
    magnitude: Floats

    @classmethod
    def of(cls, group: Group, rounding: Rounding) -> _Coupling:
        """That of the group's neurons; ``middle`` is a number of the products' precision."""
        assert group.interval is not None
        assert group.parameters is not None
        glo, ghi = group.slopes
        middle = (0.5 * glo + 0.5 * ghi).astype(rounding.dtype).astype(np.float64)
        spread = np.nextafter(np.maximum(ghi - middle, middle - glo), np.inf)
        spread[(glo == middle) & (ghi == middle)] = 0.0
        lower, upper = group.interval
        p, r, d, line, intercept, gap = parallel_lines(group.code, lower, upper, group.parameters, group.slopes)
        offset = r - middle
        d = d + 2.0**-52 * (np.abs(r) + np.abs(middle))
        magnitude = np.maximum(np.abs(lower), np.abs(upper))
        return cls(middle, spread, p, offset, d, line, intercept, gap, magnitude)


def push(chain: Chain, rounding: Rounding, block_bytes: int = BLOCK_BYTES) -> CoupledPush:
    """The recursion over ``chain``; its ``bound()`` gives the bounds."""
    return CoupledPush(chain, rounding, block_bytes)


class CoupledPush:
    """Bounds of the rows' derivatives with respect to every group; see :class:`distverify.bounds.columns.ColumnPush`.

    Parameters
    ----------
    chain : Chain
    rounding : Rounding
    block_bytes : int
        Memory for the columns in flight; a few columns are always in flight.
    """

    def __init__(self, chain: Chain, rounding: Rounding, block_bytes: int = BLOCK_BYTES) -> None:
        self.chain = chain
        self.rounding = rounding
        self.block_bytes = block_bytes
        self._linear = ColumnPush(chain, rounding, chord=True, block_bytes=block_bytes)
        # By the reduced network's groups, in which z is pulled back; those of a forward chain pass in the other order.
        self._couplings = [None, *(_Coupling.of(group, rounding) for group in chain.reduced.groups[1:])]
        self._places = [0, *(chain.reduced.groups.index(group) for group in chain.groups[1:])]
        self._middles: dict[int, tuple[Floats, Floats]] = {}
        sizes = [*chain.sizes, *(group.size for group in chain.reduced.groups)]
        self._gamma = rounding.gamma(sum(sizes) + 8 * len(sizes))
        self._column_bytes = 16 * chain.rows * (sum(sizes) + 4)

    def bound(self) -> tuple[Floats, Floats]:
        """Sound bounds of the rows' derivatives with respect to group 0: lower, upper, float64 [K, n]."""
        for index in range(len(self.chain.sizes) - 1, 0, -1):
            self.fix_lines(index, *self.unit_columns(index))
        return self.unit_columns(0)

    def fix_lines(self, index: int, lower: Floats, upper: Floats) -> None:
        """Take ``lower`` and ``upper``, float64 [K, n], as the bounds of group ``index``: those of all later groups are there."""
        self._linear.fix_lines(index, lower, upper)
        middle = 0.5 * lower + 0.5 * upper
        self._middles[index] = middle, np.nextafter(np.maximum(upper - middle, middle - lower), np.inf)

    def unit_columns(self, index: int, which: slice | None = None) -> tuple[Floats, Floats]:
        """Bounds of Y(group ``index``), all of its entries or those of the members ``which``: lower, upper float64 [K, n]."""
        lower, upper = self._linear.unit_columns(index, which)
        first, last, _ = (which or slice(None)).indices(self.chain.sizes[index])
        block = max(_LEAST_COLUMNS, self.block_bytes // self._column_bytes)
        for start in range(first, last, block):
            stop = min(start + block, last)
            place = np.s_[:, start - first : stop - first]
            low, high = self._push(index, slice(start, stop), None)
            lower[place], upper[place] = np.fmax(lower[place], low), np.fmin(upper[place], high)
        return lower, upper

    def merged_columns(self, columns: Floats) -> tuple[Floats, Floats]:
        """Bounds of J[k] @ columns[:, k] for each row k: ``columns`` float64 [n, K], result float64 [K] each."""
        lower, upper = self._linear.merged_columns(columns)
        low, high = self._push(0, None, columns[:, :, None].astype(self.rounding.dtype))
        return np.fmax(lower, low[:, 0]), np.fmin(upper, high[:, 0])

    @np.errstate(over="ignore", invalid="ignore")
    def _push(self, start: int, unit: slice | None, columns: Floats | None) -> tuple[Floats, Floats]:
        """Push unit columns ``unit`` of group ``start``, or given ``columns`` [n, K, r], to the output; pull z to the input."""
        chain, losses = self.chain, self._linear.losses
        sums = _Sums(chain.rows, 1 if unit is None else unit.stop - unit.start)
        moving: dict[int, Floats] = {}
        if columns is not None:
            moving[start] = columns
            sums.lose(losses[start], columns)
        else:
            sums.error += chain.inexact[start][:, unit]  # no product is taken with a unit column
        pulled: dict[int, Floats] = {}
        for index in range(start + 1, len(chain.sizes)):
            arrived = self._arriving(index, start, unit, moving, sums)
            if arrived is not None:
                moving[index] = self._through_group(index, arrived, sums, pulled)
        for source, (rows, loss) in chain.output.items():
            if source == start and unit is not None:
                sums.add(rows[:, unit])
                sums.error += loss[:, unit]
            elif source in moving:
                sums.contract(rows, moving[source])
                sums.lose(loss, moving[source])
        self._pull(pulled, sums)
        error = 1.001 * (sums.error + self._gamma * sums.size)
        return self.rounding.outward(sums.lowest - error, sums.highest + error)

    def _arriving(
        self, index: int, start: int, unit: slice | None, moving: dict[int, Floats], sums: _Sums
    ) -> Floats | None:
        """The columns before group ``index``: [n, 1, r] as long as all rows share them, else [n, K, r]."""
        own, total = None, None
        for source, matrix in self.chain.links[index].items():
            if source == start and unit is not None:
                own = matrix.columns(unit)[:, None, :]
            elif source in moving:
                value = moving[source]
                total = matrix.push(np.ascontiguousarray(value.reshape(value.shape[0], -1)), None, total)
        if total is None:
            return own
        arrived = total.reshape(total.shape[0], -1, sums.shape[1])
        if own is None:
            return arrived
        # This sum rounds the unit columns' own entries too; losses know of the others only.
        sums.lose(2.0 * self.rounding.unit * self._linear.products[index], own)
        return arrived + own

    def _through_group(self, index: int, arrived: Floats, sums: _Sums, pulled: dict[int, Floats]) -> Floats:
        """The columns behind group ``index``; the coefficients that they leave on its z go to ``pulled``, [K, r, n]."""
        place = self._places[index]
        coupling, (middle, spread) = self._couplings[place], self._middles[index]
        assert coupling is not None
        moved = arrived * coupling.middle[:, None, None].astype(arrived.dtype)
        sums.lose(self._linear.losses[index] + self.rounding.unit * (np.abs(middle) + spread), moved)
        sums.error += self._linear.underflow[index][:, None]
        sums.contract(middle * coupling.offset, arrived)
        sums.lose(coupling.spread * spread + np.abs(middle) * coupling.error, arrived)
        if coupling.slope.any():
            slopes = (middle * coupling.slope).astype(arrived.dtype)
            rows = np.ascontiguousarray(slopes[:, None, :] * arrived.transpose(1, 2, 0))
            sums.lose_rows(rows, 4.0 * self.rounding.unit * coupling.magnitude)
            sums.error += self.rounding.eta * 4.0 * (slopes.shape[1] + float(coupling.magnitude.sum()))
            pulled[place] = rows
        return moved

    def _pull(self, pulled: dict[int, Floats], sums: _Sums) -> None:
        """Pull coefficients of z, [K, r, n] by group of the reduced network, back to the input."""
        groups, unit = self.chain.reduced.groups, self.rounding.unit
        waiting: dict[int, Floats] = {}
        for place in range(len(groups) - 1, 0, -1):
            rows, activated = pulled.get(place), waiting.pop(place, None)
            coupling, group = self._couplings[place], groups[place]
            assert coupling is not None
            activated = None if activated is None else activated.reshape(*sums.shape, group.size)
            if activated is not None:
                sums.contract_rows(activated, coupling.intercept)
                sums.lose_rows(activated, coupling.gap + 2.0 * unit * np.abs(coupling.line) * coupling.magnitude)
                through = activated * coupling.line.astype(activated.dtype)
                rows = through if rows is None else rows + through
            if rows is None:
                continue
            assert group.affine is not None
            sums.contract_rows(rows, group.affine.constant)
            sums.lose_rows(rows, group.pull_loss + 2.0 * unit * coupling.magnitude)
            sums.error += group.pull_underflow
            flat = rows.reshape(-1, group.size)
            for source, edge in group.affine.edges.items():
                waiting[source] = edge.pull(flat, waiting.get(source))
        if 0 in waiting:
            self._at_input(waiting[0], sums)

    def _at_input(self, rows: Floats, sums: _Sums) -> None:
        """Add the extremes of linear functions of the input, ``rows`` [K r, inputs], over the region."""
        region, half = self.chain.reduced.region, rows.shape[0]
        lo, hi = region.box
        constant, error = np.zeros(2 * half), np.zeros(2 * half)
        fill_support(
            np.concatenate([rows, rows]), half, region.x0, region.eps if isinstance(region.eps, float) else 0.0, region.norm,
            lo, hi, region.clip is not None, self.rounding.gamma(rows.shape[1] + 4), constant, error,
        )  # fmt: skip
        sums.add_range(constant, error)


class _Sums:
    """What is known of the wanted entries [K, r] so far: a constant, an error of either side, and the size of what was summed."""

    def __init__(self, rows: int, columns: int) -> None:
        self.shape = (rows, columns)
        self.lowest, self.highest, self.error, self.size = np.zeros((4, rows, columns))

    def add(self, values: Floats) -> None:
        """Add exact ``values`` [K, r]."""
        self.lowest += values
        self.highest += values
        self.size += np.abs(values)

    def contract(self, weights: Floats, columns: Floats) -> None:
        """Add ``weights`` [K, n] times ``columns`` [n, 1 or K, r]."""
        self.add(_contracted(weights, columns))
        self.size += _contracted(np.abs(weights), np.abs(columns))

    def lose(self, weights: Floats, columns: Floats) -> None:
        """Widen by ``weights`` [K, n] >= 0 times |``columns``| [n, 1 or K, r]."""
        self.error += _contracted(weights, np.abs(columns))

    def contract_rows(self, rows: Floats, weights: Floats) -> None:
        """Add ``rows`` [K, r, n] times ``weights`` [n]."""
        self.add(rows @ weights)
        self.size += np.abs(rows) @ np.abs(weights)

    def lose_rows(self, rows: Floats, weights: Floats) -> None:
        """Widen by |``rows``| [K, r, n] times ``weights`` [n] >= 0."""
        self.error += np.abs(rows) @ weights

    def add_range(self, ends: Floats, error: Floats) -> None:
        """Add a range: ``ends`` [2 K r], its upper ends first, each off by ``error``."""
        high, low = ends.reshape(2, *self.shape)
        self.highest += high
        self.lowest += low
        self.size += np.abs(high) + np.abs(low)
        self.error += error.reshape(2, *self.shape).max(axis=0)


def _contracted(weights: Floats, columns: Floats) -> Floats:
    if columns.shape[1] == 1:
        return np.asarray(weights @ columns[:, 0, :], dtype=np.float64)
    return np.asarray(np.einsum("kn,nkr->kr", weights, columns), dtype=np.float64)
