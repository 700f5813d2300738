"""The convolution operator; the matrix itself is never formed, except where its columns are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

from distverify.kernels.convolution import (
    Geometry,
    convolve,
    convolve_transposed,
    unit_columns,
    unit_columns_transposed,
)
from distverify.kernels.windows import pull_windows, taps_last
from distverify.network.linear.operator import (
    NORM_FLOOR,
    NORM_MARGIN,
    Array,
    Indices,
    LinearOperator,
    added,
    scatter_rows,
)


@dataclass(frozen=True, eq=False)
class Convolution(LinearOperator):
    """A convolution of images [channels, height, width], or (``transposed``) the transposed map.

    Attributes
    ----------
    weight : float64 [out_channels, channels / groups, kernel_height, kernel_width]
        Channels as ``geometry`` names them, also where the map is transposed: its inputs are ``geometry``'s outputs.
    geometry : Geometry
    transposed : bool
    """

    kind: ClassVar[str] = "convolution"
    weight: Array
    geometry: Geometry
    transposed: bool = False
    roundings: int = field(default=0, kw_only=True)

    @cached_property
    def _absolute(self) -> Convolution:
        return replace(self, weight=np.abs(self.weight))

    @cached_property
    def _single(self) -> Array:
        return self.weight.astype(np.float32)

    @property
    def in_size(self) -> int:
        return math.prod(self.geometry.out_image if self.transposed else self.geometry.image)

    @property
    def out_size(self) -> int:
        return math.prod(self.geometry.image if self.transposed else self.geometry.out_image)

    def _terms(self, transposed: bool) -> int:
        g = self.geometry
        return g.out_channels // g.groups * g.kernel_height * g.kernel_width if transposed else g.taps

    @property
    def push_terms(self) -> int:
        return self._terms(self.transposed) + self.roundings

    @property
    def pull_terms(self) -> int:
        return self._terms(not self.transposed) + self.roundings

    @cached_property
    def norm(self) -> float:
        # ||W||_2^2 <= ||W||_1 ||W||_inf, and neither depends on signs.
        rows = float(self.push_abs(np.ones((self.in_size, 1))).max())
        columns = float(self.pull_abs(np.ones((1, self.out_size))).max())
        return math.sqrt(rows) * math.sqrt(columns) * NORM_MARGIN

    @cached_property
    def row_norms(self) -> Array:
        largest = float(self._absolute.weight.max())
        if largest == 0.0:
            return np.zeros(self.out_size)
        squares = replace(self, weight=(self.weight / largest) ** 2)
        norms = np.sqrt(squares.push(np.ones((self.in_size, 1)))[:, 0])
        return np.asarray(np.maximum(norms, NORM_FLOOR) * largest * NORM_MARGIN)

    @property
    def arrays(self) -> tuple[Array, ...]:
        return (self.weight,)

    @property
    def sizes(self) -> tuple[int, ...]:
        return (*self.geometry.attributes, int(self.transposed))

    def mapped(self, change: Callable[[Array], Array]) -> Self:
        return replace(self, weight=change(self.weight))

    def rows(self) -> Array:
        return self.columns(slice(None))

    def some_rows(self, which: Indices) -> Array:
        return np.ascontiguousarray(replace(self, transposed=not self.transposed).columns(which).T)

    def columns(self, which: slice | Indices) -> Array:
        indices = np.arange(self.in_size)[which] if isinstance(which, slice) else which
        make = unit_columns_transposed if self.transposed else unit_columns
        return make(self.weight, self.geometry, indices)  # type: ignore[return-value]

    def _apply(self, transposed: bool, columns: Array, out: Array | None) -> Array:
        weight = self._single if columns.dtype == np.float32 else self.weight
        run = convolve_transposed if transposed else convolve
        return run(weight, self.geometry, np.ascontiguousarray(columns), out)  # type: ignore[return-value]

    def push(self, columns: Array, inputs: Indices | None = None, out: Array | None = None) -> Array:
        return self._apply(self.transposed, scatter_rows(columns, inputs, self.in_size), out)

    def pull(self, rows: Array, out: Array | None = None) -> Array:
        g = self.geometry
        if self.transposed or g.groups > 1:
            return added(np.ascontiguousarray(self._apply(not self.transposed, rows.T, None).T), out)
        weight = self._single if rows.dtype == np.float32 else self.weight
        images = np.ascontiguousarray(rows.reshape(-1, *g.out_image).transpose(0, 2, 3, 1))
        corner = np.zeros(rows.shape[0], dtype=np.int64)
        pulled, _, _ = pull_windows(taps_last(weight), g, images, corner, corner)
        return added(np.ascontiguousarray(pulled.transpose(0, 3, 1, 2)).reshape(rows.shape[0], -1), out)

    def push_abs(self, columns: Array) -> Array:
        # Rounding terms are in float64, whatever the precision that they are for.
        return self._absolute.push(columns.astype(np.float64, copy=False))

    def pull_abs(self, rows: Array) -> Array:
        return self._absolute.pull(rows.astype(np.float64, copy=False))
