"""Everything that a run computes about one sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.bounder import Bounder, Whole
from distverify.analysis.facts import Wanted
from distverify.analysis.landscape import find_stationary_free
from distverify.analysis.margins import MarginProblem, pose_margins
from distverify.analysis.radius import CertifiedRadius, find_radius, margin_constants, verify_at
from distverify.analysis.reuse import BySlopes
from distverify.bounds.columns import BLOCK_BYTES
from distverify.bounds.enclosure import Steepness
from distverify.bounds.jacobian import output_rows
from distverify.network.graph import Network
from distverify.region import Balls
from distverify.settings import Settings
from distverify.status import MISCLASSIFIED, OK
from distverify.work import Sample, SampleResult

Floats = NDArray[np.float64]

_ATTACKED = {"margins", "radius", "verified"}
_VERIFIED = {"radius", "verified"}
_OF_OUTPUTS = {"jacobian", "lipschitz", "monotone"}
_DERIVATIVES = _OF_OUTPUTS | {"margins"}


def analyse_sample(
    network: Network, sample: Sample, settings: Settings, *, block_bytes: int = BLOCK_BYTES
) -> SampleResult:
    """Compute what ``settings`` ask for around one sample.

    Parameters
    ----------
    network : Network
    sample : Sample
    settings : Settings
    block_bytes : int
        Memory for the columns in flight.

    Returns
    -------
    dict
        By variable name, without the sample axis: "status" (OK or MISCLASSIFIED), "message", "predicted", "logits" [outputs],
        and what was asked for; names and dimensions are those of :mod:`distverify.results.schema`.
    """
    return analyse_through(Whole(network, settings.method, settings.layer_bounds, block_bytes), sample, settings)


def analyse_through(bounder: Bounder, sample: Sample, settings: Settings) -> SampleResult:
    """The same, with all bounds from ``bounder``; see :func:`analyse_sample`."""
    network, x, label = bounder.network, sample.x, sample.label
    logits = network(x)[0]
    predicted = int(np.argmax(logits))
    wrong = 0 <= label != predicted
    result: SampleResult = {
        "status": MISCLASSIFIED if wrong else OK,
        "message": f"predicted class {predicted}, label {label}" if wrong else "",
        "predicted": predicted,
        "logits": logits,
    }
    balls = Balls(x, settings.norm, settings.clip, settings.feature_eps)
    problem = found = None
    if _ATTACKED & set(settings.compute):
        problem = pose_margins(bounder, balls, label, settings.targets, (settings.seed, sample.index))
        if not problem.targets:
            result["message"] = f"no radius: target class {settings.targets} is the sample's own class"
    if "radius" in settings.compute:
        assert problem is not None
        found = find_radius(problem, settings.march_evaluations, settings.march_tolerance)
        result["radius"] = found.radius
        result["radius_crown"] = found.crown
        result["radius_jacobian"] = found.jacobian
        result["radius_target"] = found.targets
        result["crown_evaluations"] = found.crown_evaluations
        result["jacobian_evaluations"] = found.jacobian_evaluations
    if settings.eps:
        result.update(_over_radii(bounder, balls, settings, problem, found))
    if "landscape" in settings.compute:
        rows = None if settings.landscape_outputs == "all" else [predicted if label < 0 else label]
        radii = np.full(network.output_size, np.nan)
        radii[slice(None) if rows is None else rows] = find_stationary_free(
            bounder, balls, output_rows(network, rows, None)
        )
        result["stationary_free_radius"] = radii
    return result


def _over_radii(
    bounder: Bounder, balls: Balls, settings: Settings, problem: MarginProblem | None, found: CertifiedRadius | None
) -> SampleResult:
    """What is asked for at every eps, stacked in the order of ``settings.eps``."""
    from_slopes = BySlopes(lambda known: _from_slopes(bounder, known, balls, settings, problem))
    at: dict[float, dict[str, NDArray[np.generic]]] = {}
    # Smallest first: a radius in which no activation changes its slopes costs next to nothing.
    for eps in sorted(settings.eps):
        known = None
        values: dict[str, NDArray[np.generic]] = {}
        if _DERIVATIVES & set(settings.compute):
            known = bounder.enclose(balls.at(eps))
            values.update(from_slopes(known))
        if problem is not None and _VERIFIED & set(settings.compute):
            way = verify_at(problem, eps, settings.march_evaluations, known, found)
            values["verified"] = np.array(way, dtype=np.int8)
        at[eps] = values
    stacked = {name: np.stack([at[eps][name] for eps in settings.eps]) for name in at[settings.eps[0]]}
    return {"x0": balls.x0, **stacked} if "jacobian" in settings.compute else {**stacked}


def _from_slopes(
    bounder: Bounder, known: Steepness, balls: Balls, settings: Settings, problem: MarginProblem | None
) -> dict[str, NDArray[np.generic]]:
    """What follows from Jacobian bounds over one ball."""
    wanted = settings.compute
    values: dict[str, NDArray[np.generic]] = {}
    if _OF_OUTPUTS & set(wanted):
        values.update(jacobian_facts(bounder, known, settings, balls.weights))
    if "margins" in wanted:
        assert problem is not None
        values["lipschitz_margin"] = problem.per_output(margin_constants(problem)(known))
    return values


def jacobian_facts(
    bounder: Bounder, known: Steepness, settings: Settings, weights: Floats | None
) -> dict[str, NDArray[np.generic]]:
    """What ``settings`` ask to know of the outputs' Jacobian over one region, by the variables' names for a ball."""
    asked = {"jacobian": ("bounds",), "lipschitz": ("constants", "vector"), "monotone": ("monotone",)}
    facts = tuple(fact for name, needs in asked.items() if name in settings.compute for fact in needs)
    rows = output_rows(bounder.network, None, None)
    found = bounder.rows(known, rows, Wanted(facts, settings.norm, weights, settings.direction))
    names = {
        "lower": "jacobian_lower",
        "upper": "jacobian_upper",
        "constants": "lipschitz",
        "vector": "lipschitz_vector",
        "monotone": "monotone",
    }
    return {name: found[fact] for fact, name in names.items() if fact in found}
