"""What attacks attain around one sample, by name: an entry here is all that a new kind of attack takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.adversarial import nearest_adversarial
from distverify.analysis.margins import choose_targets
from distverify.analysis.points import Surroundings
from distverify.attacks.extremes import Extremes, search_extremes
from distverify.bounds.enclosure import enclose
from distverify.bounds.interval import largest, output_at
from distverify.bounds.jacobian import margin_rows, output_rows
from distverify.bounds.lipschitz import induced_norm, row_constants, vector_parts
from distverify.bounds.methods import bound_rows
from distverify.network.graph import Network
from distverify.region import Ball, Balls, domain_box
from distverify.settings import Settings
from distverify.work import Sample

Floats = NDArray[np.float64]

# Past the claimed radius the attack goes on, only to see how far away the truth may be.
_BEYOND = (1.5, 3.0)
_CLOSE = 0.8


@dataclass(eq=False)
class Target:
    """One sample under attack; what several attacks share is searched for once.

    Attributes
    ----------
    network : Network
    around : Surroundings
    sample : Sample
    settings : Settings
    points : int
        Points per ball.
    radii : float64 [levels]
        Claimed radii to attack at; NaN where there is none.
    stationary : float64 [outputs]
        Claimed radii without stationary points; NaN where there is none.
    """

    network: Network
    around: Surroundings
    sample: Sample
    settings: Settings
    points: int
    radii: Floats
    stationary: Floats

    @cached_property
    def logits(self) -> Floats:
        """f(x), float64 [outputs]."""
        return np.asarray(self.network(self.around.balls.x0)[0])

    @cached_property
    def predicted(self) -> int:
        """The class that is certainly ahead, or that of the evaluation where none is."""
        first = largest(*output_at(self.network, self.around.balls.x0))
        return int(np.argmax(self.logits)) if first is None else first

    @property
    def own(self) -> int:
        """The label, or the predicted class where there is none."""
        return int(np.argmax(self.logits)) if self.sample.label < 0 else self.sample.label

    @cached_property
    def over_balls(self) -> list[Extremes]:
        """Extreme derivatives of the outputs in the ball of every radius of the run."""
        outputs = np.eye(self.network.output_size)
        return [search_extremes(self.network, self.around, eps, self.points, outputs) for eps in self.settings.eps]

    @cached_property
    def over_domain(self) -> Extremes:
        """The same in the whole domain."""
        assert self.settings.domain is not None
        # A ball that holds the whole box, cut off at the box: its points are those of the box, in the norm of the run.
        lo, hi = domain_box(self.settings.domain, self.around.balls.x0.size).box
        whole = Surroundings(Balls(0.5 * lo + 0.5 * hi, self.settings.norm, (lo, hi)), self.around.generator)
        outputs = np.eye(self.network.output_size)
        return search_extremes(self.network, whole, whole.balls.farthest, self.points, outputs)

    @cached_property
    def bounded_balls(self) -> list[tuple[Floats, float]]:
        """Constants of the outputs and of all of them over the ball of every radius: upper bounds, by one pass."""
        return [bounded_constants(self.network, self.around.balls.at(eps)) for eps in self.settings.eps]

    @cached_property
    def bounded_margins(self) -> Floats:
        """The same of the label's margins, float64 [eps, outputs], NaN at the label."""
        outputs, label = self.network.output_size, self.own
        bounds = np.full((len(self.settings.eps), outputs), np.nan)
        for k, eps in enumerate(self.settings.eps):
            others = [j for j in range(outputs) if j != label]
            rows = margin_rows(outputs, label)
            bounds[k, others] = bounded_constants(self.network, self.around.balls.at(eps), rows)[0]
        return bounds

    @cached_property
    def bounded_domain(self) -> tuple[Floats, float]:
        """Those of the outputs over the whole domain."""
        assert self.settings.domain is not None
        box = domain_box(self.settings.domain, self.around.balls.x0.size)
        return bounded_constants(self.network, box, None, self.settings.norm, self.around.balls.weights)

    @cached_property
    def anywhere(self) -> list[Extremes]:
        """All of these that there are, or else those of a ball of no claim."""
        extremes = [*self.over_balls, *([] if self.settings.domain is None else [self.over_domain])]
        if extremes:
            return extremes
        size = 0.1 * max(1.0, float(np.abs(self.around.balls.x0).max()))
        return [search_extremes(self.network, self.around, size, self.points, np.eye(self.network.output_size))]

    @cached_property
    def adversarial(self) -> Floats:
        """Distance of the nearest point found of every target class; NaN of other classes, infinite where none was found."""
        levels: list[float] = []
        for radius in sorted((float(r) for r in self.radii if np.isfinite(r) and r > 0), reverse=True):
            # What is found in one ball is drawn in afterwards: radii close below need no search of their own.
            if not levels or radius < _CLOSE * levels[0]:
                levels.insert(0, radius)
        if levels:
            levels += [beyond * levels[-1] for beyond in _BEYOND]
        distances = np.full(self.network.output_size, np.nan)
        for target in choose_targets(
            self.logits, self.own, self.settings.targets, (self.settings.seed, self.sample.index)
        ):
            distances[target] = nearest_adversarial(
                self.network, self.around, self.own, target, levels, max(4, self.points // 4)
            )
        return distances


def bounded_constants(
    network: Network, region: Ball, rows: Floats | None = None, norm: float | None = None, weights: Floats | None = None
) -> tuple[Floats, float]:
    """Lipschitz constants of ``rows @ f`` (by default of the outputs) and of all of them: upper bounds by one pass."""
    enclosure = enclose(network, region)
    bounds = bound_rows(enclosure, output_rows(network, None, None) if rows is None else rows, "linear", "backward")
    norm = region.norm if norm is None else norm
    weights = region.feature_eps if weights is None else weights
    own = row_constants(bounds, norm, weights=weights)
    return own, induced_norm(own, norm, vector_parts(bounds, norm, weights), network.input_size)


@dataclass(frozen=True)
class Attained:
    """One thing that attacks attain.

    Attributes
    ----------
    dims : tuple of str
        Without the sample's.
    find : callable (Target) -> array
    partner : str
        The other end of the same range: closeness is the share of the range that was covered. "" for a number of its own.
    graded : bool
        Whether it means something how close it comes to a bound.
    dtype : str
    """

    dims: tuple[str, ...]
    find: Callable[[Target], NDArray[np.generic] | float | int]
    partner: str = ""
    graded: bool = True
    dtype: str = "float64"


def _nearest(target: Target) -> float:
    distances = target.adversarial
    return math.nan if np.isnan(distances).all() else float(np.nanmin(distances))


def _margin_slopes(target: Target) -> Floats:
    """Slopes of the label's margins in every ball, NaN at the label."""
    outputs, label = target.network.output_size, target.own
    slopes = np.full((len(target.settings.eps), outputs), np.nan)
    for k, eps in enumerate(target.settings.eps):
        rows = margin_rows(outputs, label)
        others = [j for j in range(outputs) if j != label]
        slopes[k, others] = search_extremes(target.network, target.around, eps, target.points, rows).slope
    return slopes


def _signs_kept(target: Target) -> Floats:
    """For each output, how clearly some derivative keeps its sign at all points looked at: at most 0 if none does."""
    claimed = target.stationary
    kept = np.full(claimed.size, np.nan)
    for k in np.flatnonzero(np.isfinite(claimed) & (claimed > 0)):
        row = np.eye(target.network.output_size)[k : k + 1]
        extremes = search_extremes(target.network, target.around, float(claimed[k]), target.points, row)
        kept[k] = np.maximum(extremes.lower[0], -extremes.upper[0]).max()
    return kept


_MATRIX = ("output", "input")
_REBOUND = {
    "slope_bound": (("eps", "output"), lambda t: np.stack([rows for rows, _ in t.bounded_balls])),
    "slope_vector_bound": (("eps",), lambda t: np.array([vector for _, vector in t.bounded_balls])),
    "slope_margin_bound": (("eps", "output"), lambda t: t.bounded_margins),
    "domain_slope_bound": (("output",), lambda t: t.bounded_domain[0]),
    "domain_slope_vector_bound": ((), lambda t: t.bounded_domain[1]),
}
ATTAINED = {
    "logits": Attained(("output",), lambda t: t.logits, graded=False),
    "predicted": Attained((), lambda t: t.predicted, graded=False, dtype="int64"),
    "jacobian_min": Attained(("eps", *_MATRIX), lambda t: np.stack([e.lower for e in t.over_balls]), "jacobian_max"),
    "jacobian_max": Attained(("eps", *_MATRIX), lambda t: np.stack([e.upper for e in t.over_balls]), "jacobian_min"),
    "output_min": Attained(("eps", "output"), lambda t: np.stack([e.least for e in t.over_balls]), "output_max"),
    "output_max": Attained(("eps", "output"), lambda t: np.stack([e.most for e in t.over_balls]), "output_min"),
    "slope": Attained(("eps", "output"), lambda t: np.stack([e.slope for e in t.over_balls])),
    "slope_vector": Attained(("eps",), lambda t: np.array([e.slope_vector for e in t.over_balls])),
    "slope_margin": Attained(("eps", "output"), _margin_slopes),
    "domain_min": Attained(_MATRIX, lambda t: t.over_domain.lower, "domain_max"),
    "domain_max": Attained(_MATRIX, lambda t: t.over_domain.upper, "domain_min"),
    "domain_output_min": Attained(("output",), lambda t: t.over_domain.least, "domain_output_max"),
    "domain_output_max": Attained(("output",), lambda t: t.over_domain.most, "domain_output_min"),
    "domain_slope": Attained(("output",), lambda t: t.over_domain.slope),
    "domain_slope_vector": Attained((), lambda t: t.over_domain.slope_vector),
    "slope_anywhere": Attained(("output",), lambda t: np.max([e.slope for e in t.anywhere], axis=0)),
    "slope_vector_anywhere": Attained((), lambda t: max(e.slope_vector for e in t.anywhere)),
    "adversarial": Attained(("output",), lambda t: t.adversarial),
    "adversarial_nearest": Attained((), _nearest),
    "sign_kept": Attained(("output",), _signs_kept, graded=False),
    # What is stored as attained is at most what bounds allow that are found anew, and by one pass.
    **{name: Attained(dims, find, graded=False) for name, (dims, find) in _REBOUND.items()},
}
# Those that are sought in balls of the claimed radii.
DISTANCES = ("adversarial", "adversarial_nearest")


def with_partners(names: set[str]) -> frozenset[str]:
    """``names``, and of every range both ends."""
    return frozenset(names | {ATTAINED[name].partner for name in names if ATTAINED[name].partner})
