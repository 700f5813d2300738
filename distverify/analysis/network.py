"""What a run says about the network alone: global constants, and bounds over a whole domain. Computed once."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.sample import jacobian_facts
from distverify.bounds.jacobian import output_rows
from distverify.bounds.lipschitz import product_of_norms
from distverify.network.graph import Network
from distverify.questions.bounder import Bounder
from distverify.questions.rows import Derivatives
from distverify.region import Ball, Box
from distverify.settings import Settings


def analyse_network(network: Network, settings: Settings) -> dict[str, NDArray[np.generic]]:
    """Compute what ``settings`` ask for without a sample.

    Constants are meant in the norm of the settings, with their ``feature_eps``.

    Returns
    -------
    dict
        By variable name: for "global" the "global_lipschitz" [outputs], "global_lipschitz_vector" and "product_of_norms";
        with a domain "domain_jacobian_lower", "domain_jacobian_upper", "domain_monotone" [outputs, inputs],
        "domain_lipschitz" [outputs] and "domain_lipschitz_vector", as far as "jacobian", "monotone" and "lipschitz" are asked for.
    """
    facts: dict[str, NDArray[np.generic]] = {}
    bounder, norm = Bounder(network, settings.method, settings.layer_bounds), settings.norm
    weights = None if settings.feature_eps is None else np.asarray(settings.feature_eps, dtype=np.float64)
    if "global" in settings.compute:
        known = bounder.enclose(Ball(np.zeros(network.input_size), math.inf, norm))
        wanted = Derivatives(("constants", "vector"), norm, weights, settings.direction)
        found = bounder.rows(known, output_rows(network, None, None), wanted)
        facts["global_lipschitz"], facts["global_lipschitz_vector"] = found["constants"], found["vector"]
        facts["product_of_norms"] = np.array(product_of_norms(known, norm, weights=weights))
    if settings.domain is not None:
        corners = (np.full(network.input_size, side) for side in settings.domain)
        found = jacobian_facts(bounder, bounder.enclose(Box(*corners)), settings, weights)
        facts |= {f"domain_{name}": values for name, values in found.items()}
    return facts
