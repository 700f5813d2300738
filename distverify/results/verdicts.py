"""Verdicts one by one: on every property file, and whatever a run left open, the nearest to a proof first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distverify.results.columns import Readable, of_properties, witnesses
from distverify.results.telling import Rows
from distverify.status import BY_BRANCHING, BY_CROWN, BY_JACOBIAN, NOT_VERIFIED, OK, verdict_of
from distverify.words import significant

BY = {BY_CROWN: "CROWN", BY_JACOBIAN: "Jacobian bounds", BY_BRANCHING: "branch and bound"}
# Columns of tables that hold words.
WORDS = ("Property", "Open property", "Verdict", "Witness")


@dataclass(frozen=True)
class PropertyVerdict:
    """What is known of one property file.

    Attributes
    ----------
    sample : int
        Its place among the files that were named.
    file : str
        The file's name.
    verdict : "verified", "falsified", "unknown" or "no value"
    by : str
        Of a verified one, by which bounds; else empty.
    bound : float
        By how much a counterexample is ruled out, at least; a proof by branch and bound tells no more than that it is above 0.
    witness : bool
        Whether a counterexample is stored.
    nodes : int or None
        Subproblems that were bounded, None where none were to be.
    seconds : float
    """

    sample: int
    file: str
    verdict: str
    by: str
    bound: float
    witness: bool
    nodes: int | None
    seconds: float

    @property
    def in_words(self) -> str:
        """``verified, by CROWN``."""
        return f"{self.verdict}, by {self.by}" if self.by else self.verdict


@dataclass(frozen=True)
class Unknown:
    """A sample, or a property file, whose verdict is open.

    Attributes
    ----------
    sample : int
        Its index in the data set.
    file : str or None
        Of a property.
    eps : float or None
        Radius of the ball; None of a property.
    margin : float
        The smallest margin (of a property: by how much a counterexample is ruled out), at least; NaN where it was not bounded.
    radius : float or None
        The sample's certified radius, in a run that has those.
    attacked : float or None
        Distance of the sample's nearest counterexample that was found, inf: none; None where none was looked for.
    nodes : int or None
        Subproblems that were bounded (of a sample: for all of its questions).
    seconds : float
        Kernel time, likewise.
    """

    sample: int
    file: str | None
    eps: float | None
    margin: float
    radius: float | None
    attacked: float | None
    nodes: int | None
    seconds: float

    @property
    def nearness(self) -> tuple[float, ...]:
        """What is nearer to a proof sorts first: by the margin, without one by the share of the ball that is certified."""
        share = self.radius / self.eps if self.radius is not None and self.eps else math.nan
        return (*_largest_first(self.margin), *_largest_first(share), self.sample, self.eps or 0.0)


def _largest_first(value: float) -> tuple[float, float]:
    return (1.0, 0.0) if math.isnan(value) else (0.0, -value)


def property_verdicts(result: Readable) -> list[PropertyVerdict]:
    """One for each property file, in the order of the files; none in a run about samples."""
    if not of_properties(result.dims):
        return []
    names = ("sample", "property", "verified", "property_margin", "seconds")
    samples, files, codes, bounds, seconds = (result.read(name).tolist() for name in names)
    searched = "subproblems" in result.dims
    nodes = result.read("subproblems").tolist() if searched else [-1] * len(samples)
    return [
        PropertyVerdict(sample, file, verdict_of(code), BY.get(code, ""), least, witness, n if n >= 0 else None, time)
        for sample, file, code, least, witness, n, time in zip(
            samples, files, codes, bounds, witnesses(result).tolist(), nodes, seconds, strict=True
        )
    ]


def unknowns(result: Readable) -> list[Unknown]:
    """Whatever is open in a result: property files, or samples at a radius; the nearest to a proof first.

    Samples that are misclassified, or too near a tie to tell their class, are none of them: there is nothing to prove.
    """
    if of_properties(result.dims):
        looked = math.inf if "subproblems" in result.dims else None
        found = [
            Unknown(v.sample, v.file, None, v.bound, None, looked, v.nodes, v.seconds)
            for v in property_verdicts(result) if v.verdict == "unknown"
        ]  # fmt: skip
    elif "verified" in result.dims:
        found = _of_samples(result)
    else:
        return []
    return sorted(found, key=lambda each: each.nearness)


def _of_samples(result: Readable) -> list[Unknown]:
    dims = result.dims
    codes = result.read("verified")
    samples, radii, seconds = result.read("sample"), result.read("eps"), result.read("seconds")
    names = ("verified_margin", "radius", "radius_attacked", "subproblems")  # as far as the run has them
    margins, certified, attacked, nodes = (result.read(name) if name in dims else None for name in names)
    open_ = (codes == NOT_VERIFIED) & (result.read("status") == OK)[:, None]

    def of(values: NDArray[Any] | None, row: int) -> float | None:
        return None if values is None or np.isnan(values[row]) else float(values[row])

    return [
        Unknown(
            int(samples[row]), None, float(radii[k]), math.nan if margins is None else float(margins[row, k]),
            of(certified, row), of(attacked, row), None if nodes is None else int(nodes[row]), float(seconds[row]),
        )
        for row, k in np.argwhere(open_).tolist()
    ]  # fmt: skip


def rows_of_verdicts(verdicts: Sequence[PropertyVerdict], most: int) -> Rows:
    """A row for each property file; of many the first ones."""
    headers = ["Property", "Verdict", "Bound", "Witness", "Subproblems", "Seconds"]
    rows = [
        [v.file, v.in_words, bound(v.bound), "yes" if v.witness else "no", _whole(v.nodes), _time(v.seconds)]
        for v in verdicts[:most]
    ]
    return Rows(headers, rows, _rest(len(verdicts) - most, "export has all"))


def rows_of_unknowns(found: Sequence[Unknown], most: int) -> Rows | None:
    """A row for whatever is open, the nearest to a proof first; None where nothing is."""
    if not found:
        return None
    columns = {
        "Open property" if found[0].file is not None else "Open sample": [_named(u) for u in found],
        "eps": [_number(u.eps) for u in found],
        "Bound": ["" if math.isnan(u.margin) else bound(u.margin) for u in found],
        "Certified radius": [_number(u.radius) for u in found],
        "Attacked": [_distance(u.attacked) for u in found],
        "Subproblems": [_whole(u.nodes) for u in found],
        "Seconds": [_time(u.seconds) for u in found],
    }
    told = {head: cells[:most] for head, cells in columns.items() if any(cells)}
    rows = [list(row) for row in zip(*told.values(), strict=True)]
    said = "The nearest to a proof first"
    if found[0].file is None and any(u.nodes for u in found):
        said += "; subproblems and seconds are those of the sample at all radii"
    rest = _rest(len(found) - most, "export has all")
    return Rows(list(told), rows, f"{said}; {rest}" if rest else said)


def bound(value: float) -> str:
    """A bound in words: what branch and bound proved is above 0, and by how much was not asked."""
    return "> 0" if 0.0 < value < np.finfo(np.float64).tiny else significant(value)


def _named(unknown: Unknown) -> str:
    return str(unknown.sample) if unknown.file is None else unknown.file


def _number(value: float | None) -> str:
    return "" if value is None else significant(value)


def _distance(value: float | None) -> str:
    if value is None:
        return ""
    return "none found" if math.isinf(value) else significant(value)


def _whole(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _time(seconds: float) -> str:
    return "-" if math.isnan(seconds) else f"{seconds:.2f}"


def _rest(count: int, where: str) -> str:
    return f"and {count:,} more: {where}" if count > 0 else ""
