"""Everything that a run computes about one sample: every chosen quantity, each on its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.around import Around, Over
from distverify.analysis.decision import decide
from distverify.analysis.perturbation import along_family
from distverify.bounds.columns import BLOCK_BYTES
from distverify.errors import PieceError
from distverify.network.graph import Network
from distverify.quantities import catalogue
from distverify.quantities.quantity import Quantity, referred
from distverify.questions.askers import Impatient
from distverify.questions.bounder import Bounder
from distverify.questions.pieces import HandedBack
from distverify.settings import Settings
from distverify.status import NOT_COMPUTED
from distverify.work import Sample, SampleResult

Floats = NDArray[np.float64]


def analyse_sample(
    network: Network, sample: Sample, settings: Settings, *, block_bytes: int = BLOCK_BYTES,
    time_limit: float | None = None, patience: float = math.inf,
) -> SampleResult:  # fmt: skip
    """Compute what ``settings`` ask for around one sample.

    Parameters
    ----------
    network : Network
    sample : Sample
    settings : Settings
    block_bytes : int
        Memory for the columns in flight.
    time_limit : float, optional
        Seconds after which searches end, with what is proved.
    patience : float
        Seconds after which a search does not go on, for others to help.

    Returns
    -------
    dict
        By variable name, without the sample axis: "status" (OK, MISCLASSIFIED or UNDECIDED), "message", "predicted", "logits" [outputs],
        and the variables of the quantities that were asked for. Of a quantity that failed there are none; the message says which,
        and why.

    Raises
    ------
    Exception
        What the first quantity raised, if none could be computed.
    HandedBack
    """
    network, sample = along_family(network, sample, settings)
    searches = None if patience == math.inf else Impatient(network, patience)
    bounder = Bounder(network, settings.method, settings.layer_bounds, block_bytes, searches=searches)
    return analyse_through(bounder, sample, settings, time_limit)


def analyse_through(
    bounder: Bounder, sample: Sample, settings: Settings, time_limit: float | None = None
) -> SampleResult:
    """The same, with all bounds from ``bounder``; see :func:`analyse_sample`."""
    around = Around(bounder, sample, settings, catalogue.chosen(settings.compute), time_limit)
    values, failures = _compute(around)
    status, predicted, why = decide(around)
    said = [text for text in (why, *around.notes) if text]
    if failures:
        said.append(NOT_COMPUTED + ", ".join(f"{n} ({type(e).__name__}: {e})" for n, e in failures.items()))
    if settings.nodes:
        values["subproblems"] = bounder.subproblems
    return {
        "status": status,
        "message": "; ".join(said),
        "predicted": predicted,
        "logits": around.logits,
        **values,
    }


def _compute(around: Around) -> tuple[SampleResult, dict[str, Exception]]:
    """The values of every quantity by variable, and why some failed: a failed one leaves the others theirs."""
    eps, nodes = around.settings.eps, around.settings.nodes
    asked = [q for q in around.quantities if q.of_samples(eps, nodes)]
    own: dict[str, SampleResult] = {q.name: {} for q in asked}
    failures: dict[str, Exception] = {}

    def attempt(quantity: Quantity, compute: Callable[[], SampleResult]) -> SampleResult:
        if quantity.name in failures:
            return {}
        try:
            return compute()
        except (PieceError, HandedBack, MemoryError):  # the workers' trouble, not this quantity's: the sample fails
            raise
        except Exception as error:
            failures[quantity.name] = error
            return {}

    for q in asked:
        if q.compute:
            own[q.name] = attempt(q, partial(referred(q.compute), around))
    # Smallest first: a radius in which no activation changes its slopes costs next to nothing.
    at: dict[float, dict[str, SampleResult]] = {}
    for radius in sorted(eps):
        over = Over(around, radius)
        at[radius] = {q.name: attempt(q, partial(_over, q, over)) for q in asked}
    if asked and len(failures) == len(asked):
        raise next(iter(failures.values()))
    values: SampleResult = {}
    for q in asked:
        if q.name in failures:
            values |= {v.name: np.full(v.shape(around.sizes)[1:], v.fill, v.dtype) for v in q.of_samples(eps, nodes)}
    for q in asked:
        if q.name not in failures:
            values |= own[q.name]
            values |= {name: np.stack([at[e][q.name][name] for e in eps]) for name in at[eps[0]][q.name]} if eps else {}
    return values, failures


def _over(quantity: Quantity, over: Over) -> SampleResult:
    """The values of one quantity over one ball."""
    values: SampleResult = {}
    if quantity.derivatives:
        shared = over.around.derivatives(over.known)
        values |= {name: shared[name] for name in quantity.derivatives.values()}
    if quantity.compute_at:
        values |= referred(quantity.compute_at)(over)
    if quantity.search_at and over.around.settings.nodes:
        values |= referred(quantity.search_at)(over)
    return values
