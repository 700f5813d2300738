"""What the page says in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from distverify.report.content import Content
from distverify.words import norm_name, radii

_NORMS = {
    math.inf: "every input value may change by at most eps",
    2.0: "the change's Euclidean length is at most eps",
    1.0: "the changes' absolute values sum to at most eps",
}


def of(count: int, noun: str) -> str:
    """``1 sample is``, ``2 samples are``."""
    return f"{count:,} {noun} is" if count == 1 else f"{count:,} {noun}s are"


def in_words(content: Content) -> str:
    """The paragraph that a page begins with: what was certified, for which model and data, and what came out."""
    summary, settings, given = content.summary, content.settings, content.provenance
    model, data = given["model"], given["data"]
    network = f"The network {model['name']} ({model['inputs']} inputs, {model['outputs']} outputs)"
    if "property" in settings.compute:
        first = (
            f"{network} was examined for {data['samples']:,} properties of {data['name']}. A property that is verified has no "
            "counterexample: this is proven, not tested. Of one that is not verified, nothing is known."
        )
    else:
        first = (
            f"{network} was examined on {data['samples']:,} samples of {data['name']}, in balls of the "
            f"{norm_name(settings.norm)} norm around each sample: {_NORMS[settings.norm]}."
        )
    parts = [first]
    if settings.feature_eps is not None:
        parts.append("Each feature has a factor of its own for eps; features of factor 0 are fixed.")
    if settings.clip is not None:
        parts.append(f"Only points with all values between {settings.clip[0]:g} and {settings.clip[1]:g} count.")
    if {"radius", "verified"} & set(settings.compute):
        change = (
            "change its class"
            if settings.targets == "untargeted"
            else f"be classified as its target ({settings.targets})"
        )
        where = "Within its certified radius" if "radius" in settings.compute else "Where it is verified"
        parts.append(f"{where}, no change whatever makes a sample {change}: this is proven, not tested.")
    if settings.eps and {"jacobian", "lipschitz"} & set(settings.compute):
        parts.append(
            f"For eps {radii(settings.eps)}, bounds of the derivatives hold at every point of the ball; Lipschitz constants say "
            "how much the outputs can change per unit of change of the input."
        )
    if given["end"] is None:
        done = summary.samples - summary.counts["pending"]
        parts.append(
            f"The run was not finished when this page was made: {done:,} of {summary.samples:,} samples were done."
        )
    return " ".join(parts)


def captions(contents: Sequence[Content]) -> dict[str, str]:
    """What each figure shows: name -> text."""
    several = len(contents) > 1
    return {
        "certified-accuracy": "Share of the computed samples that are certainly classified right in the whole ball of radius eps"
        + (
            ": best of all methods of each result."
            if several
            else ", by each way of proving it. A misclassified sample counts as not certified."
        ),
        "radii": "Distribution of certified radii: share of samples with at most this radius (0: misclassified or nothing proven).",
        "radii-by-class": "The same for each class (blue; number of samples in brackets) against all samples (grey).",
        "lipschitz": "Local Lipschitz constant of the vector output in the ball of radius eps: bounds over samples.",
        "seconds": "Kernel time: computation alone, without starting, sending and writing.",
    }
