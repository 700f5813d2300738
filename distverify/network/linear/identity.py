"""The identity operator: the skip branch of a residual block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from distverify.network.linear.operator import Array, Indices, LinearOperator, added, scatter_rows


@dataclass(frozen=True)
class Identity(LinearOperator):
    """Passes its ``size`` inputs on."""

    kind: ClassVar[str] = "identity"
    size: int

    @property
    def in_size(self) -> int:
        return self.size

    @property
    def out_size(self) -> int:
        return self.size

    @property
    def push_terms(self) -> int:
        return 1

    @property
    def pull_terms(self) -> int:
        return 1

    @property
    def norm(self) -> float:
        return 1.0

    @property
    def row_norms(self) -> Array:
        return np.ones(self.size)

    @property
    def arrays(self) -> tuple[Array, ...]:
        return ()

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.size,)

    def mapped(self, change: Callable[[Array], Array]) -> Self:
        return self

    def rows(self) -> Array:
        return np.eye(self.size)

    def columns(self, which: slice | Indices) -> Array:
        return np.ascontiguousarray(np.eye(self.size)[:, which])

    def push(self, columns: Array, inputs: Indices | None = None, out: Array | None = None) -> Array:
        return added(scatter_rows(columns, inputs, self.size), out)

    def pull(self, rows: Array, out: Array | None = None) -> Array:
        return added(rows, out)

    def push_abs(self, columns: Array) -> Array:
        return columns

    def pull_abs(self, rows: Array) -> Array:
        return rows
