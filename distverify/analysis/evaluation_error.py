"""The evaluation error of a run's sample: over the largest ball that anything is said about."""

from __future__ import annotations

import math

from distverify.analysis.around import Around
from distverify.analysis.radius import certified
from distverify.work import SampleResult


def errors_of(around: Around) -> SampleResult:
    """The quantity "evaluation_error": over the ball of the largest eps, or of the certified radius where that is larger."""
    radii = [0.0, *around.settings.eps]
    if any(q.name == "radius" for q in around.quantities):
        radius = around.once(certified).radius
        radii.append(radius if math.isfinite(radius) else 0.0)
    bounder = around.bounder
    return {"evaluation_error": bounder.evaluation_error(bounder.enclose(around.balls.at(max(radii))))}
