"""The quantity "outputs": bounds of f over each ball and over the domain."""

from __future__ import annotations

from distverify.analysis.around import Over
from distverify.bounds.outputs import OutputBounds, both_sides, tightest
from distverify.questions.bounder import Bounder
from distverify.questions.pieces import Arrays
from distverify.questions.region import RegionBounds
from distverify.settings import Settings


def bounds_over(over: Over) -> Arrays:
    """Over one ball."""
    bounds = _bounds(over.around.bounder, over.known, over.around.settings)
    return {"output_lower": bounds.lower, "output_upper": bounds.upper}


def bounds_over_domain(bounder: Bounder, known: RegionBounds, settings: Settings) -> Arrays:
    """Over the domain."""
    bounds = _bounds(bounder, known, settings)
    return {"domain_output_lower": bounds.lower, "domain_output_upper": bounds.upper}


def _bounds(bounder: Bounder, known: RegionBounds, settings: Settings) -> OutputBounds:
    network = bounder.network
    lower = bounder.margins(known, both_sides(network.output_size))
    bounds = tightest(lower, known.place.bounds.get(network.output))
    return bounds if settings.arithmetic == "exact" else bounds.widened(bounder.evaluation_error(known))
