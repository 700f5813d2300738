"""What a run computes: one validated, immutable value that the analyses, the manifest and the command line share."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from distverify.errors import SettingsError

COMPUTE = ("jacobian", "landscape", "lipschitz", "radius")
METHODS = ("linear", "recurjac", "fastlip")
LAYER_BOUNDS = ("crown", "interval")
TARGETS = ("untargeted", "runner-up", "least-likely", "random")
NORMS = (math.inf, 2.0, 1.0)


@dataclass(frozen=True)
class Settings:
    """Everything that a result depends on besides the model and the data.

    Attributes
    ----------
    norm : inf, 2 or 1
        The ball's norm.
    eps : tuple of float
        Radii, in the units of the data after ``--scale`` and before ``--mean``/``--std``.
    compute : tuple of str
        Any of "jacobian", "lipschitz", "radius", "landscape"; sorted.
    method : "linear", "recurjac" or "fastlip"
    layer_bounds : "crown" or "interval"
    targets : "untargeted", "runner-up", "least-likely", "random" or a class index
    clip : (lo, hi) or None
        Box that every input lies in.
    seed : int
        Of everything random (random targets).
    """

    norm: float = math.inf
    eps: tuple[float, ...] = ()
    compute: tuple[str, ...] = ("lipschitz", "radius")
    method: str = "linear"
    layer_bounds: str = "crown"
    targets: str | int = "untargeted"
    clip: tuple[float, float] | None = None
    seed: int = 0

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
        if self.clip is not None:
            if len(self.clip) != 2:
                raise SettingsError(f"clip: got {len(self.clip)} values; give LO,HI")
            lo, hi = (float(v) for v in self.clip)
            if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
                raise SettingsError(f"clip: got {lo},{hi}; give finite LO,HI with LO < HI")
            _set(self, "clip", (lo, hi))
        needs_eps = [c for c in self.compute if c in ("jacobian", "lipschitz")]
        if needs_eps and not self.eps:
            raise SettingsError(f"eps: none given, but {' and '.join(needs_eps)} need at least one radius; add eps=... (--eps)")
        if self.targets != "untargeted" and "radius" not in self.compute:
            raise SettingsError(f"targets: got {self.targets!r}, which only 'radius' uses; add it to compute, or leave targets out")

    def to_json(self) -> dict[str, Any]:
        """A dictionary that JSON can hold (inf as the string "inf")."""
        out = asdict(self)
        out["norm"] = "inf" if math.isinf(self.norm) else self.norm
        out["eps"] = list(self.eps)
        out["compute"] = list(self.compute)
        out["clip"] = None if self.clip is None else list(self.clip)
        return out

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Settings:
        """The inverse of :meth:`to_json`."""
        values = dict(data)
        values["norm"] = float(values["norm"])
        values["eps"] = tuple(values["eps"])
        values["compute"] = tuple(values["compute"])
        values["clip"] = None if values["clip"] is None else tuple(values["clip"])
        return cls(**values)


def _set(settings: Settings, name: str, value: object) -> None:
    object.__setattr__(settings, name, value)


def _compute(names: Iterable[str]) -> tuple[str, ...]:
    chosen = tuple(sorted(set([names] if isinstance(names, str) else names)))
    unknown = [n for n in chosen if n not in COMPUTE]
    if unknown or not chosen:
        raise SettingsError(f"compute: got {', '.join(unknown) or 'nothing'}; choose any of {', '.join(COMPUTE)}")
    return chosen


def _choice(name: str, value: str, choices: tuple[str, ...], more: str = "") -> None:
    if value not in choices:
        raise SettingsError(f"{name}: got {value!r}; choose {', '.join(choices)} {more}".rstrip())
