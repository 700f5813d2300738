"""Optimised slopes and half-spaces: sound whatever the slopes and multipliers, and as tight as linear programs say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from distverify.bounds.alpha import bound_rows
from distverify.bounds.enclosure import enclose
from distverify.bounds.half_spaces import HalfSpaces, half_spaces, neuron_rows
from distverify.bounds.packed import pack
from distverify.kernels.clip import cut_minima
from distverify.kernels.rounding import IGNORED, SINGLE, SOUND
from distverify.network.graph import Network
from distverify.region import Ball
from tests.exact import ExactNetwork
from tests.networks import FEW, balls, build_chain, chains, points_in, violations


@FEW
@given(st.data())
def test_alpha_bounds_hold_and_are_never_looser_than_crown(data):
    network = data.draw(chains())
    region = data.draw(balls(network.input_size))
    rounding = data.draw(st.sampled_from([SOUND, SINGLE]))
    points = points_in(region, 10, np.random.default_rng(0))
    rows = np.eye(network.output_size)
    alpha, crown = (enclose(network, region, layers, rounding) for layers in ("alpha", "crown"))
    exact = ExactNetwork(network)
    lower, upper = alpha.row_bounds(rows)
    loose_lower, loose_upper = crown.row_bounds(rows)
    slack = 1e-9 * (1.0 + np.abs(loose_lower) + np.abs(loose_upper))
    if rounding is SOUND:
        assert (lower >= loose_lower - slack).all()
        assert (upper <= loose_upper + slack).all()
    for x in points:
        values = exact.values(x)
        assert not violations(alpha.lower, values, alpha.upper)
        assert not violations(lower, values[network.output], upper)


@FEW
@given(st.integers(0, 2**32 - 1))
def test_any_slopes_and_multipliers_are_sound(seed):
    rng = np.random.default_rng(seed)
    network = build_chain((4, 7, 6, 2), ("relu", "leaky_relu"), rng)
    norm = (math.inf, 2.0, 1.0)[seed % 3]
    x0 = rng.uniform(0, 1, 4)
    region = Ball(x0, 0.7, norm, (x0 - 0.2, x0 + 0.5) if seed % 2 else None)
    reduced = enclose(network, region, fold=bool(seed % 5)).reduced
    packed = pack(reduced)
    rows = packed.rows(reduced.output)
    slopes = rng.uniform(packed.lowest, np.maximum(packed.lowest, 1.0), (2, packed.neurons))
    # Half-spaces of both sides of some neurons: each holds where the neuron is on that side.
    chosen = np.arange(min(3, packed.neurons))
    signs = rng.choice([-1.0, 1.0], chosen.size)
    cuts = half_spaces(
        packed, neuron_rows(packed, chosen, signs), np.zeros(chosen.size), packed.lines,
        rng.uniform(packed.lowest, np.maximum(packed.lowest, 1.0), (chosen.size, packed.neurons)),
    )  # fmt: skip
    multipliers = rng.exponential(1.0, (2, cuts.count))
    found = bound_rows(packed, rows, 0, slopes=slopes, half_spaces=cuts, multipliers=multipliers, sweeps=0)
    better = bound_rows(packed, rows, 10, slopes=slopes, half_spaces=cuts, multipliers=multipliers)
    assert (better.bounds >= found.bounds).all()
    exact = ExactNetwork(network)
    for x in points_in(region, 30, rng):
        values = exact.values(x)
        z = [values[network.nodes[g.node].source][m] for g in reduced.groups[1:] for m in g.members]
        if all(s * z[i] <= 0 for i, s in zip(chosen, signs, strict=True)):
            for k in range(2):
                assert better.bounds[k] <= values[network.output][k]


# The ball of norm inf is the cube itself.
@pytest.mark.parametrize(("norm", "boxed"), [(math.inf, False), (2.0, False), (2.0, True), (1.0, False), (1.0, True)])
def test_cut_minima_are_lower_bounds_and_near_the_truth(norm, boxed):
    rng = np.random.default_rng(1)
    n = 8
    gaps = []
    for _ in range(30):
        lo, hi = (-rng.uniform(0.1, 0.6, n), rng.uniform(0.1, 0.9, n)) if boxed else (-np.ones(n), np.ones(n))
        v, half = rng.standard_normal((1, n)), rng.standard_normal((3, n))
        offset = -0.3 * np.abs(half).sum(axis=1) * rng.uniform(0, 1, 3)
        out, b = np.empty(1), np.zeros((1, 3))
        cut_minima(
            v, np.zeros(1), np.zeros(1), half, offset, np.abs(half).sum(axis=1), b, np.arange(3), 20, 1e-14, norm,
            boxed, lo, hi, 1e-300, out,
        )  # fmt: skip
        truth = _smallest(v[0], half, offset, norm, lo, hi)
        if truth is None:
            continue
        assert out[0] <= truth + 1e-6
        gaps.append((truth - out[0]) / max(1e-3, abs(truth)))
    assert len(gaps) > 10
    assert np.median(gaps) < 0.05


def _smallest(v, half, offset, norm, lo, hi):
    """min v . t over ball, box and half-spaces; None where there is none."""
    n = v.size
    if norm == math.inf:
        solved = linprog(v, A_ub=half, b_ub=-offset, bounds=list(zip(lo, hi, strict=True)))
        return solved.fun if solved.status == 0 else None
    if norm == 1.0:
        # t = p - q, sum p + q <= 1
        a = np.vstack(
            [
                np.hstack([half, -half]),
                np.ones((1, 2 * n)),
                np.hstack([np.eye(n), -np.eye(n)]),
                np.hstack([-np.eye(n), np.eye(n)]),
            ]
        )
        b = np.concatenate([-offset, [1.0], hi, -lo])
        solved = linprog(np.concatenate([v, -v]), A_ub=a, b_ub=b, bounds=(0, None))
        return solved.fun if solved.status == 0 else None
    from scipy.optimize import minimize

    start = np.zeros(n)
    solved = minimize(
        lambda t: v @ t, start, jac=lambda t: v, method="SLSQP", bounds=list(zip(lo, hi, strict=True)),
        constraints=[
            {"type": "ineq", "fun": lambda t: -(half @ t + offset), "jac": lambda t: -half},
            {"type": "ineq", "fun": lambda t: 1.0 - t @ t, "jac": lambda t: -2 * t},
        ],
        options={"maxiter": 300, "ftol": 1e-10},
    )  # fmt: skip
    return float(solved.fun) if solved.success else None


def test_a_half_space_that_misses_the_ball_proves_it():
    half = np.array([[1.0, 1.0], [-1.0, 0.0]])
    packed = pack(enclose(Network.from_layers([(np.eye(2), np.zeros(2))]), Ball(np.zeros(2), 1.0)).reduced)
    # t0 + t1 >= 2.1 nowhere; with t0 <= -0.2 neither is t0 + t1 >= 0.9.
    for offset, empty in (([2.1, -9.0], True), ([0.9, -9.0], False)):
        cuts = HalfSpaces(-half, np.array(offset), np.abs(half).sum(axis=1), np.zeros((2, 0)))
        rows = packed.rows(packed.reduced.output)
        found = bound_rows(packed, rows, 0, half_spaces=cuts)
        assert bool(found.bounds[0] > 10.0) is empty


def test_rounding_terms_of_packed_networks_are_needed():
    """Weights that cancel: without rounding terms some lower bound lies above an exact value."""
    wrong = {True: 0, False: 0}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        w1 = rng.standard_normal((6, 6)) * 10.0 ** rng.integers(6, 12)
        network = Network.from_layers([(w1, -w1 @ np.full(6, 1.0)), (rng.standard_normal((1, 6)), np.zeros(1))])
        region = Ball(np.full(6, 1.0), 0.0 if seed % 2 else 1e-15, math.inf, (0.5, 1.5))
        exact = ExactNetwork(network)
        values = [exact(x)[0] for x in points_in(region, 20, rng)]
        for sound in (True, False):
            reduced = enclose(network, region, rounding=SOUND if sound else IGNORED).reduced
            packed = pack(reduced)
            bound = bound_rows(packed, packed.rows(reduced.output), 10).bounds[0]
            wrong[sound] += any(v < bound for v in values)
    assert wrong[True] == 0
    assert wrong[False] > 0
