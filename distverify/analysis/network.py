"""What a run says about the network alone: global constants, and bounds over a whole domain. Computed once."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.sample import jacobian_facts
from distverify.bounds.enclosure import enclose
from distverify.bounds.jacobian import output_rows
from distverify.bounds.lipschitz import product_of_norms, row_constants, vector_constant
from distverify.bounds.methods import bound_rows
from distverify.network.graph import Network
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
    rows, norm = output_rows(network, None, None), settings.norm
    weights = None if settings.feature_eps is None else np.asarray(settings.feature_eps, dtype=np.float64)
    if "global" in settings.compute:
        enclosure = enclose(network, Ball(np.zeros(network.input_size), math.inf, norm), settings.layer_bounds)
        bounds = bound_rows(enclosure, rows, settings.method, settings.direction)
        constants = row_constants(bounds, norm, weights=weights)
        facts["global_lipschitz"] = constants
        facts["global_lipschitz_vector"] = np.array(
            vector_constant(bounds, constants, norm, enclosure, weights=weights)
        )
        facts["product_of_norms"] = np.array(product_of_norms(enclosure, norm, weights=weights))
    if settings.domain is not None:
        corners = (np.full(network.input_size, side) for side in settings.domain)
        enclosure = enclose(network, Box(*corners), settings.layer_bounds)
        bounds = bound_rows(enclosure, rows, settings.method, settings.direction)
        found = jacobian_facts(bounds, enclosure, settings, norm, weights)
        facts |= {f"domain_{name}": values for name, values in found.items()}
    return facts
