"""Everything that a run computes about one sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.landscape import stationary_free_radius
from distverify.analysis.radius import certified_radius
from distverify.bounds.enclosure import enclose
from distverify.bounds.jacobian import output_rows
from distverify.bounds.lipschitz import row_constants, vector_constant
from distverify.bounds.methods import bound_rows
from distverify.network.graph import Network
from distverify.region import Ball
from distverify.settings import Settings
from distverify.status import MISCLASSIFIED, OK


Floats = NDArray[np.float64]
SampleResult = dict[str, NDArray[np.generic] | float | int | str]


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
        By variable name: "status" (OK or MISCLASSIFIED), "message", "predicted", "logits" [outputs], and what was asked for:
        "x0" [inputs], "jacobian_lower", "jacobian_upper" [eps, outputs, inputs]; "lipschitz" [eps, outputs], "lipschitz_vector" [eps];
        "radius", "radius_crown", "radius_jacobian", "radius_target" [outputs]; "stationary_free_radius" [outputs].
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
    if "jacobian" in settings.compute or "lipschitz" in settings.compute:
        result.update(_over_radii(network, x, settings))
    if "radius" in settings.compute:
        found = certified_radius(
            network, x, label, norm=settings.norm, targets=settings.targets, method=settings.method,
            layer_bounds=settings.layer_bounds, clip=settings.clip, seed=(settings.seed, index),
        )  # fmt: skip
        result["radius"] = found.radius
        result["radius_crown"] = found.crown
        result["radius_jacobian"] = found.jacobian
        result["radius_target"] = found.targets
        if np.isnan(found.radius):
            result["message"] = f"no radius: target class {settings.targets} is the sample's own class"
    if "landscape" in settings.compute:
        result["stationary_free_radius"] = stationary_free_radius(
            network, x, norm=settings.norm, method=settings.method, layer_bounds=settings.layer_bounds, clip=settings.clip
        )
    return result


def _over_radii(network: Network, x: Floats, settings: Settings) -> SampleResult:
    rows = output_rows(network, None, None)
    lower, upper, per_row, vector = [], [], [], []
    for eps in settings.eps:
        enclosure = enclose(network, Ball(x, eps, settings.norm, settings.clip), settings.layer_bounds)
        bounds = bound_rows(enclosure, rows, settings.method)
        lower.append(bounds.lower)
        upper.append(bounds.upper)
        if "lipschitz" in settings.compute:
            per_row.append(row_constants(bounds, settings.norm))
            vector.append(vector_constant(bounds, per_row[-1], settings.norm))
    result: SampleResult = {}
    if "jacobian" in settings.compute:
        result["x0"] = x
        result["jacobian_lower"], result["jacobian_upper"] = np.stack(lower), np.stack(upper)
    if "lipschitz" in settings.compute:
        result["lipschitz"], result["lipschitz_vector"] = np.stack(per_row), np.asarray(vector)
    return result
