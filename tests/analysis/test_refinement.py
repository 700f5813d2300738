"""Bounds of neurons by searches of their own: below the truth by mixed-integer programs, and near it; verdicts that rest on them."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

import distverify as dv
from distverify.analysis import verify as search
from distverify.analysis.branching.counterexamples import Hunt, Opening
from distverify.analysis.branching.polytopes import Target, pose
from distverify.analysis.branching.refinement import refined
from distverify.analysis.branching.refining import Neurons
from distverify.bounds.enclosure import enclose
from distverify.kernels.rounding import IGNORED, SOUND
from distverify.questions.askers import Alone, ThroughCrew
from distverify.region import Ball
from tests.analysis.crews import CrewHere
from tests.exact import ExactNetwork
from tests.milp import smallest
from tests.networks import points_in

WIDTHS = (11, 8, 7, 6, 3)  # of more inputs than are bisected


def case(seed):
    """Layers, the network, and a search that neither bounds nor an attack end: a target just below the least value."""
    rng = np.random.default_rng(seed)
    layers = [
        (rng.standard_normal((m, n)) / math.sqrt(n), 0.4 * rng.standard_normal(m))
        for n, m in itertools.pairwise(WIDTHS)
    ]
    network = dv.Network.from_layers(layers, activation="relu")
    region = Ball(rng.standard_normal(11), eps=0.4)
    row = np.array([1.0, -1.0, 0.0])
    least = smallest(layers, row, *region.box)
    target = Target(row[None], np.array([least - 1e-3]), np.zeros(1))
    return layers, network, Hunt.of(region, [target], seed)


def opened(network, hunt):
    asker = Alone(network)
    told = asker.ask(Opening(hunt, True))
    return asker, Neurons(told.lower, told.upper, told.alpha, told.groups, told.splits)


@pytest.mark.parametrize("seed", range(3))
def test_refined_bounds_hold_and_come_near_the_truth(seed):
    layers, network, hunt = case(seed)
    asker, before = opened(network, hunt)
    after = before.refined(asker, hunt, 60)
    assert (after.lower >= before.lower).all()
    assert (after.upper <= before.upper).all()
    groups = hunt.problem(asker._memory).packed.reduced.groups[1:]
    where = [(group.node, int(i)) for group in groups for i in group.members]
    activations = [node for node, _ in itertools.groupby(where, key=lambda pair: pair[0])]
    missing = np.zeros(2)
    for k in np.flatnonzero(before.refinable):
        depth = 1 + activations.index(where[k][0])
        row = np.eye(WIDTHS[depth])[where[k][1]]
        for sign, old, new in ((1.0, before.lower[k], after.lower[k]), (-1.0, -before.upper[k], -after.upper[k])):
            truth = smallest(layers[:depth], sign * row, *hunt.region.box)
            assert new <= truth + 1e-6
            # Beyond 0 nobody asks how far.
            missing += [min(truth, 0.0) - min(old, 0.0), min(truth, 0.0) - min(new, 0.0)]
    assert missing[1] < 0.5 * missing[0]
    # In exact arithmetic: where outputs lie, pre-activations lie.
    exact = ExactNetwork(network)
    for x in points_in(hunt.region, 10, np.random.default_rng(seed)):
        values = exact.values(x)
        for (node, i), low, high in zip(where, after.lower, after.upper, strict=True):
            assert low <= values[network.nodes[node].sources[0]][i] <= high


def test_a_search_is_refined_in_the_same_way_whoever_computes(monkeypatch):
    monkeypatch.setattr(search, "_REFINEMENTS", ((2, 6), (8, 20)))
    _, network, hunt = case(4)
    alone = search.pursue(network, hunt, 400)
    crew = search.pursue(network, hunt, 400, asker=ThroughCrew(CrewHere(network), 3))
    assert (alone.status, alone.nodes) == (crew.status, crew.nodes)
    assert alone.bound.tobytes() == crew.bound.tobytes()
    assert alone.status == search.VERIFIED


def test_refinement_ends_at_the_deadline():
    _, network, hunt = case(1)
    asker, before = opened(network, hunt)
    after = before.refined(asker, hunt, 60, deadline=0.0)
    assert after.lower.tobytes() == before.lower.tobytes()


def test_rounding_terms_are_needed_and_suffice():
    """Of one input, whose kinks are exact fractions: the least values are attained, and nothing but rounding is between."""
    wrong = {SOUND: 0, IGNORED: 0}
    near = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        first, second = rng.standard_normal((4, 1)), rng.standard_normal((3, 4))
        layers = [
            (first, 0.3 * rng.standard_normal(4)),
            (second, 0.1 * rng.standard_normal(3)),
            (rng.standard_normal((2, 3)), np.zeros(2)),
        ]
        network = dv.Network.from_layers(layers)
        exact = ExactNetwork(network)
        kinks = [-Fraction(float(b)) / Fraction(float(w)) for w, b in zip(first[:, 0], layers[0][1], strict=True)]
        values = [exact.values([x]) for x in (Fraction(-1), Fraction(1), *kinks) if abs(x) <= 1]
        for rounding in wrong:
            enclosure = enclose(network, Ball(np.zeros(1), 1.0), rounding=rounding, fold=True)
            problem = pose(enclosure, [Target(np.array([[1.0, -1.0]]), np.zeros(1), np.zeros(1))])
            groups = problem.packed.reduced.groups[1:]
            if len(groups) < 2:
                continue
            members, source = groups[-1].members, network.nodes[groups[-1].node].sources[0]
            which = np.arange(problem.lower.size)[-members.size :].repeat(2)
            sides = np.tile([0, 1], members.size)
            signs = np.where(sides == 0, 1.0, -1.0)
            found = refined(
                problem, problem.lower, problem.upper, which, sides, problem.slopes_of(which, signs), nodes=60
            )
            for i, sign, bound in zip(members.repeat(2), signs, found, strict=True):
                least = min(int(sign) * v[source][i] for v in values)
                if least <= 0:  # beyond 0 a search ends early
                    wrong[rounding] += Fraction(float(bound)) > least
                    near += rounding is SOUND and least - Fraction(float(bound)) < 1e-12
    assert wrong[SOUND] == 0
    assert wrong[IGNORED] > 3
    assert near > 100
