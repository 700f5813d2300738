"""Facts about a whole data set that follow from the arrays of a result: per class, and by radius."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distverify.status import MISCLASSIFIED, OK

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ClassFacts:
    """The computed samples of one class.

    Attributes
    ----------
    label : int
    samples, correct : int
    radius_median, radius_min : float or None
        A misclassified sample counts with radius 0; None where no radii were asked for.
    lipschitz_median, lipschitz_max : dict eps -> float
        Of the vector output's local constant, over the samples that have one.
    """

    label: int
    samples: int
    correct: int
    radius_median: float | None
    radius_min: float | None
    lipschitz_median: dict[float, float]
    lipschitz_max: dict[float, float]


def computed(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Samples that are ok or misclassified, bool [samples]."""
    return np.asarray((arrays["status"] == OK) | (arrays["status"] == MISCLASSIFIED))


def radii_of(arrays: Mapping[str, NDArray[Any]]) -> Floats:
    """The radius of each computed sample, float64 [n]: 0 where it is misclassified or has no certificate."""
    radius = np.where(arrays["status"] == MISCLASSIFIED, 0.0, arrays["radius"])[computed(arrays)]
    return np.nan_to_num(radius, nan=0.0)


def constants_of(arrays: Mapping[str, NDArray[Any]], which: NDArray[np.bool_] | None = None) -> dict[float, Floats]:
    """For each eps, the vector output's constants of the samples that have one; without such, no entry."""
    if "lipschitz_vector" not in arrays:
        return {}
    rows = arrays["lipschitz_vector"] if which is None else arrays["lipschitz_vector"][which]
    found = {float(eps): values[~np.isnan(values)] for eps, values in zip(arrays["eps"], rows.T, strict=True)}
    return {eps: values for eps, values in found.items() if values.size}


def certified_accuracy(arrays: Mapping[str, NDArray[Any]], eps: ArrayLike) -> Floats:
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


def per_class(arrays: Mapping[str, NDArray[Any]]) -> tuple[ClassFacts, ...]:
    """A row for each true class that has computed samples, by label."""
    there = computed(arrays)
    found = []
    for label in np.unique(arrays["label"][there & (arrays["label"] >= 0)]).tolist():
        own = there & (arrays["label"] == label)
        radii = radii_of({name: arrays[name][own] for name in ("status", "radius")}) if "radius" in arrays else None
        constants = constants_of(arrays, own)
        found.append(
            ClassFacts(
                label=int(label),
                samples=int(own.sum()),
                correct=int((arrays["predicted"][own] == label).sum()),
                radius_median=None if radii is None else float(np.median(radii)),
                radius_min=None if radii is None else float(radii.min()),
                lipschitz_median={eps: float(np.median(values)) for eps, values in constants.items()},
                lipschitz_max={eps: float(values.max()) for eps, values in constants.items()},
            )
        )
    return tuple(found)
