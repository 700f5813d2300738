"""Input regions: where a bound holds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distverify.errors import SettingsError
from distverify.settings import NORMS

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ball:
    """A norm ball around a point, optionally intersected with a box.

    Parameters
    ----------
    x0 : array_like [D] (or the shape of one sample)
        Centre; flattened, converted to float64 exactly.
    eps : float or array_like [D]
        Radius; one per feature is allowed for norm inf. ``inf`` is the whole space.
    norm : inf, 2 or 1
    clip : (lo, hi), optional
        Each a number or [D]: the region is {x : ||x - x0|| <= eps, lo <= x <= hi}. ``x0`` must lie in the box.

    Raises
    ------
    SettingsError
        A norm, radius or box that makes no sense; a centre that is not finite or lies outside the box.
    """

    x0: Floats
    eps: float | Floats
    norm: float = math.inf
    clip: tuple[ArrayLike, ArrayLike] | None = None

    def __init__(
        self,
        x0: ArrayLike,
        eps: ArrayLike,
        norm: float = math.inf,
        clip: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> None:
        centre = np.ascontiguousarray(x0, dtype=np.float64).reshape(-1)
        if not np.isfinite(centre).all():
            raise SettingsError(f"x0: {int((~np.isfinite(centre)).sum())} values are NaN or infinite")
        if norm not in NORMS:
            raise SettingsError(f"norm: got {norm}; choose inf, 2 or 1")
        radius = np.asarray(eps, dtype=np.float64)
        if radius.size > 1 and (norm != math.inf or radius.size != centre.size):
            raise SettingsError(
                f"eps: got {radius.size} values for {centre.size} features and norm {norm:g}; "
                "give one number, or one per feature with norm inf"
            )
        if np.isnan(radius).any() or (radius < 0).any():
            raise SettingsError(f"eps: got {radius.min()}; a radius is a number >= 0")
        object.__setattr__(self, "x0", centre)
        object.__setattr__(self, "eps", float(radius.reshape(-1)[0]) if radius.size == 1 else radius.reshape(-1))
        object.__setattr__(self, "norm", float(norm))
        object.__setattr__(self, "clip", clip)
        lo, hi = self.clip_box
        if (lo > centre).any() or (hi < centre).any():
            outside = int(((lo > centre) | (hi < centre)).sum())
            raise SettingsError(
                f"clip: {outside} values of x0 lie outside the box (x0 spans {centre.min():g} to {centre.max():g}); "
                "scale the data into it, or leave clip out"
            )

    @property
    def size(self) -> int:
        return int(self.x0.size)

    @property
    def clip_box(self) -> tuple[Floats, Floats]:
        """(lo, hi), float64 [D]; infinite without a box."""
        if self.clip is None:
            return np.full(self.size, -np.inf), np.full(self.size, np.inf)
        lo, hi = (np.asarray(side, dtype=np.float64) for side in self.clip)
        if lo.size not in (1, self.size) or hi.size not in (1, self.size):
            raise SettingsError(f"clip: got {lo.size} and {hi.size} values for {self.size} features; give one each, or one per feature")
        return (
            np.ascontiguousarray(np.broadcast_to(lo.reshape(-1), (self.size,))),
            np.ascontiguousarray(np.broadcast_to(hi.reshape(-1), (self.size,))),
        )

    @property
    def box(self) -> tuple[Floats, Floats]:
        """The smallest box around the region, rounded outwards: (lo, hi), float64 [D]."""
        lo, hi = self.clip_box
        low, high = self.x0 - self.eps, self.x0 + self.eps
        exact = (self.x0 == 0.0) | (np.asarray(self.eps) == 0.0)
        low = np.where(exact, low, np.nextafter(low, -np.inf))
        high = np.where(exact, high, np.nextafter(high, np.inf))
        return np.maximum(low, lo), np.minimum(high, hi)

    @property
    def unbounded(self) -> bool:
        """Whether the region is the whole space, or unbounded in some direction."""
        low, high = self.box
        return not bool(np.isfinite(low).all() and np.isfinite(high).all())
