"""Facts about a whole data set that follow from the arrays of a result: how numbers are spread, per class, and by radius."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distverify.quantities import catalogue
from distverify.quantities.quantity import Share, Spread
from distverify.quantities.radius import RADIUS
from distverify.status import COMPUTED, MISCLASSIFIED, UNDECIDED

Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]
# A radius of the run, or None for what is not about a given radius.
Eps = float | None
_LEVELS = (0.0, 0.05, 0.5, 0.95, 1.0)


@dataclass(frozen=True)
class Quantiles:
    """How a number is spread over the samples that have it.

    Attributes
    ----------
    count : int
        Values.
    least, low, median, high, most : float
        0, 5, 50, 95 and 100 % quantiles.
    mean : float
    """

    count: int
    least: float
    low: float
    median: float
    high: float
    most: float
    mean: float

    @classmethod
    def of(cls, values: Floats) -> Quantiles:
        """Those of at least one value."""
        # Nothing can be interpolated between a number and infinity: then a quantile is one of the values.
        method = "linear" if np.isfinite(values).all() else "inverted_cdf"
        least, low, median, high, most = np.quantile(values, _LEVELS, method=method).tolist()  # type: ignore[call-overload]
        return cls(values.size, least, low, median, high, most, float(values.mean()))


@dataclass(frozen=True)
class ClassFacts:
    """The computed samples of one class.

    Attributes
    ----------
    label : int
    samples, correct : int
    spreads : dict name -> (dict eps -> Quantiles)
        As in :class:`distverify.results.summary.Summary`.
    """

    label: int
    samples: int
    correct: int
    spreads: dict[str, dict[Eps, Quantiles]] = field(default_factory=dict)


def computed(arrays: Arrays) -> NDArray[np.bool_]:
    """Samples with results, bool [samples]."""
    return np.isin(arrays["status"], COMPUTED)


def values_of(spread: Spread, arrays: Arrays) -> Floats | None:
    """The number of every sample by the dimensions of ``spread``, NaN where there is none; None if it was not asked for.

    What counts as nothing is filled in for computed samples.
    """
    if any(name not in arrays for name in spread.sources):
        return None
    read = [arrays[name] for name in spread.sources]
    values = np.asarray(read[0] if spread.value is None else spread.value(*read), dtype=np.float64)
    if spread.nothing is None:
        return values
    along = (slice(None), *[None] * (values.ndim - 1))
    nothing = (arrays["status"] == MISCLASSIFIED)[along] | (computed(arrays)[along] & np.isnan(values))
    return np.where(nothing, spread.nothing, values)


def samples_of(spread: Spread, arrays: Arrays, which: NDArray[np.bool_] | None = None) -> dict[Eps, Floats]:
    """The values of the computed samples (of those of ``which``) that have one, at each radius; without such, no entry."""
    values = values_of(spread, arrays)
    if values is None:
        return {}
    values = values[computed(arrays) if which is None else which]
    radii: list[Eps] = [float(e) for e in arrays["eps"]] if "eps" in spread.dims else [None]
    by_eps = np.moveaxis(values, spread.dims.index("eps"), 0) if "eps" in spread.dims else values[None]
    known = {eps: v[~np.isnan(v)] for eps, v in zip(radii, by_eps, strict=True)}
    return {eps: v for eps, v in known.items() if v.size}


def spreads_of(arrays: Arrays, which: NDArray[np.bool_] | None = None) -> dict[str, dict[Eps, Quantiles]]:
    """The quantiles of every number that has values, by its name and the radius."""
    by_name = {
        spread.name: {eps: Quantiles.of(values) for eps, values in samples_of(spread, arrays, which).items()}
        for spread in catalogue.all_spreads()
    }
    return {name: by_eps for name, by_eps in by_name.items() if by_eps}


def shares_of(arrays: Arrays) -> dict[str, dict[Eps, int]]:
    """How many samples are among each share, by its name and the radius."""
    counts: dict[str, dict[Eps, int]] = {}
    for share in catalogue.all_shares():
        if applies(share, arrays):
            number = share.holds(arrays[share.variable]).sum(axis=0).reshape(-1).tolist()
            radii: list[Eps] = [float(e) for e in arrays["eps"]] if "eps" in share.dims else [None]
            counts[share.name] = dict(zip(radii, number, strict=True))
    return counts


def applies(share: Share, arrays: Arrays) -> bool:
    """Whether the arrays hold what the share is counted from."""
    return share.variable in arrays and arrays[share.variable].ndim == len(share.dims)


def radii_of(arrays: Arrays) -> Floats:
    """The radius of each computed sample, float64 [n]: 0 where it is misclassified or has no certificate."""
    (spread,) = RADIUS.spreads
    return samples_of(spread, arrays).get(None, np.empty(0))


def certified_accuracy(arrays: Arrays, eps: ArrayLike) -> Floats:
    """Share of the computed samples that are certified at each radius ``eps`` [n], from their radii: float64 [n].

    NaN where nothing is computed yet.
    """
    radii = np.sort(radii_of(arrays))
    asked = np.asarray(eps, dtype=np.float64)
    if radii.size == 0:
        return np.full(asked.shape, np.nan)
    # Radius 0 is no certificate, not even at eps 0.
    at_least = radii.size - np.searchsorted(radii, np.maximum(asked, np.finfo(np.float64).tiny), side="left")
    return np.asarray(at_least / radii.size)


def per_class(arrays: Arrays) -> tuple[ClassFacts, ...]:
    """A row for each true class that has computed samples, by label."""
    there = computed(arrays)
    rows = []
    for label in np.unique(arrays["label"][there & (arrays["label"] >= 0)]).tolist():
        own = there & (arrays["label"] == label)
        correct = int(((arrays["predicted"] == label) & (arrays["status"] != UNDECIDED))[own].sum())
        rows.append(ClassFacts(int(label), int(own.sum()), correct, spreads_of(arrays, own)))
    return tuple(rows)
