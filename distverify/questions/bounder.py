"""Bounds of one network over regions, by methods that are chosen once: the questions that analyses ask."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TypeVar

from distverify.bounds.columns import BLOCK_BYTES
from distverify.bounds.evaluation import EvaluationError
from distverify.bounds.layers.table import layer_method
from distverify.bounds.reduced import Pair
from distverify.bounds.splits import Split
from distverify.network.graph import Network
from distverify.questions.askers import Alone, ThroughCrew
from distverify.questions.gradients import Gradients
from distverify.questions.layers import LayerStages
from distverify.questions.margins import Margins
from distverify.questions.memory import Place, RegionMemory
from distverify.questions.packing import digest_of
from distverify.questions.pieces import Arrays
from distverify.questions.question import Asker, Floats, Question
from distverify.questions.region import RegionBounds, slopes_from
from distverify.questions.rows import Derivatives, Rows
from distverify.region import Ball

# Regions whose bounds are kept for a crew, as far as they fit: searches come back to the sample itself, and to the radii of the run.
_KEPT_BYTES = 64_000_000

A = TypeVar("A")


class Bounder:
    """Has bounds of ``network`` computed.

    Parameters
    ----------
    network : Network
    method, layer_bounds : see :func:`distverify.jacobian_bounds`
    block_bytes : int
        Memory for the columns in flight, of whoever computes.
    crew : ThroughCrew, optional
        Who computes; by default everything is computed here, as a whole.
    searches : Asker, optional
        Who grows search trees; by default the same.

    Attributes
    ----------
    searches : Asker
    subproblems : int
        That searches tell to have bounded.
    searched : dict str -> arrays
        What searches over the whole domain found, for other quantities.
    """

    def __init__(
        self,
        network: Network,
        method: str = "linear",
        layer_bounds: str = "crown",
        block_bytes: int = BLOCK_BYTES,
        crew: ThroughCrew | None = None,
        searches: Asker | None = None,
    ) -> None:
        self.network = network
        self._layers = self.layer_bounds = layer_method(layer_bounds).name
        self._crew = crew
        self._asker = crew or Alone(network)
        self.searches: Asker = searches or self._asker
        self.subproblems = 0
        self.searched: dict[str, Arrays] = {}
        self._stages = LayerStages(network, self._layers, self._asker.pieces, self._asker.cuts)
        self._rows = Rows(self._asker, method, block_bytes)
        self.method = method
        self._kept: OrderedDict[str, RegionBounds] = OrderedDict()

    def enclose(
        self, region: Ball, splits: Iterable[Split] = (), within: Mapping[int, Pair] | None = None
    ) -> RegionBounds:
        """Bounds of every node over ``region``: what the other questions about it are asked with.

        Parameters
        ----------
        splits, within : see :func:`distverify.bounds.enclosure.enclose`
        """
        place = Place("", region, self._layers, tuple(splits), within or {})
        if self._crew is None:
            memory = RegionMemory(self.network, place)
            place = self._stages.ask(
                self._asker, Place("", region, self._layers, place.splits, place.within, {}, memory)
            )
            return RegionBounds(self.network, place, memory.reach(place, len(self.network.nodes)).finish().slopes)
        key = digest_of(place)
        bounds = self._kept.pop(key, None) or self._by_crew(
            Place(key, region, self._layers, place.splits, place.within)
        )
        self._kept[key] = bounds
        while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > _KEPT_BYTES:
            self._kept.popitem(last=False)
        return bounds

    def margins(self, enclosed: RegionBounds, rows: Floats) -> Floats:
        """Lower bounds of ``rows @ f``, ``rows`` float64 [K, outputs], over the region: float64 [K]; inf where it is empty."""
        return self._asker.ask(Margins(self._checked(enclosed).place, rows))

    def rows(self, enclosed: RegionBounds, rows: Floats, about: Derivatives) -> Arrays:
        """What ``about`` asks for of the derivatives of ``rows @ f`` over the region, by name.

        Raises
        ------
        ValueError
            Nothing is left of the region.
        """
        if self._checked(enclosed).place.empty:
            raise ValueError("enclosed: its splits leave nothing of the region; there are no derivatives to bound")
        return self._rows.ask(enclosed, rows, about)

    def ask(self, question: Question[A]) -> A:
        """The answer to a question that is not about an enclosed region: trees, which are cut whatever else is."""
        return self.searches.ask(question)

    def evaluation_error(self, enclosed: RegionBounds) -> Floats:
        """How far evaluation in single precision may be from ``f`` over the region, float64 [outputs].

        It takes a fraction of what the bounds took, and is computed here whoever else computes.
        """
        place = self._checked(enclosed).place
        return self._single.error(place.region, place.bounds)

    def gradient_norms(self, x0: Floats, rows: Floats, norm: float, weights: Floats | None) -> Floats:
        """Dual norms of the gradients of ``rows @ f`` at ``x0``, about: float64 [K]. Only choices of radii rest on them."""
        return self._asker.ask(Gradients(x0, rows, norm, weights))

    @cached_property
    def _single(self) -> EvaluationError:
        return EvaluationError(self.network)

    def _by_crew(self, place: Place) -> RegionBounds:
        place = self._stages.ask(self._asker, place)
        return RegionBounds(self.network, place, {} if place.empty else slopes_from(self.network, place))

    def _checked(self, enclosed: RegionBounds) -> RegionBounds:
        if not isinstance(enclosed, RegionBounds) or (enclosed.place.memory is None) != (self._crew is not None):
            raise TypeError(
                f"enclosed: got {type(enclosed).__name__} of another bounder; give what enclose() of the same bounder returned"
            )
        return enclosed
