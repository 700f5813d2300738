"""What a run says about the network alone: global constants, and bounds over a whole domain. Computed once."""

from __future__ import annotations

import math
import time

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.around import outputs_derivatives
from distverify.bounds.chain_inequality import chain_constants, least
from distverify.bounds.jacobian import output_rows
from distverify.bounds.lipschitz import product_of_norms
from distverify.network.graph import Network
from distverify.quantities import catalogue
from distverify.quantities.quantity import referred
from distverify.questions.askers import ThroughCrew
from distverify.questions.bounder import Bounder
from distverify.questions.pieces import Arrays
from distverify.questions.rows import Derivatives
from distverify.region import Ball, domain_box
from distverify.settings import Settings


def analyse_network(
    network: Network, settings: Settings, time_limit: float | None = None, asker: ThroughCrew | None = None
) -> Arrays:
    """Compute what ``settings`` ask for without a sample.

    Constants are meant in the norm of the settings, with their ``feature_eps``.

    Parameters
    ----------
    time_limit : float, optional
        Seconds after which searches end, with what is proved.
    asker : ThroughCrew, optional
        Whose workers grow the searches' trees; the same results, to the bit.

    Returns
    -------
    dict
        By variable name: what the chosen quantities say of the network, and with a domain of all inputs in it.
    """
    facts: Arrays = {}
    bounder = Bounder(network, settings.method, settings.layer_bounds, searches=asker)
    deadline = None if time_limit is None else time.monotonic() + time_limit
    quantities = catalogue.chosen(settings.compute)
    for q in quantities:
        if q.compute_network:
            facts |= referred(q.compute_network)(bounder, settings)
    over_domain = [q for q in quantities if q.of_domain]
    if settings.domain is not None and over_domain:
        known = bounder.enclose(domain_box(settings.domain, network.input_size))
        for q in over_domain:
            if q.compute_domain:
                facts |= referred(q.compute_domain)(bounder, known, settings)
        stored = [{fact: v.name for fact, v in q.of_domain.items()} for q in over_domain if not q.compute_domain]
        if stored:
            facts |= outputs_derivatives(bounder, known, stored, settings, _weights(settings))
        for q in over_domain:
            if q.search_domain and settings.nodes:
                facts |= referred(q.search_domain)(bounder, known, settings, facts, deadline)
    return facts


def global_constants(bounder: Bounder, settings: Settings) -> Arrays:
    """The quantity "global"."""
    network, norm, weights = bounder.network, settings.norm, _weights(settings)
    known = bounder.enclose(Ball(np.zeros(network.input_size), math.inf, norm))
    wanted = Derivatives(("constants", "vector"), norm, weights, settings.direction)
    answer = bounder.rows(known, output_rows(network, None, None), wanted)
    rows, vector = np.asarray(answer["constants"], np.float64), float(answer["vector"])
    if norm == 2.0:
        rows, vector = least(rows, vector, chain_constants(known, weights))
        rows = np.fmin(rows, vector)
    return {
        "global_lipschitz": rows,
        "global_lipschitz_vector": np.array(vector),
        "product_of_norms": np.array(product_of_norms(known, norm, weights=weights)),
    }


def _weights(settings: Settings) -> NDArray[np.float64] | None:
    return None if settings.feature_eps is None else np.asarray(settings.feature_eps, dtype=np.float64)
