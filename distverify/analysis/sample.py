"""Everything that a run computes about one sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.landscape import monotone_features, stationary_free_radius
from distverify.analysis.margins import MarginProblem, pose_margins
from distverify.analysis.radius import CertifiedRadius, find_radius, margin_constants, verify_at
from distverify.analysis.reuse import BySlopes
from distverify.bounds.enclosure import Enclosure, enclose
from distverify.bounds.jacobian import output_rows
from distverify.bounds.lipschitz import row_constants, vector_constant
from distverify.bounds.methods import RowBounds, bound_rows
from distverify.network.graph import Network
from distverify.region import Balls
from distverify.settings import Settings
from distverify.status import MISCLASSIFIED, OK

Floats = NDArray[np.float64]
SampleResult = dict[str, NDArray[np.generic] | float | int | str]

_ATTACKED = {"margins", "radius", "verified"}
_VERIFIED = {"radius", "verified"}
_OF_OUTPUTS = {"jacobian", "lipschitz", "monotone"}
_DERIVATIVES = _OF_OUTPUTS | {"margins"}


def analyse_sample(network: Network, x: Floats, label: int, index: int, settings: Settings) -> SampleResult:
    """Compute what ``settings`` ask for around one sample.

    Parameters
    ----------
    network : Network
    x : float64 [D]
    label : int
        -1 where the data has none: the predicted class stands in.
    index : int
        The sample's index in the data set; with the seed it fixes the sample's random target.
    settings : Settings

    Returns
    -------
    dict
        By variable name, without the sample axis: "status" (OK or MISCLASSIFIED), "message", "predicted", "logits" [outputs],
        and what was asked for; names and dimensions are those of :mod:`distverify.results.schema`.
    """
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
        problem = pose_margins(network, balls, label, settings.targets, settings.layer_bounds, (settings.seed, index))
        if not problem.targets:
            result["message"] = f"no radius: target class {settings.targets} is the sample's own class"
    if "radius" in settings.compute:
        assert problem is not None
        found = find_radius(problem, settings.method, settings.march_evaluations, settings.march_tolerance)
        result["radius"] = found.radius
        result["radius_crown"] = found.crown
        result["radius_jacobian"] = found.jacobian
        result["radius_target"] = found.targets
        result["crown_evaluations"] = found.crown_evaluations
        result["jacobian_evaluations"] = found.jacobian_evaluations
    if settings.eps:
        result.update(_over_radii(network, balls, settings, problem, found))
    if "landscape" in settings.compute:
        rows = None if settings.landscape_outputs == "all" else [predicted if label < 0 else label]
        radii = np.full(network.output_size, np.nan)
        radii[slice(None) if rows is None else rows] = stationary_free_radius(
            network, x, norm=settings.norm, method=settings.method, layer_bounds=settings.layer_bounds,
            clip=settings.clip, feature_eps=settings.feature_eps, rows=rows,
        )  # fmt: skip
        result["stationary_free_radius"] = radii
    return result


def _over_radii(
    network: Network, balls: Balls, settings: Settings, problem: MarginProblem | None, found: CertifiedRadius | None
) -> SampleResult:
    """What is asked for at every eps, stacked in the order of ``settings.eps``."""
    from_slopes = BySlopes(lambda enclosure: _from_slopes(enclosure, balls, settings, problem))
    at: dict[float, dict[str, NDArray[np.generic]]] = {}
    # Smallest first: a radius in which no activation changes its slopes costs next to nothing.
    for eps in sorted(settings.eps):
        enclosure = None
        values: dict[str, NDArray[np.generic]] = {}
        if _DERIVATIVES & set(settings.compute):
            enclosure = enclose(network, balls.at(eps), settings.layer_bounds)
            values.update(from_slopes(enclosure))
        if problem is not None and _VERIFIED & set(settings.compute):
            way = verify_at(problem, eps, settings.method, settings.march_evaluations, enclosure, found)
            values["verified"] = np.array(way, dtype=np.int8)
        at[eps] = values
    stacked = {name: np.stack([at[eps][name] for eps in settings.eps]) for name in at[settings.eps[0]]}
    return {"x0": balls.x0, **stacked} if "jacobian" in settings.compute else {**stacked}


def _from_slopes(
    enclosure: Enclosure, balls: Balls, settings: Settings, problem: MarginProblem | None
) -> dict[str, NDArray[np.generic]]:
    """What follows from Jacobian bounds over one ball."""
    network, wanted = enclosure.network, settings.compute
    values: dict[str, NDArray[np.generic]] = {}
    if _OF_OUTPUTS & set(wanted):
        bounds = bound_rows(enclosure, output_rows(network, None, None), settings.method, settings.direction)
        values.update(jacobian_facts(bounds, enclosure, settings, settings.norm, balls.weights))
    if "margins" in wanted:
        assert problem is not None
        values["lipschitz_margin"] = problem.per_output(margin_constants(problem, settings.method)(enclosure))
    return values


def jacobian_facts(
    bounds: RowBounds, enclosure: Enclosure, settings: Settings, norm: float, weights: Floats | None
) -> dict[str, NDArray[np.generic]]:
    """What ``settings`` ask to know of the outputs' Jacobian over one region, by the variables' names for a ball."""
    values: dict[str, NDArray[np.generic]] = {}
    if "jacobian" in settings.compute:
        values["jacobian_lower"], values["jacobian_upper"] = bounds.lower, bounds.upper
    if "lipschitz" in settings.compute:
        rows = row_constants(bounds, norm, weights=weights)
        values["lipschitz"] = rows
        values["lipschitz_vector"] = np.array(vector_constant(bounds, rows, norm, enclosure, weights=weights))
    if "monotone" in settings.compute:
        values["monotone"] = monotone_features(bounds)
    return values
