"""One sample's analysis with its bounds computed in pieces by a crew of workers.

What runs here is cheap: searches, the activations' slopes, putting results together. Products with weights are all the crew's, apart
from the logits.
"""

from __future__ import annotations

from distverify.analysis.sample import analyse_through
from distverify.bounds.columns import BLOCK_BYTES
from distverify.network.graph import Network
from distverify.questions.askers import ThroughCrew
from distverify.questions.bounder import Bounder
from distverify.questions.pieces import Crew
from distverify.settings import Settings
from distverify.work import Sample, SampleResult


def analyse_in_pieces(
    network: Network,
    sample: Sample,
    settings: Settings,
    pieces: int,
    crew: Crew,
    *,
    block_bytes: int = BLOCK_BYTES,
    time_limit: float | None = None,
) -> SampleResult:
    """Compute what ``settings`` ask for around one sample, every bound by ``crew``.

    The same results as :func:`distverify.analysis.sample.analyse_sample`: to the bit with one piece, else up to rounding, since
    sums over blocks of another size may be taken in another order. Where trees are searched, results are the same to the bit: then
    these alone are cut, and every other question is asked as a whole.

    Parameters
    ----------
    network, sample, settings : see :func:`analyse_sample`
    pieces : int
        About how many pieces every question is cut into.
    crew : Crew
        Its workers compute pieces by a :class:`distverify.questions.askers.BoundsWorker` of the same network.
    block_bytes : int
        Memory for the columns in flight, in each worker.
    time_limit : see :func:`analyse_sample`
    """
    searches = ThroughCrew(crew, pieces)
    bounds = ThroughCrew(crew, 1) if settings.nodes else searches
    bounder = Bounder(network, settings.method, settings.layer_bounds, block_bytes, bounds, searches)
    return analyse_through(bounder, sample, settings, time_limit)
