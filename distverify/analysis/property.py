"""Verifying property files: no input of the box has outputs that the file calls a counterexample."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.branching.counterexamples import Hunt
from distverify.analysis.branching.polytopes import Target
from distverify.analysis.verify import FALSIFIED, UNKNOWN, VERIFIED, Verdict, pursue
from distverify.bounds.enclosure import Enclosure, enclose
from distverify.bounds.evaluation import EvaluationError
from distverify.data.vnnlib.cases import Case, Polytope
from distverify.data.vnnlib.property import Property
from distverify.kernels.rounding import SOUND
from distverify.network.graph import Network
from distverify.questions.askers import Impatient, ThroughCrew
from distverify.questions.pieces import Crew
from distverify.questions.question import Asker
from distverify.region import Box
from distverify.settings import Settings
from distverify.status import BY_BRANCHING, BY_CROWN, NOT_VERIFIED, OK
from distverify.status import FALSIFIED as FALSIFIED_CODE
from distverify.work import Sample, SampleResult

Floats = NDArray[np.float64]

_BESIDE_ZERO = 1e-200  # of which weights, too, make no subnormal number


@dataclass(frozen=True, eq=False)
class PropertyAnalysis:
    """Verifies the property that a sample stands for; the counterpart of :func:`analyse_sample`.

    Attributes
    ----------
    properties : dict index -> Property
    time_limits : dict index -> float
        Seconds after which a search ends, with what is proved; of those that have one.
    """

    properties: dict[int, Property]
    time_limits: dict[int, float] = field(default_factory=dict)

    def __call__(
        self, network: Network, sample: Sample, settings: Settings, *, patience: float = math.inf
    ) -> SampleResult:
        """``patience`` : see :func:`distverify.analysis.sample.analyse_sample`."""
        return self.analyse(network, sample, settings, Impatient(network, patience))

    def in_pieces(self, network: Network, sample: Sample, settings: Settings, pieces: int, crew: Crew) -> SampleResult:
        """The same, to the bit, with the searches' subtrees grown by ``crew``."""
        return self.analyse(network, sample, settings, ThroughCrew(crew, pieces))

    def analyse(self, network: Network, sample: Sample, settings: Settings, asker: Asker) -> SampleResult:
        """The verdict, with searches by ``asker``."""
        logits = network(sample.x)[0]
        prop = self.properties[sample.index]
        margin = property_margin(network, prop, settings.layer_bounds, settings.arithmetic)
        code, point = BY_CROWN if margin > 0 else NOT_VERIFIED, np.full(network.input_size, np.nan)
        subproblems = 0
        if code == NOT_VERIFIED and settings.nodes:
            seed, limit = (settings.seed, sample.index), self.time_limits.get(sample.index)
            verdict = decide_property(network, prop, settings.nodes, limit, seed, asker, arithmetic=settings.arithmetic)
            subproblems = verdict.nodes
            margin = max(margin, float(verdict.bound.min(initial=math.inf)))
            if verdict.status == VERIFIED:
                code = BY_BRANCHING
            elif verdict.counterexample is not None:
                code, point = FALSIFIED_CODE, verdict.counterexample
        return {
            "status": OK,
            "message": "",
            "predicted": int(np.argmax(logits)),
            "logits": logits,
            "verified": np.array(code, dtype=np.int8),
            "property_margin": margin,
            "counterexample": point,
            **({"subproblems": subproblems} if settings.nodes else {}),
        }


def decide_property(
    network: Network, prop: Property, nodes: int, time_limit: float | None = None, seed: int | Sequence[int] = 0,
    asker: Asker | None = None, *, arithmetic: str = "exact",
) -> Verdict:  # fmt: skip
    """Whether there is no counterexample, by attack and branch and bound; see :func:`distverify.verify`.

    Parameters
    ----------
    arithmetic : "exact" or "float32"
        In which proofs hold, and counterexamples are ones: also in single precision.

    Returns
    -------
    Verdict
        ``bound`` float64 [polytopes of all cases that were looked at].
    """
    deadline = None if time_limit is None else time.monotonic() + time_limit
    spent, bounds, status = 0, [np.zeros(0)], VERIFIED
    for position, case in enumerate(prop.cases):
        region = Box(case.lower, case.upper)
        share = max(1, (nodes - spent) // (len(prop.cases) - position))
        hunt = Hunt.of(region, targets_of(network, case, arithmetic), seed, inner_box(case))
        verdict = pursue(network, hunt, share, deadline, asker)
        spent += verdict.nodes
        bounds.append(verdict.bound)
        if verdict.status == FALSIFIED:
            return Verdict(FALSIFIED, np.concatenate(bounds), verdict.counterexample, spent)
        if verdict.status == UNKNOWN:
            status = UNKNOWN
    return Verdict(status, np.concatenate(bounds), None, spent)


def inner_box(case: Case) -> tuple[Floats, Floats]:
    """The float64 numbers that are certainly inside the file's decimal box, which the case's contains: at most one unit less.

    Corners that coincide are exact; between two neighbouring numbers none is certain, and the box is empty. Beside 0 it ends
    at a number that is small, but far from subnormal ones, in which products take up to sixty times as long.
    """
    wide = case.lower < case.upper
    lower, upper = np.nextafter(case.lower, np.inf), np.nextafter(case.upper, -np.inf)
    lower = np.where((case.lower == 0.0) & (case.upper > _BESIDE_ZERO), _BESIDE_ZERO, lower)
    upper = np.where((case.upper == 0.0) & (case.lower < -_BESIDE_ZERO), -_BESIDE_ZERO, upper)
    return np.where(wide, lower, case.lower), np.where(wide, upper, case.upper)


def targets_of(network: Network, case: Case, arithmetic: str) -> list[Target]:
    """The case's polytopes, and by how much coefficients that are no float64 numbers, or evaluation, may change a constraint."""
    # Bounds are rounded up, by at most one unit.
    rounded = [np.spacing(np.abs(p.bounds)) for p in case.polytopes]
    if arithmetic == "exact" and not any(polytope.inexact.any() for polytope in case.polytopes):
        return [Target(p.rows, p.bounds, unit) for p, unit in zip(case.polytopes, rounded, strict=True)]
    enclosure = enclose(network, Box(case.lower, case.upper))
    error = _error(enclosure, arithmetic)
    return [
        Target(p.rows, p.bounds, np.nextafter(_off(enclosure, p.rows, p.inexact, error) + unit, np.inf))
        for p, unit in zip(case.polytopes, rounded, strict=True)
    ]


def property_margin(network: Network, prop: Property, layer_bounds: str = "crown", arithmetic: str = "exact") -> float:
    """By how much a counterexample is ruled out: positive only if there is none.

    The smallest, over all alternatives of the counterexample, of the largest amount by which one of its constraints
    is violated all over the box. A lower bound, rounding included; inf where the constraints contradict each other.

    Parameters
    ----------
    layer_bounds : "alpha", "crown" or "interval"
    arithmetic : "exact" or "float32"
        Of the outputs that counterexamples are about: also as they are computed in single precision.
    """
    return min((_case_margin(network, case, layer_bounds, arithmetic) for case in prop.cases), default=math.inf)


def _case_margin(network: Network, case: Case, layer_bounds: str, arithmetic: str) -> float:
    enclosure = enclose(network, Box(case.lower, case.upper), layer_bounds)
    clear = _clearances(enclosure, case.polytopes, _error(enclosure, arithmetic))
    ends = np.cumsum([p.bounds.size for p in case.polytopes])
    # An alternative without constraints on outputs is met by every input of the box.
    return float(min(part.max(initial=-math.inf) for part in np.split(clear, ends[:-1])))


def _clearances(enclosure: Enclosure, polytopes: tuple[Polytope, ...], error: Floats) -> Floats:
    """By how much each constraint is violated everywhere, at least: float64 [constraints of all polytopes].

    Parameters
    ----------
    error : float64 [outputs]
        What evaluation may change of the outputs.
    """
    rows = np.concatenate([p.rows for p in polytopes])
    bounds, inexact = np.concatenate([p.bounds for p in polytopes]), np.concatenate([p.inexact for p in polytopes])
    if bounds.size == 0:
        return bounds
    lower = enclosure.row_minima(rows)
    off = _off(enclosure, rows, inexact, error)
    clear = np.nextafter(np.nextafter(lower - bounds, -np.inf) - off, -np.inf)
    return np.where(np.isnan(clear), -np.inf, clear)


def _error(enclosure: Enclosure, arithmetic: str) -> Floats:
    """What evaluation may change of the outputs: float64 [outputs]."""
    if arithmetic == "exact":
        return np.zeros(enclosure.network.output_size)
    bounds = dict(enumerate(zip(enclosure.lower, enclosure.upper, strict=True)))
    return EvaluationError(enclosure.network).error(enclosure.region, bounds)


def _off(enclosure: Enclosure, rows: Floats, inexact: Floats, error: Floats) -> Floats:
    """What ``inexact`` coefficients and the outputs' ``error`` may change of ``rows @ f``: float64 [K]."""
    off = np.zeros(rows.shape[0])
    if inexact.any():
        off = inexact @ enclosure.magnitude(enclosure.network.output) * (1.0 + SOUND.gamma(rows.shape[1] + 2))
    if error.any():
        off = (off + np.array([float(error[r != 0.0] @ np.abs(r[r != 0.0])) for r in rows])) * (1.0 + 1e-12)
    return np.nextafter(off, np.inf) if off.any() else off
