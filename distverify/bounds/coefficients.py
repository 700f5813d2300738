"""Coefficients of one node's values on their way down: whole rows, or windows of an image, whichever they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from distverify.bounds.reduced import Floats, Indices
from distverify.bounds.windows import Image, Windows, has_windows
from distverify.kernels.sums import abs_sums
from distverify.kernels.windows import reach
from distverify.network.graph import Network
from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.identity import Identity
from distverify.network.linear.operator import LinearOperator
from distverify.network.nodes import LinearNode

# float64 or float32 [R, size], or windows.
Coefficients: TypeAlias = Floats | Windows


def _windows(rows: Coefficients, image: Image) -> Windows:
    if isinstance(rows, Windows):
        if rows.image == image:
            return rows
        rows = rows.rows()
    return Windows.of_rows(rows, image)


def pulled_through(operator: LinearOperator, rows: Coefficients) -> Coefficients:
    """``rows`` times the operator."""
    if has_windows(operator):
        return _windows(rows, operator.geometry.out_image).through(operator)
    if isinstance(rows, Windows):
        if isinstance(operator, Identity):
            return rows.copy()
        if isinstance(operator, Diagonal):
            return rows.copy().scaled(operator.scale, np.zeros(operator.in_size))[0]
        rows = rows.rows()
    return operator.pull(rows)


def added(one: Coefficients, other: Coefficients) -> Coefficients:
    """The sum of both."""
    if isinstance(one, Windows):
        return one.plus(_windows(other, one.image))
    if isinstance(other, Windows):
        return other.plus(_windows(one, other.image))
    return one + other


def weighted(rows: Coefficients, weight: Floats) -> Floats:
    """|rows| @ weight, float64 [R]."""
    return rows.sums(weight, weight)[2] if isinstance(rows, Windows) else abs_sums(rows, weight)


def some(rows: Coefficients, which: Indices) -> Coefficients:
    """Those rows."""
    return rows.take(which) if isinstance(rows, Windows) else rows[which]


def sums(rows: Coefficients, constant: Floats, size: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """rows @ constant, |rows| @ |constant|, |rows| @ size, and the sums of |rows|: float64 [R] each."""
    if isinstance(rows, Windows):
        return rows.sums(constant, size)
    total, summed = contracted(rows, constant)
    return total, summed, abs_sums(rows, size), abs_sums(rows, np.ones(size.size))


def contracted(rows: Coefficients, constants: Floats) -> tuple[Floats, Floats]:
    """rows @ constants and |rows| @ |constants|, float64 [R]."""
    if isinstance(rows, Windows):
        total, summed, _, _ = rows.sums(constants, constants)
        return total, summed
    if not constants.any():
        return np.zeros(len(rows)), np.zeros(len(rows))
    return rows @ constants, abs_sums(rows, np.abs(constants))


def scaled(rows: Coefficients, slope: Floats, magnitude: Floats) -> tuple[Coefficients, Floats]:
    """rows times diag(slope), where they may be overwritten, and |product| @ magnitude over the products that round."""
    if isinstance(rows, Windows):
        return rows.scaled(slope, magnitude)
    through = (rows * slope).astype(rows.dtype, copy=False)
    rounds = (slope != 0.0) & (slope != 1.0)
    return through, abs_sums(through, np.where(rounds, magnitude, 0.0)) if rounds.any() else np.zeros(len(rows))


def entries_of(rows: Coefficients, which: Indices | None) -> Any:
    """Those columns, all by default, as an array [R, k] or, of windows, scipy CSR."""
    if isinstance(rows, Windows):
        return rows.columns(which)
    return np.ascontiguousarray(rows if which is None else np.take(rows, which, axis=1))


@dataclass(frozen=True)
class RowCost:
    """Of pulling one row down to the input: multiplications, and the most coefficients of one node on the way."""

    work: float
    entries: int


def row_cost(network: Network, index: int) -> RowCost:
    """What a row of the linear node ``index`` costs."""
    # Heights and widths of windows, None for whole rows.
    moving: dict[int, tuple[int, int] | None] = {}
    work, entries = 0.0, 1

    def arrive(source: int, shape: tuple[int, int] | None, image: Image | None) -> None:
        nonlocal entries
        known = moving.get(source, shape)
        moving[source] = None if shape is None or known is None else (max(shape[0], known[0]), max(shape[1], known[1]))
        size = network.nodes[source].size
        seen = 0 if image is None else image[0]
        entries = max(entries, size if shape is None else shape[0] * shape[1] * seen)

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
                height, width = (1, 1) if first else shape or (g.out_height, g.out_width)
                work += 0.0 if first else float(height * width * g.out_channels * g.taps)
                arrive(term.source, reach(g, height, width), g.image)
            elif isinstance(operator, Identity | Diagonal) and not first:
                arrive(term.source, shape, None)
            else:
                work += 0.0 if first else float(operator.in_size * operator.pull_terms)
                arrive(term.source, None, None)

    pass_node(index, True)
    for i in range(index - 1, 0, -1):
        if i in moving:
            pass_node(i, False)
    return RowCost(work, entries)
