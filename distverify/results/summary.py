"""The few numbers that a table or a report begins with."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from distverify.quantities import catalogue
from distverify.results.facts import Arrays, Eps, Quantiles, shares_of, spreads_of
from distverify.results.facts import computed as computed_samples
from distverify.results.incomplete import lacking
from distverify.status import COMPUTED, STATUS_MEANINGS, UNDECIDED, WITHOUT_VALUE

INCOMPLETE = "incomplete"


@dataclass(frozen=True)
class Failure:
    """A sample of which something is missing, and why: "failed" or "timed_out", or "incomplete" where some quantities are there."""

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
        Computed samples with a label.
    correct : int
        Those of them that the network certainly classifies right.
    spreads : dict name -> (dict eps -> Quantiles)
        How the numbers that quantities tell of are spread over the computed samples, such as "radius" or "lipschitz_vector";
        eps is None for what is not about a given radius. A misclassified sample counts with radius 0.
    shares : dict name -> (dict eps -> int)
        Samples for which something holds: "certified", verified at eps; "properties", verified property files (eps None).
    constants : dict name -> float
        Numbers of the network alone, the largest where there are several.
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
    failures: tuple[Failure, ...]
    kernel_seconds: float
    wall_seconds: float | None
    spreads: dict[str, dict[Eps, Quantiles]] = field(default_factory=dict)
    shares: dict[str, dict[Eps, int]] = field(default_factory=dict)
    constants: dict[str, float] = field(default_factory=dict)

    @property
    def computed(self) -> int:
        """Samples that are ok, misclassified or undecided."""
        return sum(self.counts.get(STATUS_MEANINGS[status], 0) for status in COMPUTED)

    @property
    def accuracy(self) -> float | None:
        """Clean accuracy, 0 to 1, or None without labels."""
        return self.correct / self.labelled if self.labelled else None

    @property
    def certified(self) -> dict[float, int]:
        """Samples that are verified at each radius."""
        return {eps: number for eps, number in self.shares.get("certified", {}).items() if eps is not None}


def arrays_told() -> tuple[str, ...]:
    """Names of the arrays that a summary is made of, as far as a result has them."""
    read = [name for spread in catalogue.all_spreads() for name in spread.sources]
    read += [share.variable for share in catalogue.all_shares()] + list(catalogue.all_constants())
    # Status first: what is committed by then has its values in all that is read later.
    return tuple(dict.fromkeys(["status", "sample", "eps", "label", "predicted", "message", "seconds", *read]))


def summarise(arrays: Arrays, wall_seconds: float | None) -> Summary:
    """Summarise the arrays of a result (those of :func:`arrays_told` by name, ``message`` as text)."""
    status = arrays["status"]
    computed = computed_samples(arrays)
    labelled = computed & (arrays["label"] >= 0)
    return Summary(
        samples=len(status),
        counts={name: int((status == code).sum()) for code, name in enumerate(STATUS_MEANINGS)},
        labelled=int(labelled.sum()),
        correct=int(((arrays["predicted"] == arrays["label"]) & (status != UNDECIDED))[labelled].sum()),
        failures=_failures(arrays),
        kernel_seconds=float(np.nansum(arrays["seconds"])),
        wall_seconds=wall_seconds,
        spreads=spreads_of(arrays),
        shares=shares_of(arrays) if computed.any() else {},
        constants={name: float(arrays[name].max()) for name in catalogue.all_constants() if name in arrays},
    )


def _failures(arrays: Arrays) -> tuple[Failure, ...]:
    status, message = arrays["status"], arrays["message"]
    without = np.isin(status, WITHOUT_VALUE)
    return tuple(
        Failure(int(arrays["sample"][i]), STATUS_MEANINGS[status[i]] if without[i] else INCOMPLETE, str(message[i]))
        for i in np.flatnonzero(lacking(status, message))
    )
