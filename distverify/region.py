"""Input regions: where a bound holds. Norm balls, boxes without a centre, and the balls around one sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distverify.arguments import numbers
from distverify.errors import SettingsError
from distverify.settings import NORMS, Domain, feature_factors

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
    feature_eps : array_like [D], optional
        One factor per feature: the region is {x : ||(x - x0) / feature_eps|| <= eps}, and constants over it are meant in that
        norm. A feature of factor 0 is fixed. Norms 2 and 1 take factors 0 and 1 only: which features may change.

    Raises
    ------
    SettingsError
        A norm, radius or box that makes no sense; a centre that is not finite or lies outside the box.
    """

    x0: Floats
    eps: float | Floats
    norm: float = math.inf
    clip: tuple[ArrayLike, ArrayLike] | None = None
    feature_eps: Floats | None = None

    def __init__(
        self,
        x0: ArrayLike,
        eps: ArrayLike,
        norm: float = math.inf,
        clip: tuple[ArrayLike, ArrayLike] | None = None,
        feature_eps: ArrayLike | None = None,
    ) -> None:
        centre = np.ascontiguousarray(numbers("x0", x0, "the sample's values")).reshape(-1)
        if not np.isfinite(centre).all():
            raise SettingsError(f"x0: {int((~np.isfinite(centre)).sum())} values are NaN or infinite")
        if norm not in NORMS:
            raise SettingsError(f"norm: got {norm}; choose inf, 2 or 1")
        radius = numbers("eps", eps, "a radius, or one per feature")
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
        object.__setattr__(self, "feature_eps", None)
        lo, hi = self.clip_box
        inside = (lo <= centre) & (centre <= hi)
        if not inside.all():
            outside = int((~inside).sum())
            raise SettingsError(
                f"clip: {outside} values of x0 lie outside the box (x0 spans {centre.min():g} to {centre.max():g}); "
                "scale the data into it, or leave clip out"
            )
        if feature_eps is not None:
            self._scale_features(numbers("feature_eps", feature_eps, "one factor per feature").reshape(-1))

    def _scale_features(self, factors: Floats) -> None:
        if factors.size != self.size or not isinstance(self.eps, float):
            raise SettingsError(
                f"feature_eps: got {factors.size} factors for {self.size} features and {np.size(self.eps)} eps; "
                "give one factor per feature, and one number as eps"
            )
        feature_factors(factors, self.norm)
        object.__setattr__(self, "feature_eps", np.ascontiguousarray(factors))
        if self.norm == math.inf:
            with np.errstate(invalid="ignore"):
                radius = self.eps * factors
            rounded = (factors != 0.0) & (factors != 1.0)
            radius = np.where(rounded, np.nextafter(radius, np.inf), radius)
            object.__setattr__(self, "eps", np.where(factors == 0.0, 0.0, radius))
        elif not factors.all():
            # To every bound, a fixed feature is one whose box is a point.
            lo, hi = self.clip_box
            fixed = factors == 0.0
            object.__setattr__(self, "clip", (np.where(fixed, self.x0, lo), np.where(fixed, self.x0, hi)))

    @property
    def size(self) -> int:
        return int(self.x0.size)

    @property
    def clip_box(self) -> tuple[Floats, Floats]:
        """(lo, hi), float64 [D]; infinite without a box."""
        if self.clip is None:
            return np.full(self.size, -np.inf), np.full(self.size, np.inf)
        if not isinstance(self.clip, tuple | list | np.ndarray) or len(self.clip) != 2:
            raise SettingsError(f"clip: got {self.clip!r}; give (lo, hi)")
        lo, hi = (numbers("clip", side, "(lo, hi), numbers or arrays of them") for side in self.clip)
        if lo.size not in (1, self.size) or hi.size not in (1, self.size):
            raise SettingsError(
                f"clip: got {lo.size} and {hi.size} values for {self.size} features; give one each, or one per feature"
            )
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
    def inner_box(self) -> tuple[Floats, Floats]:
        """The largest box of float64 numbers that is certainly inside of :attr:`box`'s exact one: (lo, hi), float64 [D].

        For norm inf the region itself, less at most a unit in the last place; where a feature leaves no number but its
        centre, the centre.
        """
        lo, hi = self.clip_box
        low, high = self.x0 - self.eps, self.x0 + self.eps
        exact = (self.x0 == 0.0) | (np.asarray(self.eps) == 0.0)
        low = np.where(exact, low, np.nextafter(low, np.inf))
        high = np.where(exact, high, np.nextafter(high, -np.inf))
        return np.minimum(np.maximum(low, lo), self.x0), np.maximum(np.minimum(high, hi), self.x0)

    @property
    def unbounded(self) -> bool:
        """Whether the region is the whole space, or unbounded in some direction."""
        low, high = self.box
        return not bool(np.isfinite(low).all() and np.isfinite(high).all())


@dataclass(frozen=True, eq=False)
class Box(Ball):
    """All points between two corners: a region without a centre of its own.

    It is the ball of norm inf around its midpoint with a radius per feature, but keeps its exact corners. Lipschitz constants
    over it may be asked for in any norm.

    Parameters
    ----------
    lower, upper : array_like [D] (or the shape of one sample)
        Finite corners; equal where a feature is fixed.

    Raises
    ------
    SettingsError
        Corners that are not finite, of different sizes, or in the wrong order.
    """

    def __init__(self, lower: ArrayLike, upper: ArrayLike) -> None:
        lo, hi = (
            np.ascontiguousarray(numbers(name, side, "a value per feature")).reshape(-1)
            for name, side in (("lower", lower), ("upper", upper))
        )
        if lo.size != hi.size:
            raise SettingsError(f"lower, upper: got {lo.size} and {hi.size} values; give one each per feature")
        for name, side in (("lower", lo), ("upper", hi)):
            if not np.isfinite(side).all():
                raise SettingsError(f"{name}: {int((~np.isfinite(side)).sum())} values are NaN or infinite")
        if (lo > hi).any():
            first = int(np.argmax(lo > hi))
            raise SettingsError(f"lower: feature {first} is {lo[first]:g}, above upper, {hi[first]:g}; exchange them")
        middle = np.clip(0.5 * lo + 0.5 * hi, lo, hi)
        super().__init__(middle, np.nextafter(np.maximum(hi - middle, middle - lo), np.inf), math.inf, (lo, hi))

    @property
    def box(self) -> tuple[Floats, Floats]:
        """The corners, (lower, upper) float64 [D]: exact."""
        return self.clip_box

    @property
    def inner_box(self) -> tuple[Floats, Floats]:
        """The corners, (lower, upper) float64 [D]: exact."""
        return self.clip_box


@dataclass(frozen=True, eq=False)
class Balls:
    """The balls around one sample: what :class:`Ball` takes, all but the radius.

    Attributes
    ----------
    x0, norm, clip, feature_eps : see :class:`Ball`
    """

    x0: Floats
    norm: float = math.inf
    clip: tuple[ArrayLike, ArrayLike] | None = None
    feature_eps: ArrayLike | None = None

    def at(self, eps: float) -> Ball:
        """The ball of radius ``eps``."""
        return Ball(self.x0, eps, self.norm, self.clip, self.feature_eps)

    @property
    def weights(self) -> Floats | None:
        """``feature_eps`` as float64 [D]."""
        return None if self.feature_eps is None else np.asarray(self.feature_eps, dtype=np.float64).reshape(-1)

    @property
    def farthest(self) -> float:
        """A radius past which no search need look: the box's farthest point, or a million times the data's scale."""
        weights = np.ones(self.x0.size) if self.weights is None else self.weights
        if self.clip is None:
            return 1e6 * max(1.0, float(np.abs(self.x0).max())) / float(weights.max())
        lo, hi = Ball(self.x0, 0.0, clip=self.clip).clip_box
        free = weights > 0.0
        reach = np.maximum(hi - self.x0, self.x0 - lo)[free] / weights[free]
        return float(np.linalg.norm(reach, ord={math.inf: np.inf, 2.0: 2, 1.0: 1}[self.norm])) * (1 + 1e-9)


def domain_box(domain: Domain, size: int) -> Box:
    """The box of ``size`` features that a setting stands for.

    Raises
    ------
    SettingsError
        Another number of features.
    """
    corners = [np.asarray(side, dtype=np.float64).reshape(-1) for side in domain]
    if corners[0].size not in (1, size):
        raise SettingsError(
            f"domain: got a box of {corners[0].size} features; the network takes {size}, give a lower and an upper value for each"
        )
    return Box(*(np.broadcast_to(side, (size,)) for side in corners))


def region_of(region: Any) -> Ball:
    """``region``, checked.

    Raises
    ------
    SettingsError
        Something else than a Ball or a Box.
    """
    if not isinstance(region, Ball):
        raise SettingsError(f"region: got {type(region).__name__}; give a distverify.Ball or a distverify.Box")
    return region
