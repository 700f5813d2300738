"""The margins that a result stores where verdicts are open: is any point of the ball found at which one is smaller?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.evaluation import highest_at
from distverify.analysis.margins import choose_targets
from distverify.analysis.perturbation import along_family
from distverify.analysis.points import Surroundings
from distverify.attacks.claims import Verdict
from distverify.attacks.finding import Finding, count
from distverify.bounds.gradient import jacobian_at
from distverify.bounds.jacobian import margin_rows
from distverify.network.graph import Network
from distverify.region import Balls
from distverify.results.reader import Result
from distverify.runtime.job import Job
from distverify.settings import Settings
from distverify.work import Sample

Floats = NDArray[np.float64]

VARIABLE = "verified_margin"
_STEPS = 3  # downhill


def attack_margins(result: Result, job: Job, positions: NDArray[np.int64], points: int, seed: int) -> Finding:
    """The finding about the margins of all samples; nothing is looked at where none is stored."""
    stored = np.asarray(result.read(VARIABLE, positions), np.float64)
    found = np.full(stored.shape, np.nan)
    for row in np.flatnonzero(~np.isnan(stored).all(axis=1)):
        found[row] = least_margins(job.network, job.data.sample(int(row)), job.settings, stored[row], points, seed)
    known = ~np.isnan(found)
    finding = Finding(VARIABLE)
    verdict = Verdict(known & (found < stored), stored, found, np.full(found.shape, np.nan), int(known.sum()))
    count(finding, VARIABLE, verdict, job.data.indices, ("sample", "eps"))
    return finding


def least_margins(
    network: Network, sample: Sample, settings: Settings, stored: Floats, points: int, seed: int
) -> Floats:
    """For each radius at which a margin is stored, the smallest one that was found in the ball, at most: float64 [eps]; else NaN."""
    network, sample = along_family(network, sample, settings)
    logits = network(sample.x)[0]
    label = int(np.argmax(logits)) if sample.label < 0 else sample.label
    rows = margin_rows(
        network.output_size, label,
        choose_targets(logits, label, settings.targets, (settings.seed, sample.index)),
    )  # fmt: skip
    around = Surroundings(
        Balls(sample.x, settings.norm, settings.clip, settings.feature_eps),
        np.random.default_rng((seed, sample.index)),
    )
    out = np.full(stored.shape, np.nan)
    for k in np.flatnonzero(~np.isnan(stored)) if rows.size else ():
        lowest = _lowest(network, around, settings.eps[k], points, rows)
        out[k] = min(float(highest_at(network, x, rows[[j]], np.zeros(1))[0]) for j, x in enumerate(lowest))
    return out


def _lowest(network: Network, around: Surroundings, eps: float, points: int, rows: Floats) -> Floats:
    """For each row, the point of the ball where its value is smallest of those looked at: float64 [rows, D]."""
    each = max(1, points // 2)
    start = np.concatenate([np.zeros((1, around.balls.x0.size)), around.inside(each, eps), around.corners(each, eps)])
    x = around.place(start, eps)
    best, values = x[:1].repeat(rows.shape[0], axis=0), np.full(rows.shape[0], np.inf)
    for step in range(_STEPS + 1):
        found = network(x) @ rows.T
        at = found.argmin(axis=0)
        better = found.min(axis=0) < values
        best[better], values = x[at[better]], np.minimum(values, found.min(axis=0))
        if step < _STEPS:
            slopes = jacobian_at(network, best, rows[:, None])[:, 0]
            x = around.place(-eps * around.steepest(slopes), eps)
    return best
