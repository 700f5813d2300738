"""The few numbers that a table or a report begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distverify.results.facts import computed as computed_samples
from distverify.results.facts import constants_of, radii_of
from distverify.status import FAILED, MISCLASSIFIED, OK, STATUS_MEANINGS, TIMED_OUT

QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Failure:
    """A sample without a value: its index in the data set, "failed" or "timed_out", and why."""

    sample: int
    status: str
    message: str


@dataclass(frozen=True)
class Summary:
    """A result in a few numbers; None or empty where nothing was asked for or nothing is there yet.

    Attributes
    ----------
    samples : int
        Of the whole run.
    counts : dict status -> int
        Samples by status, in the order of the status codes; they add up to ``samples``.
    labelled : int
        Computed samples (ok or misclassified) with a label.
    correct : int
        Those of them that the network classifies right.
    certified : dict eps -> int
        Samples that are verified at eps, or have a certified radius of at least eps.
    properties_verified : int or None
        Property files that are verified; None for a data set.
    radius_min, radius_median, radius_mean : float or None
        Over the computed samples; a misclassified one counts with radius 0.
    lipschitz : dict eps -> (5 %, 50 %, 95 % quantile)
        Of the vector output's local Lipschitz constant over the samples that have one.
    lipschitz_mean, lipschitz_max : dict eps -> float
        Of the same.
    global_lipschitz, product_of_norms : float or None
        Of the vector output over the whole space; None where not asked for, or not computed yet.
    failures : tuple of Failure
    kernel_seconds : float
        Summed over the samples.
    wall_seconds : float or None
        From the first start to the end, pauses between interrupted runs included; None while the run goes on.
    """

    samples: int
    counts: dict[str, int]
    labelled: int
    correct: int
    certified: dict[float, int]
    radius_min: float | None
    radius_median: float | None
    radius_mean: float | None
    lipschitz: dict[float, tuple[float, float, float]]
    failures: tuple[Failure, ...]
    kernel_seconds: float
    wall_seconds: float | None
    properties_verified: int | None = None
    lipschitz_mean: dict[float, float] = field(default_factory=dict)
    lipschitz_max: dict[float, float] = field(default_factory=dict)
    global_lipschitz: float | None = None
    product_of_norms: float | None = None

    @property
    def computed(self) -> int:
        """Samples that are ok or misclassified."""
        return self.counts[STATUS_MEANINGS[OK]] + self.counts[STATUS_MEANINGS[MISCLASSIFIED]]

    @property
    def accuracy(self) -> float | None:
        """Clean accuracy, 0 to 1, or None without labels."""
        return self.correct / self.labelled if self.labelled else None


def summarise(arrays: Mapping[str, NDArray[Any]], wall_seconds: float | None) -> Summary:
    """Summarise the arrays of a result (``sample``, ``status``, ... by name, ``message`` as text)."""
    status = arrays["status"]
    computed = computed_samples(arrays)
    labelled = computed & (arrays["label"] >= 0)
    radius = radii_of(arrays) if "radius" in arrays and computed.any() else None
    constants = constants_of(arrays)
    return Summary(
        samples=len(status),
        counts={name: int((status == code).sum()) for code, name in enumerate(STATUS_MEANINGS)},
        labelled=int(labelled.sum()),
        correct=int((arrays["predicted"] == arrays["label"])[labelled].sum()),
        certified=_certified(arrays, radius) if computed.any() else {},
        properties_verified=_properties_verified(arrays),
        radius_min=None if radius is None else float(radius.min()),
        radius_median=None if radius is None else float(np.median(radius)),
        radius_mean=None if radius is None else float(radius.mean()),
        lipschitz={e: _three(np.quantile(values, QUANTILES)) for e, values in constants.items()},
        lipschitz_mean={e: float(values.mean()) for e, values in constants.items()},
        lipschitz_max={e: float(values.max()) for e, values in constants.items()},
        global_lipschitz=_scalar(arrays, "global_lipschitz_vector"),
        product_of_norms=_scalar(arrays, "product_of_norms"),
        failures=tuple(
            Failure(int(arrays["sample"][i]), STATUS_MEANINGS[status[i]], str(arrays["message"][i]))
            for i in np.flatnonzero((status == FAILED) | (status == TIMED_OUT))
        ),
        kernel_seconds=float(np.nansum(arrays["seconds"])),
        wall_seconds=wall_seconds,
    )


def _certified(arrays: Mapping[str, NDArray[Any]], radius: NDArray[np.float64] | None) -> dict[float, int]:
    eps = arrays.get("eps", np.empty(0))
    if "verified" in arrays and arrays["verified"].ndim == 2:
        return {float(e): int((arrays["verified"][:, k] > 0).sum()) for k, e in enumerate(eps)}
    return {} if radius is None else {float(e): int((radius >= e).sum()) for e in eps}


def _properties_verified(arrays: Mapping[str, NDArray[Any]]) -> int | None:
    if "verified" not in arrays or arrays["verified"].ndim != 1:
        return None
    return int((arrays["verified"] > 0).sum())


def _three(values: NDArray[np.float64]) -> tuple[float, float, float]:
    low, middle, high = values
    return float(low), float(middle), float(high)


def _scalar(arrays: Mapping[str, NDArray[Any]], name: str) -> float | None:
    return float(arrays[name]) if name in arrays else None
