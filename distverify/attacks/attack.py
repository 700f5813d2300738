"""The attack on one sample: what a worker computes in an audit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.perturbation import along_family
from distverify.analysis.points import Surroundings
from distverify.attacks.attained import ATTAINED, Target
from distverify.network.graph import Network
from distverify.region import Balls
from distverify.settings import Settings
from distverify.status import OK
from distverify.work import Sample, SampleResult

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Attack:
    """Attacks samples; what it needs of the result's claims is small and goes to every worker.

    Attributes
    ----------
    asked : tuple of str
        Names of what is to be attained, in the order of :data:`distverify.attacks.attained.ATTAINED`.
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

    asked: tuple[str, ...]
    positions: dict[int, int]
    radii: Floats
    stationary: Floats
    points: int
    seed: int

    def __call__(self, network: Network, sample: Sample, settings: Settings) -> SampleResult:
        """What was attained around the sample, by the names of :data:`distverify.attacks.attained.ATTAINED`."""
        network, sample = along_family(network, sample, settings)
        row = self.positions[sample.index]
        generator = np.random.default_rng((self.seed, sample.index))
        around = Surroundings(Balls(sample.x, settings.norm, settings.clip, settings.feature_eps), generator)
        target = Target(network, around, sample, settings, self.points, self.radii[row], self.stationary[row])
        return {"status": OK, **{name: np.asarray(ATTAINED[name].find(target)) for name in self.asked}}
