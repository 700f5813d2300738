"""The attack on one sample: what a worker computes in an audit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.adversarial import nearest_adversarial
from distverify.analysis.margins import choose_targets
from distverify.analysis.points import Surroundings
from distverify.audit.extremes import Extremes, search_extremes
from distverify.bounds.jacobian import margin_rows
from distverify.network.graph import Network
from distverify.region import Balls
from distverify.settings import Settings
from distverify.status import OK
from distverify.work import Sample, SampleResult

Floats = NDArray[np.float64]

# Past the claimed radius the attack goes on, only to see how far away the truth may be.
_BEYOND = (1.5, 3.0)
_CLOSE = 0.8


@dataclass(frozen=True, eq=False)
class Attack:
    """Attacks samples; what it needs of the result's claims is small and goes to every worker.

    Attributes
    ----------
    wanted : frozenset of str
        Names of what is to be attained; see :data:`ATTAINED`.
    positions : dict int -> int
        A sample's index in the data set -> its row in the arrays below.
    radii : float64 [samples, levels]
        Claimed radii to attack at; NaN where there is none.
    stationary : float64 [samples, outputs]
        Claimed radii without stationary points; NaN where there is none.
    points : int
        Points per ball; a quarter of them as starting points of every search for another class.
    seed : int
    """

    wanted: frozenset[str]
    positions: dict[int, int]
    radii: Floats
    stationary: Floats
    points: int
    seed: int

    def __call__(self, network: Network, sample: Sample, settings: Settings) -> SampleResult:
        """What was attained around the sample, by the names of :data:`ATTAINED`."""
        x, label, index = sample.x, sample.label, sample.index
        row = self.positions[index]
        around = Surroundings(
            Balls(x, settings.norm, settings.clip, settings.feature_eps), np.random.default_rng((self.seed, index))
        )
        logits = network(x)[0]
        predicted = int(np.argmax(logits))
        result: SampleResult = {"status": OK, "logits": logits, "predicted": predicted}
        own = predicted if label < 0 else label
        result.update(self._derivatives(network, around, own, settings))
        if "adversarial" in self.wanted:
            targets = choose_targets(logits, own, settings.targets, (settings.seed, index))
            result.update(self._adversarial(network, around, own, targets, self.radii[row]))
        if "sign_kept" in self.wanted:
            result["sign_kept"] = self._signs(network, around, self.stationary[row])
        return {name: value for name, value in result.items() if name in self.wanted or name == "status"}

    def _derivatives(self, network: Network, around: Surroundings, label: int, settings: Settings) -> SampleResult:
        """Over each ball, over the domain, and anywhere."""
        outputs = np.eye(network.output_size)
        found: list[Extremes] = []
        result: SampleResult = {}
        if self.wanted & {"jacobian_min", "jacobian_max", "slope", "slope_vector"}:
            found = [search_extremes(network, around, eps, self.points, outputs) for eps in settings.eps]
            result["jacobian_min"] = np.stack([f.lower for f in found])
            result["jacobian_max"] = np.stack([f.upper for f in found])
            result["slope"] = np.stack([f.slope for f in found])
            result["slope_vector"] = np.array([f.slope_vector for f in found])
        if "slope_margin" in self.wanted:
            others = [k for k in range(network.output_size) if k != label]
            slopes = np.full((len(settings.eps), network.output_size), np.nan)
            for k, eps in enumerate(settings.eps):
                slopes[k, others] = search_extremes(
                    network, around, eps, self.points, margin_rows(network.output_size, label)
                ).slope
            result["slope_margin"] = slopes
        if "domain_min" in self.wanted and settings.domain is not None:
            # A ball that holds the whole box, cut off at the box: its points are those of the box, in the norm of the run.
            lo, hi = (np.full(around.balls.x0.size, side) for side in settings.domain)
            whole = Surroundings(Balls(0.5 * lo + 0.5 * hi, settings.norm, (lo, hi)), around.generator)
            extremes = search_extremes(network, whole, whole.balls.farthest, self.points, outputs)
            result["domain_min"], result["domain_max"] = extremes.lower, extremes.upper
            result["domain_slope"], result["domain_slope_vector"] = extremes.slope, np.array(extremes.slope_vector)
            found.append(extremes)
        if self.wanted & {"slope_anywhere", "slope_vector_anywhere"}:
            if not found:
                size = 0.1 * max(1.0, float(np.abs(around.balls.x0).max()))
                found = [search_extremes(network, around, size, self.points, outputs)]
            result["slope_anywhere"] = np.max([f.slope for f in found], axis=0)
            result["slope_vector_anywhere"] = np.array(max(f.slope_vector for f in found))
        return result

    def _adversarial(
        self, network: Network, around: Surroundings, label: int, targets: Sequence[int], claimed: Floats
    ) -> SampleResult:
        levels: list[float] = []
        for radius in sorted((float(r) for r in claimed if np.isfinite(r) and r > 0), reverse=True):
            # What is found in one ball is drawn in afterwards: radii close below need no search of their own.
            if not levels or radius < _CLOSE * levels[0]:
                levels.insert(0, radius)
        if levels:
            levels += [beyond * levels[-1] for beyond in _BEYOND]
        distances = np.full(network.output_size, np.nan)
        for target in targets:
            distances[target] = nearest_adversarial(network, around, label, target, levels, max(4, self.points // 4))
        nearest = float(np.nanmin(distances)) if targets else math.nan
        return {"adversarial": distances, "adversarial_nearest": np.array(nearest)}

    def _signs(self, network: Network, around: Surroundings, claimed: Floats) -> Floats:
        """For each output, how clearly some derivative keeps its sign at all points looked at: at most 0 if none does."""
        kept = np.full(claimed.size, np.nan)
        for k in np.flatnonzero(np.isfinite(claimed) & (claimed > 0)):
            row = np.eye(network.output_size)[k : k + 1]
            extremes = search_extremes(network, around, float(claimed[k]), self.points, row)
            kept[k] = np.maximum(extremes.lower[0], -extremes.upper[0]).max()
        return kept


# Name of what an attack attains -> its dimensions, without the sample's.
ATTAINED = {
    "logits": ("output",),
    "predicted": (),
    "jacobian_min": ("eps", "output", "input"),
    "jacobian_max": ("eps", "output", "input"),
    "slope": ("eps", "output"),
    "slope_vector": ("eps",),
    "slope_margin": ("eps", "output"),
    "slope_anywhere": ("output",),
    "slope_vector_anywhere": (),
    "domain_min": ("output", "input"),
    "domain_max": ("output", "input"),
    "domain_slope": ("output",),
    "domain_slope_vector": (),
    "adversarial": ("output",),
    "adversarial_nearest": (),
    "sign_kept": ("output",),
}
