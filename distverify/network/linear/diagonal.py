"""The diagonal operator: one factor per value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np

from distverify.network.linear.exactness import are_powers_of_two
from distverify.network.linear.operator import NORM_MARGIN, Array, Indices, LinearOperator, added, scatter_rows


@dataclass(frozen=True, eq=False)
class Diagonal(LinearOperator):
    """Elementwise multiplication by ``scale`` float64 [size]."""

    kind: ClassVar[str] = "diagonal"
    scale: Array
    roundings: int = field(default=0, kw_only=True)

    @property
    def in_size(self) -> int:
        return int(self.scale.size)

    @property
    def out_size(self) -> int:
        return int(self.scale.size)

    @property
    def push_terms(self) -> int:
        return 1 + self.roundings

    @property
    def pull_terms(self) -> int:
        return 1 + self.roundings

    @property
    def norm(self) -> float:
        return float(np.abs(self.scale).max()) * self._growth

    @property
    def row_norms(self) -> Array:
        return np.abs(self.scale) * self._growth

    @property
    def _growth(self) -> float:
        """Norms of exact scales are exact."""
        return NORM_MARGIN if self.roundings else 1.0

    @property
    def arrays(self) -> tuple[Array, ...]:
        return (self.scale,)

    def mapped(self, change: Callable[[Array], Array]) -> Self:
        return replace(self, scale=change(self.scale))

    def rows(self) -> Array:
        return np.diag(self.scale)

    def columns(self, which: slice | Indices) -> Array:
        return np.ascontiguousarray(self.rows()[:, which])

    def push(self, columns: Array, inputs: Indices | None = None, out: Array | None = None) -> Array:
        scaled = self.scale[:, None] * scatter_rows(columns, inputs, self.scale.size)
        return added(scaled.astype(columns.dtype, copy=False), out)

    def pull(self, rows: Array, out: Array | None = None) -> Array:
        return added((rows * self.scale).astype(rows.dtype, copy=False), out)

    def push_abs(self, columns: Array) -> Array:
        return np.abs(self.scale)[:, None] * columns

    def pull_abs(self, rows: Array) -> Array:
        return rows * np.abs(self.scale)


def division(divisors: Array) -> Diagonal | None:
    """Elementwise division by ``divisors``; None where a quotient leaves the range of normal numbers."""
    with np.errstate(divide="ignore", over="ignore", under="ignore"):
        quotients = 1.0 / divisors
    if not (np.isfinite(quotients).all() and (np.abs(quotients) >= np.finfo(np.float64).tiny).all()):
        return None
    return Diagonal(quotients, roundings=0 if are_powers_of_two(divisors) else 1)
