"""Counterexamples that a result stores, replayed: is each a point of its region, and broken for certain, in exact arithmetic?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from distverify.analysis.attack import Attacker, Room
from distverify.analysis.evaluation import highest_at
from distverify.analysis.margins import choose_targets
from distverify.analysis.perturbation import along_family
from distverify.analysis.property import inner_box, targets_of
from distverify.bounds.gradient import jacobian_at
from distverify.bounds.jacobian import margin_rows
from distverify.bounds.reduced import Floats
from distverify.data.vnnlib.cases import Polytope
from distverify.data.vnnlib.property import Property
from distverify.network.graph import Network
from distverify.region import Balls, Box
from distverify.settings import Settings
from distverify.status import FALSIFIED, OK
from distverify.work import Sample, SampleResult

# Starting points of the search that looks for a counterexample of what is said to have none, as a share of the audit's points.
_SHARE = 4
# What a replay says of a property, by variable of the file.
VERDICTS = ("counterexample", "verified", "property_margin")
# Downhill, where a margin may be smaller than the file says.
_STEPS, _FOLLOWED = 3, 4


def replay(network: Network, sample: Sample, settings: Settings, verified: Floats, points: Floats) -> Floats:
    """For each radius, how far the stored counterexample is from being one: float64 [eps]; NaN where nothing is claimed.

    Parameters
    ----------
    verified : int [eps]
        Codes, or zeros where the file holds none.
    points : float64 [eps, D]

    Returns
    -------
    float64 [eps]
        An upper bound of the margin of the class that is ahead there: at most 0 where it is one. inf: outside of the ball, or
        falsified without a point.
    """
    network, sample = along_family(network, sample, settings)
    label = int(np.argmax(network(sample.x)[0])) if sample.label < 0 else sample.label
    chosen = choose_targets(network(sample.x)[0], label, settings.targets, (settings.seed, sample.index))
    rows = margin_rows(network.output_size, label, chosen)
    balls = Balls(sample.x, settings.norm, settings.clip, settings.feature_eps)
    out = np.full(len(settings.eps), np.nan)
    for k, eps in enumerate(settings.eps):
        there = bool(np.isfinite(points[k]).all())
        if not there:
            out[k] = np.inf if verified[k] == FALSIFIED else np.nan
        elif not chosen or not Room.of(balls.at(eps)).holds(points[k]):
            out[k] = np.inf
        else:
            out[k] = float(highest_at(network, points[k], rows, np.zeros(rows.shape[0])).min())
    return out


@dataclass(frozen=True, eq=False)
class PropertyReplay:
    """Checks the verdicts on property files: what a worker computes in an audit of them.

    Attributes
    ----------
    properties : dict index -> Property
    codes : dict index -> int
        Of "verified".
    points : dict index -> float64 [D]
        Counterexamples, NaN where there is none.
    restarts : int
    seed : int
    margins : dict index -> float
        Of "property_margin", of those that have one.
    """

    properties: Mapping[int, Property]
    codes: Mapping[int, int]
    points: Mapping[int, Floats]
    restarts: int
    seed: int
    margins: Mapping[int, float] = field(default_factory=dict)

    def __call__(self, network: Network, sample: Sample, settings: Settings) -> SampleResult:
        """ "counterexample": 1 where it is none, 0 where it is one; "verified": 1 where a search found one, 0 where not; "property_margin":
        1 where a point has a smaller one, 0 where none was found; else NaN.
        """
        prop, code, x = self.properties[sample.index], self.codes[sample.index], self.points[sample.index]
        wrong = broken = np.nan
        if code == FALSIFIED or np.isfinite(x).any():
            wrong = 0.0 if code == FALSIFIED and self._is_one(network, prop, x, settings) else 1.0
        if code > 0:
            broken = float(self._found(network, prop, sample.index, settings))
        margin = self.margins.get(sample.index, -np.inf)
        less = float(self._below(network, prop, sample.index, margin)) if np.isfinite(margin) else np.nan
        return {"status": OK, "counterexample": wrong, "verified": broken, "property_margin": less}

    def _attackers(self, network: Network, prop: Property, index: int, settings: Settings) -> list[Attacker]:
        return [
            Attacker(
                network, Box(case.lower, case.upper), targets_of(network, case, settings.arithmetic), (self.seed, index),
                inner_box(case),
            )
            for case in prop.cases
        ]  # fmt: skip

    def _below(self, network: Network, prop: Property, index: int, margin: float) -> bool:
        """Whether a point is found where no constraint of some alternative is violated by ``margin``."""
        generator = np.random.default_rng((self.seed, index))
        for case in prop.cases:
            lower, upper = inner_box(case)
            if bool((lower <= upper).all()):
                parts = generator.choice([0.0, 1.0], (self.restarts, lower.size))
                parts[::2] = generator.random(parts[::2].shape)
                x = np.clip(lower + parts * (upper - lower), lower, upper)
                if any(_is_below(network, polytope, x, lower, upper, margin) for polytope in case.polytopes):
                    return True
        return False

    def _is_one(self, network: Network, prop: Property, x: Floats, settings: Settings) -> bool:
        return any(
            attacker.confirm(k, x) is not None
            for attacker in self._attackers(network, prop, 0, settings)
            for k in range(len(attacker.targets))
        )

    def _found(self, network: Network, prop: Property, index: int, settings: Settings) -> bool:
        return any(
            attacker.search(range(len(attacker.targets)), max(2, self.restarts // _SHARE)) is not None
            for attacker in self._attackers(network, prop, index, settings)
        )


def _is_below(network: Network, polytope: Polytope, x: Floats, lower: Floats, upper: Floats, margin: float) -> bool:
    """Whether one of the points ``x`` [N, D], or one downhill of them, violates each constraint by less than ``margin``."""
    rows, bounds = polytope.rows, polytope.bounds
    if not bounds.size:
        return True  # every point of the box is a counterexample
    for step in range(_STEPS + 1):
        values = network(x) @ rows.T - bounds
        clearances = values.max(axis=1)
        best = x[clearances.argmin()]
        if clearances.min() < margin:
            # The file's decimal numbers may be so far off, and bounds are rounded up.
            off = polytope.inexact @ np.abs(network(best)[0]) * (1.0 + 1e-9) + np.spacing(np.abs(bounds))
            if float(np.nextafter(highest_at(network, best, rows, bounds) + off, np.inf).max()) < margin:
                return True
        if step < _STEPS:
            lowest = np.argsort(clearances)[:_FOLLOWED]
            slopes = jacobian_at(network, x[lowest], rows[values[lowest].argmax(axis=1)][:, None])[:, 0]
            x = np.where(slopes > 0.0, lower, upper)
    return False
