"""Jacobian bound methods by name: one interface over all of them, in either order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from distverify.bounds import coupled, fastlip, linear, recurjac
from distverify.bounds.chain import Chain, backward_chain, forward_chain
from distverify.bounds.columns import BLOCK_BYTES, ColumnRecursion, rows_at_once
from distverify.bounds.enclosure import Enclosure
from distverify.bounds.reduced import Floats
from distverify.kernels.rounding import Rounding

_RECURSIVE: dict[str, Callable[[Chain, Rounding, int], ColumnRecursion]] = {
    "linear": linear.push,
    "recurjac": recurjac.push,
    "coupled": coupled.push,
}
# One rule: its name for the ReLU family, and for any activation.
WITHOUT_RECURSION = ("fastlip", "interval")


@dataclass(frozen=True, eq=False)
class RowBounds:
    """Sound bounds of the derivatives of K rows over a region.

    Attributes
    ----------
    lower, upper : float64 [K, inputs]
    pushes : tuple of ColumnRecursion
        The backward recursions of consecutive blocks of rows, ready to push further columns; empty where none was run.
    """

    lower: Floats
    upper: Floats
    pushes: tuple[ColumnRecursion, ...] = ()

    @property
    def magnitude(self) -> Floats:
        """max(|lower|, |upper|), float64 [K, inputs]."""
        return np.maximum(np.abs(self.lower), np.abs(self.upper))

    def merged_columns(self, columns: Floats) -> tuple[Floats, Floats]:
        """Bounds of J[k] @ columns[:, k] for each row k: ``columns`` float64 [inputs, K], result float64 [K] each."""
        ends = np.cumsum([push.chain.rows for push in self.pushes])
        blocks = np.split(columns, ends[:-1], axis=1)
        low, high = zip(*(p.merged_columns(c) for p, c in zip(self.pushes, blocks, strict=True)), strict=True)
        return np.concatenate(low), np.concatenate(high)


@np.errstate(over="ignore", invalid="ignore")
def bound_rows(
    enclosure: Enclosure, rows: Floats, method: str, direction: str = "auto", block_bytes: int = BLOCK_BYTES
) -> RowBounds:
    """Bound the derivatives of ``rows @ f``, ``rows`` float64 [K, outputs], by the named method.

    Parameters
    ----------
    direction : "auto", "backward", "forward" or "both"
        See :func:`chains_for`. Methods without recursion have no direction.
    block_bytes : int
        Memory for the columns in flight.
    """
    if method in WITHOUT_RECURSION:
        return RowBounds(*fastlip.bound(enclosure, rows))
    backward, forward = chains_for(enclosure, rows, direction)
    if backward is None:
        assert forward is not None
        lower, upper, _ = bound_chain(forward, enclosure.rounding, method, block_bytes)
        return RowBounds(np.ascontiguousarray(lower.T), np.ascontiguousarray(upper.T))
    lower, upper, pushes = bound_chain(backward, enclosure.rounding, method, block_bytes)
    if forward is not None:
        low, high, _ = bound_chain(forward, enclosure.rounding, method, block_bytes)
        lower, upper = np.fmax(lower, low.T), np.fmin(upper, high.T)
    return RowBounds(lower, upper, pushes)


def is_open(direction: str, inputs: int, rows: int) -> bool:
    """Whether only the chains themselves tell in which direction to go.

    Chains are as many as rows or inputs; with fewer rows the forward order is not worth a look.
    """
    return direction == "auto" and inputs < rows


def chains_for(
    enclosure: Enclosure, rows: Floats, direction: str, count: int | None = None
) -> tuple[Chain | None, Chain | None]:
    """The chains to bound, backward and forward: at least one.

    Parameters
    ----------
    direction : "auto", "backward", "forward" or "both"
        "backward" runs one chain per row, "forward" one per input; "auto" the one with fewer multiplications; "both"
        intersects the two.
    count : int, optional
        How many rows there are, if ``rows`` is a single one that stands for all: the chains are chosen for all of them, and what
        rounding costs the backward one is left out.
    """
    of_one, count = count is not None, rows.shape[0] if count is None else count
    inputs = enclosure.network.input_size
    backward = forward = None
    if direction != "forward":
        alike = [np.zeros((rows.shape[0], g.size)) for g in enclosure.reduced.groups] if of_one else None
        backward = backward_chain(enclosure, rows, alike)
    if direction in ("forward", "both") or is_open(direction, inputs, count):
        forward = forward_chain(enclosure, rows)
    if direction == "auto" and backward is not None and forward is not None:
        # All rows have the same chain, but for what rounding may cost them; the forward chain's first group is the rows.
        cost = count * _total(backward.sizes, backward.work)
        other = inputs * _total([count, *forward.sizes[1:]], forward.work_for(count))
        return (backward, None) if cost <= other else (None, forward)
    return backward, forward


def _total(sizes: list[int], work: list[int]) -> int:
    return sum(n * each for n, each in zip(sizes, work, strict=True))


def begin(chain: Chain, rounding: Rounding, method: str, block_bytes: int = BLOCK_BYTES) -> ColumnRecursion:
    """The recursion of the named method over ``chain``."""
    return _RECURSIVE[method](chain, rounding, block_bytes)


@np.errstate(over="ignore", invalid="ignore")
def bound_chain(
    chain: Chain, rounding: Rounding, method: str, block_bytes: int = BLOCK_BYTES
) -> tuple[Floats, Floats, tuple[ColumnRecursion, ...]]:
    """Bounds of all the chain's rows, float64 [K, n], and the recursions: as many rows at once as memory allows."""
    block = rows_at_once(chain, block_bytes)
    chains = [chain] if chain.rows <= block else [chain.take(slice(k, k + block)) for k in range(0, chain.rows, block)]
    pushes = tuple(begin(c, rounding, method, block_bytes) for c in chains)
    bounds = [push.bound() for push in pushes]
    if len(bounds) == 1:
        return *bounds[0], pushes
    return np.concatenate([b[0] for b in bounds]), np.concatenate([b[1] for b in bounds]), pushes
