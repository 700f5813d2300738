"""What the page says in words."""

from __future__ import annotations

import math

from distverify.pages.content import Content
from distverify.quantities import catalogue
from distverify.results.telling import is_around_samples
from distverify.words import domain, norm_name, perturbation, radii

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
    inputs = model.get("features", model["inputs"])
    network = f"The network {model['name']} ({inputs} inputs, {model['outputs']} outputs)"
    if "property" in settings.compute:
        first = f"{network} was examined for {data['samples']:,} properties of {data['name']}."
    elif not is_around_samples(settings):
        first = f"{network} was examined as a whole; {data['samples']:,} samples of {data['name']} were evaluated."
        if settings.domain is not None:
            low, high = settings.domain
            which = f"of the domain {domain(settings.domain)}"
            if not isinstance(low, tuple):
                which = f"with every value between {low:g} and {high:g}"
            first = f"{network} was examined for all inputs {which}."
    elif settings.perturbation is not None:
        first = (
            f"{network} was examined on {data['samples']:,} samples x of {data['name']}, for the inputs {perturbation(settings)} "
            f"({settings.family}) with t of {norm_name(settings.norm)} norm at most eps; derivatives and constants are with respect to t."
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
        what = "t" if settings.perturbation is not None else "points with all values"
        parts.append(f"Only {what} between {settings.clip[0]:g} and {settings.clip[1]:g} count.")
    change = (
        "change its class" if settings.targets == "untargeted" else f"be classified as its target ({settings.targets})"
    )
    meanings = dict.fromkeys(q.meaning for q in catalogue.chosen(settings.compute) if q.meaning)
    eps = radii(settings.eps)
    parts += [m.format(change=change, eps=eps) for m in meanings if eps or "{eps}" not in m]
    if given["end"] is None:
        done = summary.samples - summary.counts["pending"]
        parts.append(
            f"The run was not finished when this page was made: {done:,} of {summary.samples:,} samples were done."
        )
    return " ".join(parts)
