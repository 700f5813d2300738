"""How a summary is told, as rows of text: the terminal and the report lay out the same ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from distverify.quantities import catalogue
from distverify.quantities.quantity import Share, Spread
from distverify.results.facts import ClassFacts, Eps, Quantiles
from distverify.results.summary import Summary
from distverify.settings import Settings
from distverify.words import norm_name, significant

_ENDS = {"least": "min", "most": "max"}
_RADII_OF_CLASSES = 2


@dataclass(frozen=True)
class Rows:
    """A table of text.

    Attributes
    ----------
    headers : list of str
    rows : list of list of str
    note : str
        What one must know to read it.
    """

    headers: list[str]
    rows: list[list[str]]
    note: str = ""


def sentence(text: str) -> str:
    """``text`` with a capital first letter."""
    return text[:1].upper() + text[1:]


def tells_classes(summary: Summary, settings: Settings) -> bool:
    """Whether classes mean something in a run: its data have labels, or it compares outputs. Else it is one of regression."""
    return summary.labelled > 0 or any(q.compares for q in catalogue.chosen(settings.compute))


def is_around_samples(settings: Settings) -> bool:
    """Whether a run looks at balls around samples at all."""
    return bool(settings.eps) or any(q.effort.searches for q in catalogue.chosen(settings.compute))


def spreads_told(settings: Settings, *dims: str) -> tuple[Spread, ...]:
    """The numbers that a run's quantities tell of: those over the dimension "eps", or those that are not about given radii."""
    quantities = catalogue.chosen(settings.compute)
    every = dict.fromkeys(s for q in quantities for s in q.spreads)
    return tuple(s for s in every if ("eps" in s.dims) == ("eps" in dims))


def shares_told(settings: Settings, *dims: str) -> tuple[Share, ...]:
    """The same of the shares."""
    every = dict.fromkeys(s for q in catalogue.chosen(settings.compute) for s in q.shares)
    return tuple(s for s in every if ("eps" in s.dims) == ("eps" in dims))


def facts_of_run(summary: Summary, settings: Settings) -> dict[str, str]:
    """What is not about given radii: a name and a line each."""
    facts: dict[str, str] = {}
    for spread in spreads_told(settings):
        q = summary.spreads.get(spread.name, {}).get(None)
        if q is not None:
            note = spread.note.format(norm=norm_name(settings.norm))
            end = f"{_ENDS[spread.weakest]} {significant(weakest(spread, q))}"
            facts[spread.head] = f"median {significant(q.median)}, mean {significant(q.mean)}, {end} ({note})"
    for share in shares_told(settings):
        if share.name in summary.shares:
            facts[share.head] = f"{summary.shares[share.name][None]:,} of {summary.samples:,} {share.note}"
    return facts


def facts_of_network(summary: Summary, settings: Settings) -> dict[str, str]:
    """What holds for the network alone: a name and a line each."""
    facts: dict[str, str] = {}
    for quantity in catalogue.chosen(settings.compute):
        there = [(text, summary.constants[n]) for n, text in quantity.constants.items() if n in summary.constants]
        if there:
            (head, value), *others = there
            beside = ", ".join(f"{text}: {significant(number)}" for text, number in others)
            facts[head] = significant(value) + (f" ({beside})" if beside else "")
    return facts


def rows_of_radii(summary: Summary, settings: Settings) -> Rows | None:
    """A row for every radius of the run; None where there is nothing to tell."""
    norm = norm_name(settings.norm)
    shares = [s for s in shares_told(settings, "eps") if s.name in summary.shares]
    spreads = [s for s in spreads_told(settings, "eps") if s.name in summary.spreads]
    if not shares and not spreads:
        return None
    headers = [f"eps ({norm} norm)", *(s.head for s in shares)]
    for spread in spreads:
        headers += [f"{sentence(spread.short)} 5 %", "median", "95 %", "mean", _ENDS[spread.weakest]]
    notes = [f"{sentence(s.short)}: {s.note.format(norm=norm)}" for s in spreads]
    rows: list[list[str]] = []
    for eps in settings.eps:
        row = [significant(eps)]
        for share in shares:
            number = summary.shares[share.name][eps]
            row.append(f"{number:,} of {summary.computed:,} ({number / summary.computed:.1%})")
        for spread in spreads:
            q = summary.spreads[spread.name].get(eps)
            shown = (None,) * 5 if q is None else (q.low, q.median, q.high, q.mean, weakest(spread, q))
            row += [significant(value) for value in shown]
        rows.append(row)
    return Rows(headers, rows, "; ".join(notes) + "; quantiles over samples" if notes else "")


def rows_of_classes(classes: Iterable[ClassFacts]) -> Rows:
    """A row for every true class: median and weakest of each number."""
    classes = list(classes)
    columns: list[tuple[str, Spread, Eps]] = []
    for spread in catalogue.all_spreads():
        radii = dict.fromkeys(eps for c in classes for eps in c.spreads.get(spread.name, {}))
        for eps in list(radii)[:_RADII_OF_CLASSES]:
            at = "" if eps is None else f" at {significant(eps)}"
            columns.append((f"{sentence(spread.short)} median, {_ENDS[spread.weakest]}{at}", spread, eps))
    rows = []
    for c in classes:
        row = [str(c.label), str(c.samples), str(c.correct)]
        for _, spread, eps in columns:
            q = c.spreads.get(spread.name, {}).get(eps)
            row.append("-" if q is None else f"{significant(q.median)}, {significant(weakest(spread, q))}")
        rows.append(row)
    return Rows(["Class", "Samples", "Correct", *(head for head, _, _ in columns)], rows)


def weakest(spread: Spread, quantiles: Quantiles) -> float:
    """The end of the range that is the weakest guarantee."""
    return quantiles.least if spread.weakest == "least" else quantiles.most
