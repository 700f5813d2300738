"""Verdicts over the balls of a sample: by the bounds that are there, then by attack and branch and bound where they are asked for."""

from __future__ import annotations

import math

import numpy as np

from distverify.analysis.around import Around, Over
from distverify.analysis.attack import Room
from distverify.analysis.bracket import distance_above
from distverify.analysis.margins import margins_around, margins_bounded
from distverify.analysis.radius import bracketed, verdict_by_bounds
from distverify.analysis.verify import FALSIFIED, VERIFIED, Verdict, decide
from distverify.status import BY_BRANCHING, NOT_VERIFIED
from distverify.status import FALSIFIED as FALSIFIED_CODE
from distverify.work import SampleResult


def verdict_over(over: Over) -> SampleResult:
    """The quantity "verified" over one ball."""
    code, around = verdict_by_bounds(over), over.around
    searched = None
    if code == NOT_VERIFIED and (around.settings.nodes or "attack" in around.settings.compute):
        searched = _search(over)
        if searched is not None and searched.status == VERIFIED:
            code = BY_BRANCHING
        elif searched is not None and searched.status == FALSIFIED:
            code = FALSIFIED_CODE
    margin = _open_margin(over, searched) if code == NOT_VERIFIED else math.nan
    return {"verified": np.array(code, dtype=np.int8), "verified_margin": margin}


def _open_margin(over: Over, searched: Verdict | None) -> float:
    """The smallest margin over a ball whose verdict is open, at least, as far as it was bounded; NaN where it was not."""
    bounds = over.around.once(margins_bounded).get(over.eps), None if searched is None else searched.bound
    known = [float(each.min()) for each in bounds if each is not None and each.size]
    return max((least for least in known if not math.isnan(least)), default=math.nan)


def counterexample_over(over: Over) -> SampleResult:
    """What the quantity "attack" tells of one ball: NaN where no counterexample was found."""
    point = np.full(over.around.bounder.network.input_size, np.nan)
    if verdict_by_bounds(over) == NOT_VERIFIED:
        searched = _search(over)
        if searched is not None and searched.counterexample is not None:
            point = searched.counterexample
    return {"counterexample": point}


def nearest(around: Around) -> SampleResult:
    """What the quantity "attack" tells of a sample: beside its radius, or of the smallest ball that is broken."""
    if "radius" in around.settings.compute:
        return {"radius_attacked": around.once(bracketed).attacked}
    problem = around.once(margins_around)
    if problem.misclassified:
        return {"radius_attacked": 0.0 if problem.targets and problem.broken_at_centre else np.inf}
    distance = np.inf
    for eps in sorted(around.settings.eps):
        over = Over(around, eps)
        searched = _search(over) if verdict_by_bounds(over) == NOT_VERIFIED else None
        if searched is not None and searched.counterexample is not None:
            distance = distance_above(around.balls, searched.counterexample)
            break
    return {"radius_attacked": distance}


def _search(over: Over) -> Verdict | None:
    """Attack and branch and bound over the ball, once for all quantities; None for a sample that is not classified right."""
    around = over.around
    problem = around.once(margins_around)
    if problem.misclassified or not problem.targets:
        return None
    searched = around.once(_searched)
    if over.eps not in searched:
        searched[over.eps] = _known(over) or _decided(over)
    return searched[over.eps]


def _known(over: Over) -> Verdict | None:
    """What the bracket of the sample's radius says already."""
    radii = over.around.made(bracketed)
    if radii is None:
        return None
    if radii.radius >= over.eps:
        return Verdict(VERIFIED, np.zeros(0), None, 0)
    if radii.counterexample is not None and Room.of(over.around.balls.at(over.eps)).holds(radii.counterexample):
        return Verdict(FALSIFIED, np.zeros(0), radii.counterexample, 0)
    return None


def _decided(over: Over) -> Verdict:
    around = over.around
    targets = around.once(margins_around).aims(over.eps)
    seed = around.settings.seed, around.sample.index
    region = around.balls.at(over.eps)
    bounder, nodes = around.bounder, max(1, around.settings.nodes)
    verdict = decide(bounder.network, region, targets, nodes, around.deadline, seed, bounder.searches)
    bounder.subproblems += verdict.nodes
    return verdict


def _searched(around: Around) -> dict[float, Verdict]:
    return {}
