"""What branch and bound makes of a run's constants and derivatives: closer bounds, and what is attained, over balls and the domain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.around import Around, Over
from distverify.analysis.brackets import Brackets
from distverify.analysis.margins import margin_constants_of, margins_around
from distverify.analysis.signs import Signs, signs_of
from distverify.analysis.time_left import seconds_for_each
from distverify.bounds.jacobian import output_rows
from distverify.bounds.reduced import Floats
from distverify.questions.askers import Alone
from distverify.questions.bounder import Bounder
from distverify.questions.pieces import Arrays
from distverify.questions.region import RegionBounds
from distverify.region import Ball
from distverify.settings import Settings


def constants_over(over: Over) -> Arrays:
    """The quantity "lipschitz" over one ball."""
    found, known = _outputs(over), over.around.derivatives(over.known)
    return {
        "lipschitz": np.fmin(_floats(known, "lipschitz"), _floats(found, "bound")),
        "lipschitz_vector": np.fmin(_floats(known, "lipschitz_vector"), _floats(found, "vector_bound")),
        "lipschitz_attained": found["attained"],
        "lipschitz_vector_attained": found["vector_attained"],
    }


def jacobian_over(over: Over) -> Arrays:
    """The quantity "jacobian" over one ball: within the hull of all subproblems."""
    found, known = _outputs(over), over.around.derivatives(over.known)
    return {
        "jacobian_lower": np.fmax(_floats(known, "jacobian_lower"), _floats(found, "lower")),
        "jacobian_upper": np.fmin(_floats(known, "jacobian_upper"), _floats(found, "upper")),
    }


def margins_over(over: Over) -> Arrays:
    """The quantity "margins" over one ball."""
    problem = over.around.once(margins_around)
    if not problem.targets:
        return {"lipschitz_margin_attained": problem.per_output(0.0)}
    around = over.around
    region = around.balls.at(over.eps)
    found = _ask(
        around.bounder,
        region,
        problem.rows,
        around.settings,
        (1, around.sample.index),
        _deadline(around),
        together=False,
    )
    known = around.once(margin_constants_of)(over.known)
    return {
        "lipschitz_margin": problem.per_output(np.fmin(known, _floats(found, "bound"))),
        "lipschitz_margin_attained": problem.per_output(_floats(found, "attained")),
    }


def signs_over(over: Over) -> Arrays:
    """The quantity "monotone" over one ball."""
    around = over.around
    known = around.derivatives(over.known)
    region = around.balls.at(over.eps)
    left = seconds_for_each(around.bounder, _deadline(around), around.bounder.network.output_size)
    seed = 3, around.sample.index
    return {"monotone": _signs(around.bounder, region, around.settings, known["monotone"], seed, left)}


def signs_over_domain(
    bounder: Bounder, known: RegionBounds, settings: Settings, facts: Arrays, deadline: float | None
) -> Arrays:
    """The quantity "monotone" over the domain."""
    seconds = seconds_for_each(bounder, deadline, bounder.network.output_size)
    signs = _signs(bounder, known.place.region, settings, facts["domain_monotone"], (4,), seconds)
    return {"domain_monotone": signs}


def _signs(
    bounder: Bounder,
    region: Ball,
    settings: Settings,
    known: NDArray[np.generic],
    seed: tuple[int, ...],
    seconds: float | None = None,
) -> NDArray[np.int8]:
    rows = output_rows(bounder.network, None, None)
    # What is known already is not looked for again: bounds that say no more than the signs.
    lower = np.where(known == 1, np.nextafter(0.0, 1.0), -np.inf)
    upper = np.where(known == -1, -np.nextafter(0.0, 1.0), np.inf)
    question = Signs(
        region, rows, lower, upper, bounder.method, bounder.layer_bounds, settings.nodes, (settings.seed, *seed), seconds
    )  # fmt: skip
    told = bounder.ask(question)
    bounds = _floats(told, "lower"), _floats(told, "upper")
    return signs_of(*bounds, np.asarray(told["rising_at"], np.int64), np.asarray(told["falling_at"], np.int64))


def constants_over_domain(
    bounder: Bounder, known: RegionBounds, settings: Settings, facts: Arrays, deadline: float | None
) -> Arrays:
    """The quantity "lipschitz" over the domain."""
    found = _of_domain(bounder, known, settings, deadline)
    return {
        "domain_lipschitz": np.fmin(_floats(facts, "domain_lipschitz"), _floats(found, "bound")),
        "domain_lipschitz_vector": np.fmin(_floats(facts, "domain_lipschitz_vector"), _floats(found, "vector_bound")),
        "domain_lipschitz_attained": found["attained"],
        "domain_lipschitz_vector_attained": found["vector_attained"],
    }


def jacobian_over_domain(
    bounder: Bounder, known: RegionBounds, settings: Settings, facts: Arrays, deadline: float | None
) -> Arrays:
    """The quantity "jacobian" over the domain."""
    found = _of_domain(bounder, known, settings, deadline)
    return {
        "domain_jacobian_lower": np.fmax(_floats(facts, "domain_jacobian_lower"), _floats(found, "lower")),
        "domain_jacobian_upper": np.fmin(_floats(facts, "domain_jacobian_upper"), _floats(found, "upper")),
    }


def _of_domain(bounder: Bounder, known: RegionBounds, settings: Settings, deadline: float | None) -> Arrays:
    """The trees of all outputs over the domain, grown once for all quantities."""
    if "constants" not in bounder.searched:
        bounder.searched["constants"] = _of_outputs(bounder, known.place.region, settings, (2,), deadline)
    return bounder.searched["constants"]


def _outputs(over: Over) -> Arrays:
    """The trees of all outputs over the ball, grown once for all quantities."""
    around = over.around
    grown = around.once(_grown)
    if over.eps not in grown:
        region = around.balls.at(over.eps)
        seed = 0, around.sample.index
        grown[over.eps] = _of_outputs(around.bounder, region, around.settings, seed, _deadline(around))
    return grown[over.eps]


def _deadline(around: Around) -> float | None:
    """Of searches that are not dealt out: keys of pieces must not depend on the time of day."""
    return around.deadline if isinstance(around.bounder.searches, Alone) else None


def _grown(around: Around) -> dict[float, Arrays]:
    return {}


def _of_outputs(
    bounder: Bounder, region: Ball, settings: Settings, seed: tuple[int, ...], deadline: float | None = None
) -> Arrays:
    rows = output_rows(bounder.network, None, None)
    return _ask(bounder, region, rows, settings, seed, deadline, together="lipschitz" in settings.compute)


def _ask(
    bounder: Bounder, region: Ball, rows: Floats, settings: Settings, seed: tuple[int, ...], deadline: float | None, *,
    together: bool,
) -> Arrays:  # fmt: skip
    weights = None if settings.feature_eps is None else np.asarray(settings.feature_eps, dtype=np.float64)
    question = Brackets(
        region, rows, settings.norm, weights, bounder.method, bounder.layer_bounds, settings.nodes, (settings.seed, *seed), together,
    )  # fmt: skip
    question = replace(question, seconds=seconds_for_each(bounder, deadline, question.trees))
    found = bounder.ask(question)
    bounder.subproblems += int(np.sum(found["nodes"]))
    return found


def _floats(arrays: Arrays, name: str) -> Floats:
    return np.asarray(arrays[name], np.float64)
