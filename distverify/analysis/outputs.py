"""The quantity "outputs": bounds of f over each ball and over the domain."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distverify.analysis.around import Over
from distverify.analysis.attack import Room
from distverify.analysis.bisection import suits_boxes, unsuited
from distverify.analysis.box_tree import BoxTree, LargestValue
from distverify.analysis.time_left import seconds_for_each
from distverify.bounds.outputs import OutputBounds, both_sides, tightest
from distverify.bounds.reduced import Floats
from distverify.errors import SettingsError, argument
from distverify.network.graph import Network
from distverify.quantities import catalogue
from distverify.questions.askers import Alone
from distverify.questions.bounder import Bounder
from distverify.questions.memory import Memory
from distverify.questions.pieces import Arrays, Block
from distverify.questions.question import Cuts, Question, cut, stacked
from distverify.questions.region import RegionBounds
from distverify.region import Ball, domain_box
from distverify.settings import Settings

_POINTS = 512


@dataclass(frozen=True, eq=False)
class Largest(Question[Arrays]):
    """Upper bounds of ``rows @ f`` over a box in which few inputs move, each by halving boxes.

    Attributes
    ----------
    region : Ball
        See :func:`distverify.analysis.bisection.suits_boxes`.
    rows : float64 [K, outputs]
    nodes : int
        Boxes for each row, at most.
    seed : tuple of int
    seconds : float, optional
        For each row.
    """

    region: Ball
    rows: Floats
    nodes: int
    seed: tuple[int, ...]
    seconds: float | None = None

    def cut(self, pieces: int, cuts: Cuts) -> Sequence[Block]:
        """Blocks of rows."""
        return cut(self.rows.shape[0], pieces, 1)

    def answer(self, memory: Memory, block: Block) -> Arrays:
        """ "bound" and "nodes" [block]."""
        network, room = memory.network, Room.of(self.region)
        bounds, nodes = [], []
        for k in range(*block):
            row = self.rows[k : k + 1]
            reached = float((network(room.starts(_POINTS, np.random.default_rng((k, *self.seed)))) @ row[0]).max())

            tree = BoxTree(network, self.region, row, LargestValue(), _Values(network, room, row[0], reached).look)
            tree.grow(self.nodes, None if self.seconds is None else time.monotonic() + self.seconds)
            bounds.append(tree.bound)
            nodes.append(tree.nodes)
        return {"bound": np.array(bounds), "nodes": np.array(nodes)}

    def join(self, answers: Sequence[Arrays]) -> Arrays:
        """Of all rows."""
        return {name: stacked(answers, name) for name in answers[0]}


@dataclass(eq=False)
class _Values:
    """The largest value of a row that was seen: only where a search ends rests on it."""

    network: Network
    room: Room
    row: Floats
    most: float

    def look(self, points: Floats) -> float:
        self.most = max(self.most, float((self.network(self.room.clamp(points)) @ self.row).max()))
        return self.most


def without_search(network: Network, settings: Settings) -> tuple[str, ...]:
    """What is to be said of a run with nodes whose output bounds are those of one pass, over its balls or its domain.

    Parameters
    ----------
    network : Network
        Of the data's own inputs.
    settings : Settings
        That compute outputs with nodes.

    Raises
    ------
    SettingsError
        Nothing of the run would use the nodes.
    """
    why: dict[str, str] = {}
    inputs = settings.inputs_of(network.input_size)
    if settings.eps:
        moving = inputs if settings.feature_eps is None else int(np.count_nonzero(settings.feature_eps))
        why["balls"] = unsuited(network, inputs, moving, settings.norm)
    if settings.domain is not None:
        low, high = domain_box(settings.domain, network.input_size).box
        why["the domain"] = unsuited(network, network.input_size, int((low < high).sum()), np.inf)
    if network.jump:
        why = dict.fromkeys(why, f"the network jumps ({network.jump})")
    told = "; ".join(f"over {place}, {text}" for place, text in why.items() if text)
    others = [q for q in catalogue.chosen(settings.compute) if "nodes" in q.uses and q.name != "outputs"]
    if all(why.values()) and not others:
        raise SettingsError(
            f"nodes: got {settings.nodes}, which only outputs would use, and nothing is searched for them: {told}; leave "
            f"{argument('nodes')} out, or let few inputs move ({argument('feature_eps')}, {argument('domain')})"
        )
    return (f"nodes: bounds of outputs are those of one pass: {told}",) if told else ()


def bounds_over(over: Over) -> Arrays:
    """Over one ball."""
    bounds = _bounds(over.around.bounder, over.known, over.around.settings)
    around = over.around
    if around.settings.nodes:
        region = around.balls.at(over.eps)
        seconds = seconds_for_each(around.bounder, _own_deadline(over), 2 * bounds.lower.size)
        bounds = _searched(
            around.bounder, over.known, region, around.settings, bounds, (6, around.sample.index), seconds
        )
    return {"output_lower": bounds.lower, "output_upper": bounds.upper}


def bounds_over_domain(bounder: Bounder, known: RegionBounds, settings: Settings) -> Arrays:
    """Over the domain."""
    bounds = _bounds(bounder, known, settings)
    return {"domain_output_lower": bounds.lower, "domain_output_upper": bounds.upper}


def _own_deadline(over: Over) -> float | None:
    return over.around.deadline if isinstance(over.around.bounder.searches, Alone) else None


def search_domain(
    bounder: Bounder, known: RegionBounds, settings: Settings, facts: Arrays, deadline: float | None
) -> Arrays:
    """Over the domain, by halving boxes."""
    found = OutputBounds(*(np.asarray(facts[f"domain_output_{side}"], np.float64) for side in ("lower", "upper")))
    seconds = seconds_for_each(bounder, deadline, 2 * found.lower.size)
    found = _searched(bounder, known, known.place.region, settings, found, (7,), seconds)
    return {"domain_output_lower": found.lower, "domain_output_upper": found.upper}


def _searched(
    bounder: Bounder, known: RegionBounds, region: Ball, settings: Settings, bounds: OutputBounds, seed: tuple[int, ...],
    seconds: float | None,
) -> OutputBounds:  # fmt: skip
    """``bounds`` within those of many small boxes, where few inputs move."""
    if bounder.network.jump or not suits_boxes(bounder.network, region):
        return bounds
    rows = -both_sides(bounder.network.output_size)
    told = bounder.ask(Largest(region, rows, settings.nodes, (settings.seed, *seed), seconds))
    bounder.subproblems += int(np.sum(told["nodes"]))
    closer = tightest(-np.asarray(told["bound"], np.float64), None)
    if settings.arithmetic != "exact":
        closer = closer.widened(bounder.evaluation_error(known))
    return OutputBounds(np.fmax(bounds.lower, closer.lower), np.fmin(bounds.upper, closer.upper))


def _bounds(bounder: Bounder, known: RegionBounds, settings: Settings) -> OutputBounds:
    network = bounder.network
    lower = bounder.margins(known, both_sides(network.output_size))
    bounds = tightest(lower, known.place.bounds.get(network.output))
    return bounds if settings.arithmetic == "exact" else bounds.widened(bounder.evaluation_error(known))
