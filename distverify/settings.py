"""What a run computes: one validated, immutable value that the analyses, the manifest and the command line share."""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from distverify.errors import SettingsError

COMPUTE = ("global", "jacobian", "landscape", "lipschitz", "margins", "monotone", "radius", "verified")
# What is computed for a property file, and only for those.
PROPERTY = "property"
METHODS = ("linear", "coupled", "recurjac", "fastlip", "interval")
LAYER_BOUNDS = ("crown", "interval")
TARGETS = ("untargeted", "runner-up", "least-likely", "random")
NORMS = (math.inf, 2.0, 1.0)
LANDSCAPE_OUTPUTS = ("all", "label")
EPS_UNITS = ("raw", "normalised")
DIRECTIONS = ("auto", "backward", "forward", "both")
PRECISIONS = ("float64", "float32")
MARCH_EVALUATIONS = 16
MARCH_TOLERANCE = 1e-3
# What every radius of a run is needed for, and what may be asked of a whole domain.
_OVER_EPS = ("jacobian", "lipschitz", "margins", "monotone", "verified")
_OVER_DOMAIN = ("jacobian", "lipschitz", "monotone")


@dataclass(frozen=True)
class Settings:
    """Everything that a result depends on besides the model and the data.

    Attributes
    ----------
    norm : inf, 2 or 1
        The ball's norm.
    eps : tuple of float
        Radii, in the units that ``eps_units`` names.
    compute : tuple of str
        Any of :data:`COMPUTE`, or "property" alone; sorted.
    method : "linear", "recurjac", "fastlip" or "interval"
    layer_bounds : "crown" or "interval"
    targets : "untargeted", "runner-up", "least-likely", "random" or a class index
    clip : (lo, hi) or None
        Box that every input lies in.
    seed : int
        Of everything random (random targets).
    feature_eps : tuple of float or None
        One factor per feature: the ball of radius eps is ``||(x - x0) / feature_eps|| <= eps``, and constants and radii are
        meant in that norm. 0 keeps a feature fixed; for norms 2 and 1 factors are 0 or 1.
    domain : (lo, hi) or None
        A box for all features, without a centre: what may be asked of a whole domain is computed there too.
    march_evaluations : int
        Most Jacobian bounds that one sample's radius may take.
    march_tolerance : float
        Relative: the march ends when more evaluations cannot gain more than this.
    landscape_outputs : "all" or "label"
        Which outputs' stationary points are looked for.
    eps_units : "raw" or "normalised"
        Whether radii (and ``clip``, ``domain``) are in units of the data before or after mean and std.
    direction : "auto", "backward", "forward" or "both"
        Order in which the outputs' Jacobian is bounded: a chain per output, or per input, or the intersection of both.
    precision : "float64" or "float32"
        Of matrix products; bounds are sound either way.
    """

    norm: float = math.inf
    eps: tuple[float, ...] = ()
    compute: tuple[str, ...] = ("lipschitz", "radius")
    method: str = "linear"
    layer_bounds: str = "crown"
    targets: str | int = "untargeted"
    clip: tuple[float, float] | None = None
    seed: int = 0
    feature_eps: tuple[float, ...] | None = None
    domain: tuple[float, float] | None = None
    march_evaluations: int = MARCH_EVALUATIONS
    march_tolerance: float = MARCH_TOLERANCE
    landscape_outputs: str = "all"
    eps_units: str = "raw"
    direction: str = "auto"
    precision: str = "float64"

    def __post_init__(self) -> None:
        _set(self, "compute", _compute(self.compute))
        _set(self, "eps", tuple(float(e) for e in self.eps))
        _set(self, "norm", float(self.norm))
        if self.norm not in NORMS:
            raise SettingsError(f"norm: got {self.norm}; choose inf, 2 or 1")
        for e in self.eps:
            if not (math.isfinite(e) and e > 0):
                raise SettingsError(f"eps: got {e}; every radius must be a finite positive number")
        if len(set(self.eps)) != len(self.eps):
            raise SettingsError(f"eps: got {list(self.eps)}; each radius may appear once")
        _choice("method", self.method, METHODS)
        _choice("layer_bounds", self.layer_bounds, LAYER_BOUNDS)
        if isinstance(self.targets, str):
            _choice("targets", self.targets, TARGETS, "or a class index")
        elif isinstance(self.targets, bool) or self.targets < 0:
            raise SettingsError(f"targets: got {self.targets}; a class index starts at 0")
        _choice("landscape_outputs", self.landscape_outputs, LANDSCAPE_OUTPUTS)
        _choice("eps_units", self.eps_units, EPS_UNITS)
        _choice("direction", self.direction, DIRECTIONS)
        _choice("precision", self.precision, PRECISIONS)
        for name in ("clip", "domain"):
            if (box := getattr(self, name)) is not None:
                _set(self, name, _box(name, box))
        if self.feature_eps is not None:
            _set(self, "feature_eps", feature_factors(self.feature_eps, self.norm))
        if isinstance(self.march_evaluations, bool) or self.march_evaluations < 1:
            raise SettingsError(f"march_evaluations: got {self.march_evaluations}; give a whole number of at least 1")
        if not 0.0 <= self.march_tolerance < 1.0:
            raise SettingsError(f"march_tolerance: got {self.march_tolerance}; give a number of at least 0 and below 1")
        if self.direction != "auto" and self.method in ("fastlip", "interval"):
            raise SettingsError(
                f"direction: got {self.direction!r} for {self.method}, which has none; leave direction out, or choose linear or recurjac"
            )
        self._check_needs()
        self._check_ignored()

    def _check_needs(self) -> None:
        over_domain = _OVER_DOMAIN if self.domain is not None else ()
        needs_eps = [c for c in self.compute if c in _OVER_EPS and c not in over_domain]
        if needs_eps and not self.eps:
            raise SettingsError(
                f"eps: none given, but {' and '.join(needs_eps)} need at least one radius; add eps=... (--eps)"
            )

    def _check_ignored(self) -> None:
        """Refuse what nothing that is computed would use."""
        attacked = ("margins", "radius", "verified")
        marched = ("radius", "verified")
        around_samples = (*_OVER_EPS, "landscape", "radius")
        rules: list[tuple[str, bool, Sequence[str]]] = [
            ("targets", self.targets != "untargeted", attacked),
            ("march_evaluations", self.march_evaluations != MARCH_EVALUATIONS, marched),
            ("march_tolerance", self.march_tolerance != MARCH_TOLERANCE, ("radius",)),
            ("landscape_outputs", self.landscape_outputs != "all", ("landscape",)),
            ("domain", self.domain is not None, _OVER_DOMAIN),
            ("direction", self.direction != "auto", ("global", "jacobian", "lipschitz", "monotone")),
            ("clip", self.clip is not None, around_samples),
            ("feature_eps", self.feature_eps is not None, around_samples),
        ]
        for name, given, used_by in rules:
            if given and not set(used_by) & set(self.compute):
                got = "" if name == "feature_eps" else f"got {getattr(self, name)!r}, which is "
                raise SettingsError(
                    f"{name}: {got}only for {', '.join(used_by)}; add one of them to compute, or leave {name} out"
                )
        if self.compute == (PROPERTY,):
            used = ("compute", "layer_bounds", "precision", "seed")
            ignored = [
                n for n, f in self.__dataclass_fields__.items() if n not in used and getattr(self, n) != f.default
            ]
            if ignored:
                raise SettingsError(
                    f"{', '.join(ignored)}: a property file says what is verified; leave {', '.join(ignored)} out"
                )

    def to_json(self) -> dict[str, Any]:
        """A dictionary that JSON can hold (inf as the string "inf")."""
        out = asdict(self)
        out["norm"] = "inf" if math.isinf(self.norm) else self.norm
        for name in ("eps", "compute", "clip", "domain"):
            out[name] = None if out[name] is None else list(out[name])
        if self.feature_eps is not None:
            # An HDF5 attribute is too small for a value per feature: the values are stored beside it.
            out["feature_eps"] = hashlib.sha256(array("d", self.feature_eps).tobytes()).hexdigest()
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Any], feature_eps: Iterable[float] | None = None) -> Settings:
        """The inverse of :meth:`to_json`; ``feature_eps`` are the values that its hash stands for."""
        values = dict(data)
        values["norm"] = float(values["norm"])
        for name in ("eps", "compute", "clip", "domain"):
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        if values.get("feature_eps") is not None:
            values["feature_eps"] = None if feature_eps is None else tuple(float(v) for v in feature_eps)
        return cls(**values)


def feature_factors(values: Iterable[float], norm: float) -> tuple[float, ...]:
    """One factor of eps per feature, checked.

    Raises
    ------
    SettingsError
        A value that is negative, NaN or infinite, nothing but zeros, or other values than 0 and 1 for norms 2 and 1.
    """
    factors = tuple(float(v) for v in values)
    wrong = [v for v in factors if not (math.isfinite(v) and v >= 0)]
    if wrong or not any(factors):
        got = wrong[0] if wrong else "nothing above 0"
        raise SettingsError(f"feature_eps: got {got}; give one finite factor >= 0 per feature, some of them above 0")
    if norm != math.inf and not set(factors) <= {0.0, 1.0}:
        other = next(v for v in factors if v not in (0.0, 1.0))
        raise SettingsError(
            f"feature_eps: got {other} for norm {norm:g}; only norm inf takes other factors than 0 and 1"
        )
    return factors


def _set(settings: Settings, name: str, value: object) -> None:
    object.__setattr__(settings, name, value)


def _compute(names: Iterable[str]) -> tuple[str, ...]:
    chosen = tuple(sorted(set([names] if isinstance(names, str) else names)))
    if chosen == (PROPERTY,):
        return chosen
    unknown = [n for n in chosen if n not in COMPUTE]
    if unknown or not chosen:
        raise SettingsError(f"compute: got {', '.join(unknown) or 'nothing'}; choose any of {', '.join(COMPUTE)}")
    return chosen


def _choice(name: str, value: str, choices: tuple[str, ...], more: str = "") -> None:
    if value not in choices:
        raise SettingsError(f"{name}: got {value!r}; choose {', '.join(choices)} {more}".rstrip())


def _box(name: str, sides: Sequence[float]) -> tuple[float, float]:
    if len(sides) != 2:
        raise SettingsError(f"{name}: got {len(sides)} values; give LO,HI")
    lo, hi = (float(v) for v in sides)
    if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
        raise SettingsError(f"{name}: got {lo},{hi}; give finite LO,HI with LO < HI")
    return lo, hi
