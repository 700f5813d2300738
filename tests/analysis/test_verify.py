"""Verdicts against the truth: mixed-integer programs for tiny networks, exact rationals for every counterexample."""

from __future__ import annotations

import itertools
import math
import time
from fractions import Fraction

import numpy as np
import pytest

import distverify as dv
from distverify.analysis.branching.boxes import suits_bisection
from distverify.analysis.branching.counterexamples import BoxCounterexamples
from distverify.analysis.branching.polytopes import Target, pose
from distverify.analysis.verify import decide
from distverify.bounds.enclosure import enclose
from distverify.errors import SettingsError
from distverify.questions.askers import ThroughCrew
from distverify.region import Ball, Box
from tests.analysis.crews import CrewHere
from tests.exact import ExactNetwork
from tests.milp import smallest
from tests.networks import build_chain, points_in

CASES = 5


def dense(widths, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    return [
        (scale * rng.standard_normal((m, n)) / math.sqrt(n), 0.4 * rng.standard_normal(m))
        for n, m in itertools.pairwise(widths)
    ]


def check_replay(network, region, rows, bounds, x):
    """The counterexample lies in the region, and some row is at most its bound there: in exact arithmetic."""
    exact = [Fraction(float(v)) for v in x]
    lo, hi = region.clip_box
    assert all(
        Fraction(float(a)) <= v <= Fraction(float(b)) for a, v, b in zip(lo, exact, hi, strict=True) if np.isfinite(a)
    )
    away = [abs(v - Fraction(float(c))) for v, c in zip(exact, region.x0, strict=True)]
    eps = np.broadcast_to(region.eps, region.x0.shape)
    if region.norm == math.inf:
        if not isinstance(region, Box):
            assert all(d <= Fraction(float(e)) for d, e in zip(away, eps, strict=True))
    elif region.norm == 1.0:
        assert sum(away) <= Fraction(float(region.eps))
    else:
        assert sum(d * d for d in away) <= Fraction(float(region.eps)) ** 2
    outputs = ExactNetwork(network)(exact)
    values = [
        sum(Fraction(float(c)) * y for c, y in zip(row, outputs, strict=True)) - Fraction(float(b))
        for row, b in zip(rows, bounds, strict=True)
    ]
    assert any(v <= 0 for v in values)


def check_against_programs(widths, seed, scale):
    """Verdicts on both sides of a tiny network's exact minimum, some of them close."""
    layers = dense(widths, seed, scale)
    network = dv.Network.from_layers(layers)
    rng = np.random.default_rng(seed + 1000)
    region = Ball(rng.uniform(-1, 1, widths[0]), 0.5)
    row = rng.standard_normal((1, widths[-1]))
    truth = smallest(layers, row[0], *region.box)
    for gap in (-0.5, -1e-3, 1e-3, 0.5):
        verdict = dv.verify(network, region, rows=row, bounds=[truth + gap], nodes=20_000)
        assert verdict.status == ("verified" if gap < 0 else "falsified"), (seed, gap)
        assert verdict.bound[0] <= -gap + 1e-6
        assert (verdict.counterexample is not None) == (gap > 0)
        if verdict.counterexample is not None:
            check_replay(network, region, row, [truth + gap], verdict.counterexample)


@pytest.mark.parametrize("widths", [(3, 8, 8, 3), (15, 10, 2)])
def test_verdicts_of_tiny_networks_are_those_of_mixed_integer_programs(widths):
    for seed in range(3):
        check_against_programs(widths, seed, 1.6)


@pytest.mark.slow
@pytest.mark.parametrize("widths", [(3, 8, 8, 3), (2, 12, 6, 2), (6, 6, 6, 3), (12, 6, 5, 3), (15, 10, 2)])
def test_five_hundred_verdicts_are_those_of_mixed_integer_programs(widths):
    for seed in range(10, 35):
        check_against_programs(widths, seed, 1.6)


def test_polytopes_of_several_rows_are_decided_as_one():
    for seed in range(CASES):
        widths = (4, 7, 6, 3) if seed % 2 else (14, 6, 5, 3)
        layers = dense(widths, seed, 1.6)
        network = dv.Network.from_layers(layers)
        rng = np.random.default_rng(seed + 77)
        x0 = rng.uniform(-1, 1, widths[0])
        region = Box(x0 - 0.4, x0 + 0.4)
        rows = rng.standard_normal((2, 3))
        lower, upper = region.box
        truth = smallest(layers, rows[0], lower, upper, [(rows[1], 0.0)])
        for gap in (-1e-2, 1e-2):
            if not math.isfinite(truth):
                continue
            bounds = np.array([truth + gap, 0.0])
            verdict = decide(network, region, [Target(rows, bounds, np.zeros(2))], 4000)
            assert verdict.status == ("verified" if gap < 0 else "falsified"), (seed, gap)
            if verdict.counterexample is not None:
                for k in (0, 1):
                    check_replay(network, region, rows[k : k + 1], bounds[k : k + 1], verdict.counterexample)


@pytest.mark.parametrize("kind", ["relu", "leaky_relu", "clip", "tanh", "sigmoid", "silu", "softplus"])
@pytest.mark.parametrize("norm", [math.inf, 2.0, 1.0])
def test_bounds_hold_at_exact_points_for_every_norm_and_activation(kind, norm):
    rng = np.random.default_rng(5)
    for seed in range(4):
        network = build_chain((6, 9, 8, 3), (kind, kind), np.random.default_rng(seed))
        x0 = rng.uniform(0, 1, 6)
        clip = (x0 - 0.15, x0 + 0.4) if seed % 2 else None
        region = Ball(x0, 0.6, norm, clip)
        exact = ExactNetwork(network)
        values = [[float(v) for v in exact(x)] for x in points_in(region, 30, rng)]
        rows = np.array([[1.0, -1.0, 0.0], [0.3, 0.2, -1.0]])
        smallest_seen = (np.array(values) @ rows.T).min(axis=0)
        for gap in (-0.1, 0.3):
            verdict = dv.verify(network, region, rows=rows, bounds=smallest_seen + gap, nodes=60)
            if gap > 0:
                assert verdict.status != "verified"
            assert (verdict.bound <= -gap + 1e-9).all()
            if verdict.counterexample is not None:
                if exact.rational:
                    check_replay(network, region, rows, smallest_seen + gap, verdict.counterexample)
                else:
                    y = np.array([float(v) for v in exact([Fraction(float(v)) for v in verdict.counterexample])])
                    assert (rows @ y - smallest_seen - gap).min() <= 1e-12


def test_smooth_neurons_are_split_at_a_point_of_their_interval():
    network = build_chain((14, 6, 5, 2), ("tanh", "tanh"), np.random.default_rng(3))
    region = Ball(np.full(14, 0.2), 0.3)
    row = np.array([[1.0, -1.0]])
    one = dv.verify(network, region, rows=row, bounds=[-50.0], nodes=1).bound - 50.0
    most = float(
        (
            network(np.array([[float(v) for v in x] for x in points_in(region, 200, np.random.default_rng(0))]))
            @ row[0]
        ).min()
    )
    aim = 0.5 * one[0] + 0.5 * most
    verdict = dv.verify(network, region, rows=row, bounds=[aim], nodes=4000)
    assert verdict.status == "verified"
    assert verdict.nodes > 1


@pytest.mark.parametrize("widths", [(20, 16, 16, 4), (6, 30, 30, 4)])
def test_same_nodes_same_bits_whoever_computes(widths, monkeypatch):
    monkeypatch.setattr(BoxCounterexamples, "nodes_while_narrow", 16)
    monkeypatch.setattr(BoxCounterexamples, "nodes_of_subtree", 16)
    network = dv.Network.from_layers(dense(widths, 9, 1.8))
    region = Ball(np.zeros(widths[0]), 0.5)
    rows, aim, nodes = np.eye(4)[:2] - np.eye(4)[2:], -8.0, 120
    targets = [Target(row[None], np.array([aim]), np.zeros(1)) for row in rows]
    crews = [CrewHere(network, workers) for workers in (1, 3)]
    verdicts = [decide(network, region, targets, nodes, asker=ThroughCrew(crew, 16)) for crew in crews]
    verdicts.append(decide(network, region, targets, nodes))
    assert len({v.nodes for v in verdicts}) == len({v.status for v in verdicts}) == 1
    assert all(np.array_equal(v.bound, verdicts[0].bound) for v in verdicts)
    assert crews[0].kinds["subtrees"] > 3
    assert [piece.key for piece in crews[0].pieces] == [piece.key for piece in crews[1].pieces]


def test_a_search_that_was_killed_finds_its_subtrees_again():
    """Whatever was computed is found under the hash of what was asked: a continued search computes nothing twice."""
    network = dv.Network.from_layers(dense((20, 16, 16, 4), 9, 1.8))
    targets = [Target(np.array([[1.0, 0.0, -1.0, 0.0]]), np.array([-8.0]), np.zeros(1))]
    whole = CrewHere(network)

    class Continued:
        """A crew that recalls the first pieces of an earlier one."""

        crew = CrewHere(network)

        def map(self, pieces, shared):
            known = dict(list(whole.results.items())[:10])
            return [known[p.key] if p.key in known else self.crew.map([p], shared)[0] for p in pieces]

    first, second = (
        decide(network, Ball(np.zeros(20), 0.5), targets, 120, asker=ThroughCrew(crew, 16))
        for crew in (whole, Continued())
    )
    assert np.array_equal(first.bound, second.bound)
    assert first.nodes == second.nodes
    assert len(Continued.crew.pieces) == len(whole.pieces) - 10


def test_more_nodes_never_loosen_a_bound_and_a_time_limit_ends_in_order():
    layers = dense((20, 24, 24, 3), 4, 2.0)
    network = dv.Network.from_layers(layers)
    region = Ball(np.zeros(20), 0.6)
    row = np.array([[1.0, -1.0, 0.0]])
    root = dv.verify(network, region, rows=row, nodes=1).bound[0]
    # A little more than the root can prove, far below what any input attains.
    aim = [root + 0.1 * abs(root)]
    few, more = (dv.verify(network, region, rows=row, bounds=aim, nodes=n) for n in (1, 200))
    assert few.status == "unknown"
    assert more.bound[0] > few.bound[0]
    start = time.monotonic()
    verdict = dv.verify(network, region, rows=row, bounds=[0.4 * root], nodes=10**9, time_limit=0.5)
    assert time.monotonic() - start < 20
    assert verdict.status in ("unknown", "falsified", "verified")
    assert math.isfinite(verdict.bound[0])


def test_rounding_terms_are_needed():
    """Weights of 1e9 that cancel: without rounding terms, more is claimed than is true."""
    wrong = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        n = 12
        w1 = rng.standard_normal((n, n)) * 1e9
        w2 = np.stack([np.concatenate([rng.standard_normal(n)])])
        network = dv.Network.from_layers([(w1, -w1 @ np.ones(n)), (w2, np.zeros(1))])
        region = Ball(np.ones(n), 1e-9 * rng.uniform(0.5, 1.5))
        exact = ExactNetwork(network)
        seen = min(exact(x)[0] for x in points_in(region, 40, rng))
        verdict = dv.verify(network, region, rows=[[1.0]], bounds=[0.0], nodes=200)
        assert verdict.bound[0] <= seen
        if verdict.counterexample is not None:
            assert exact([Fraction(float(v)) for v in verdict.counterexample])[0] <= 0
        wrong += verdict.status == "verified" and seen <= 0
    assert wrong == 0


def test_few_inputs_are_bisected_and_many_are_not():
    for inputs, few in ((3, True), (30, False)):
        network = dv.Network.from_layers(dense((inputs, 30, 30, 2), 1, 1.5))
        region = Ball(np.zeros(inputs), 0.8)
        problem = pose(enclose(network, region, fold=True), [Target(np.array([[1.0, 0.0]]), np.zeros(1), np.zeros(1))])
        assert suits_bisection(problem) is few


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": [[1.0, 0.0]], "label": 1}, "rows, label: got both"),
        ({"label": 7}, "label: got 7; the network has classes 0 to 1"),
        ({"rows": [[1.0, 0.0, 0.0]]}, "rows: got shape"),
        ({"rows": [[1.0, 0.0]], "bounds": [1.0, 2.0]}, "bounds: got 2 values for 1 rows"),
        ({"nodes": 0}, "nodes: got 0"),
        ({"time_limit": 0.0}, "time_limit: got 0"),
    ],
)
def test_misuse_says_what_to_do(arguments, message):
    network = dv.Network.from_layers(dense((3, 4, 2), 0))
    with pytest.raises(SettingsError, match=message.replace("[", r"\[")):
        dv.verify(network, Ball(np.zeros(3), 0.1), **arguments)


def test_an_unbounded_region_is_refused():
    network = dv.Network.from_layers(dense((3, 4, 2), 0))
    with pytest.raises(SettingsError, match="region: is unbounded"):
        dv.verify(network, Ball(np.zeros(3), np.inf))
