"""What became of one variable's claims."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from distverify.attacks.claims import Verdict

_LISTED = 20  # violations of one claim that are kept to show


@dataclass(frozen=True)
class Violation:
    """A claim that an attack broke.

    Attributes
    ----------
    variable : str
    sample : int
        Index in the data set.
    place : dict dimension -> index
        Which of the variable's values, beside the sample.
    bound, attained : float
        What the file says, and what was found.
    """

    variable: str
    sample: int
    place: dict[str, int]
    bound: float
    attained: float


@dataclass(eq=False)
class Finding:
    """What became of one variable's claims.

    Attributes
    ----------
    variable : str
    checked, broken : int
        Values that claim something; those of them that an attack broke.
    worst : list of Violation
        The first that were found.
    closest : float
        The largest closeness: 1 touches the bound. NaN where that has no meaning.
    median : float
        Median over the samples of their median closeness.
    """

    variable: str
    checked: int = 0
    broken: int = 0
    worst: list[Violation] = field(default_factory=list)
    closest: float = float("nan")
    medians: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return float(np.median(self.medians)) if self.medians else float("nan")


def count(finding: Finding, variable: str, verdict: Verdict, indices: NDArray[np.int64], dims: tuple[str, ...]) -> None:
    """Add what ``verdict`` says of some samples to ``finding``; ``indices`` are theirs, ``dims`` the variable's."""
    finding.checked += verdict.checked
    finding.broken += int(verdict.broken.sum())
    own = [d for d in dims if d != "sample"]
    for place in np.argwhere(verdict.broken)[: max(0, _LISTED - len(finding.worst))]:
        at = tuple(int(p) for p in place)
        finding.worst.append(
            Violation(
                variable,
                int(indices[at[0]]),
                dict(zip(own, at[1:], strict=False)),
                float(verdict.bound[at]),
                float(verdict.attained[at]),
            )
        )
    if not np.isnan(verdict.closeness).all():
        finding.closest = float(np.fmax(finding.closest, np.nanmax(verdict.closeness)))
        per_sample = verdict.closeness.reshape(verdict.closeness.shape[0], -1)
        finding.medians += [float(np.nanmedian(row)) for row in per_sample if not np.isnan(row).all()]
