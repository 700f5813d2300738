"""Coefficients of one node's values on their way down: whole rows, windows of an image, or few entries, whichever they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from distverify.bounds.entries import Entries
from distverify.bounds.reduced import Floats, Indices
from distverify.bounds.windows import Image, Windows, has_windows
from distverify.kernels.sums import abs_sums
from distverify.kernels.windows import reach
from distverify.network.graph import Network
from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.identity import Identity
from distverify.network.linear.operator import LinearOperator
from distverify.network.linear.sparse import Sparse
from distverify.network.nodes import LinearNode

# float64 or float32 [R, size], windows, or few entries.
Coefficients: TypeAlias = Floats | Windows | Entries


def _windows(rows: Coefficients, image: Image) -> Windows:
    if isinstance(rows, Entries):
        return rows.windows(image)
    if isinstance(rows, Windows):
        if rows.image == image:
            return rows
        rows = rows.rows()
    return Windows.of_rows(rows, image)


def _entries(rows: Coefficients) -> Entries | None:
    """The rows by their entries, where these are few."""
    if isinstance(rows, Windows):
        rows = Entries.of_windows(rows)
    return rows if isinstance(rows, Entries) and rows.few else None


def _whole(rows: Coefficients) -> Floats:
    return rows if isinstance(rows, np.ndarray) else rows.rows()


def pulled_through(operator: LinearOperator, rows: Coefficients) -> Coefficients:
    """``rows`` times the operator."""
    if has_windows(operator):
        return _windows(rows, operator.geometry.out_image).through(operator)
    if isinstance(rows, Windows | Entries):
        if isinstance(operator, Identity):
            return rows.copy() if isinstance(rows, Windows) else rows
        if isinstance(operator, Diagonal):
            own = rows.copy() if isinstance(rows, Windows) else rows
            return own.scaled(operator.scale, np.zeros(operator.in_size))[0]
        if isinstance(operator, Sparse) and (few := _entries(rows)) is not None:
            return few.through(operator)
    return operator.pull(_whole(rows))


def added(one: Coefficients, other: Coefficients) -> Coefficients:
    """The sum of both."""
    if isinstance(one, Windows):
        return one.plus(_windows(other, one.image))
    if isinstance(other, Windows):
        return other.plus(_windows(one, other.image))
    if isinstance(one, Entries) and isinstance(other, Entries):
        return one.plus(other)
    return _whole(one) + _whole(other)


def weighted(rows: Coefficients, weight: Floats) -> Floats:
    """|rows| @ weight, float64 [R]."""
    return abs_sums(rows, weight) if isinstance(rows, np.ndarray) else rows.sums(weight, weight)[2]


def some(rows: Coefficients, which: Indices) -> Coefficients:
    """Those rows."""
    return rows[which] if isinstance(rows, np.ndarray) else rows.take(which)


def sums(rows: Coefficients, constant: Floats, size: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """rows @ constant, |rows| @ |constant|, |rows| @ size, and the sums of |rows|: float64 [R] each."""
    if not isinstance(rows, np.ndarray):
        return rows.sums(constant, size)
    total, summed = contracted(rows, constant)
    return total, summed, abs_sums(rows, size), abs_sums(rows, np.ones(size.size))


def contracted(rows: Coefficients, constants: Floats) -> tuple[Floats, Floats]:
    """rows @ constants and |rows| @ |constants|, float64 [R]."""
    if not isinstance(rows, np.ndarray):
        total, summed, _, _ = rows.sums(constants, constants)
        return total, summed
    if not constants.any():
        return np.zeros(len(rows)), np.zeros(len(rows))
    return rows @ constants, abs_sums(rows, np.abs(constants))


def scaled(rows: Coefficients, slope: Floats, magnitude: Floats) -> tuple[Coefficients, Floats]:
    """rows times diag(slope), where they may be overwritten, and |product| @ magnitude over the products that round."""
    if not isinstance(rows, np.ndarray):
        return rows.scaled(slope, magnitude)
    through = (rows * slope).astype(rows.dtype, copy=False)
    rounds = (slope != 0.0) & (slope != 1.0)
    return through, abs_sums(through, np.where(rounds, magnitude, 0.0)) if rounds.any() else np.zeros(len(rows))


def entries_of(rows: Coefficients, which: Indices | None) -> Any:
    """Those columns, all by default, as an array [R, k] or, of windows and few entries, scipy CSR."""
    if not isinstance(rows, np.ndarray):
        return rows.columns(which)
    return np.ascontiguousarray(rows if which is None else np.take(rows, which, axis=1))


@dataclass(frozen=True)
class RowCost:
    """Of pulling one row down to the input: multiplications, and the most coefficients of one node on the way."""

    work: float
    entries: int


@dataclass(frozen=True)
class _Few:
    """Entries of a row in each channel, at most."""

    count: int

    def window(self, height: int, width: int) -> tuple[int, int]:
        """A square that holds them, if they lie side by side."""
        side = math.isqrt(max(0, self.count - 1)) + 1
        return min(side, height), min(side, width)


# Of a row: height and width of its window, its entries, or all of it.
_Shape: TypeAlias = tuple[int, int] | _Few | None


def _larger(one: _Shape, other: _Shape) -> _Shape:
    if isinstance(one, _Few) and isinstance(other, _Few):
        return max(one, other, key=lambda few: few.count)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return max(one[0], other[0]), max(one[1], other[1])
    return None


def row_cost(network: Network, index: int) -> RowCost:
    """What a row of the linear node ``index`` costs."""
    moving: dict[int, _Shape] = {}
    work, entries = 0.0, 1

    def arrive(source: int, shape: _Shape, image: Image | None) -> None:
        nonlocal entries
        moving[source] = _larger(moving.get(source, shape), shape)
        size = network.nodes[source].size
        seen = 0 if image is None else image[0]
        if isinstance(shape, tuple):
            entries = max(entries, shape[0] * shape[1] * seen)
        else:
            entries = max(entries, size if shape is None else shape.count)

    def pass_node(i: int, first: bool) -> None:
        nonlocal work
        node = network.nodes[i]
        shape = moving.pop(i, None)
        if not isinstance(node, LinearNode):
            arrive(node.sources[0], shape, None)
            return
        for term in node.terms:
            operator = term.operator
            if has_windows(operator):
                g = operator.geometry
                if isinstance(shape, _Few):
                    shape = shape.window(g.out_height, g.out_width)
                height, width = (1, 1) if first else shape or (g.out_height, g.out_width)
                work += 0.0 if first else float(height * width * g.out_channels * g.taps)
                arrive(term.source, reach(g, height, width), g.image)
            elif isinstance(operator, Identity | Diagonal) and not first:
                arrive(term.source, shape, None)
            elif isinstance(operator, Sparse) and (first or shape is not None):
                longest = int(np.diff(operator.matrix.indptr).max(initial=1))
                held = shape.count if isinstance(shape, _Few) else math.prod(shape or (1,))
                work += 0.0 if first else float(held * longest)
                arrive(term.source, _Few(held * longest), None)
            else:
                work += 0.0 if first else float(operator.in_size * operator.pull_terms)
                arrive(term.source, None, None)

    pass_node(index, True)
    for i in range(index - 1, 0, -1):
        if i in moving:
            pass_node(i, False)
    return RowCost(work, entries)
