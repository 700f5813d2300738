"""Lipschitz constants between two ends: certified >= true >= attained, and closed where nodes suffice.

The truth of tiny ReLU networks comes from enumerating activation patterns: a pattern counts where a linear programme finds a
point strictly inside its polytope.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import linprog

import distverify as dv
from distverify.analysis.attained import least_induced_norm
from distverify.bounds.gradient import jacobian_at
from distverify.errors import SettingsError
from distverify.network.graph import Network
from distverify.region import Ball, Box
from tests.networks import Floats, build_chain, build_residual
from tests.oracle.files import figures, needs_shared

ENDS = 1e-9  # what the enumeration's own float64 sums may be off


def tiny(seed: int, widths: tuple[int, ...] = (2, 4, 3, 2)) -> list[tuple[Floats, Floats]]:
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(m, n)), 0.5 * rng.normal(size=m)) for n, m in itertools.pairwise(widths)]


def jacobians_of_pieces(layers: list[tuple[Floats, Floats]], lower: Floats, upper: Floats) -> list[Floats]:
    """The Jacobian on every piece that has a point strictly inside the box, by enumeration."""
    found = []
    hidden = [w.shape[0] for w, _ in layers[:-1]]
    for pattern in itertools.product((0.0, 1.0), repeat=sum(hidden)):
        states = np.split(np.array(pattern), np.cumsum(hidden)[:-1])
        slope, shift = np.eye(lower.size), np.zeros(lower.size)
        rows, most = [], []
        for (w, b), on in zip(layers[:-1], states, strict=True):
            slope, shift = w @ slope, w @ shift + b
            sign = np.where(on > 0, -1.0, 1.0)
            rows.append(sign[:, None] * slope)
            most.append(-sign * shift)
            slope, shift = on[:, None] * slope, on * shift
        a, c = np.concatenate(rows), np.concatenate(most)
        # The largest t with a x + t |a| <= c.
        size = np.linalg.norm(a, axis=1)
        dead = size == 0.0
        if (c[dead] < 0.0).any():
            continue
        box = list(zip(lower, upper, strict=True))
        solved = linprog(
            np.append(np.zeros(lower.size), -1.0), A_ub=np.hstack([a, size[:, None]])[~dead], b_ub=c[~dead],
            bounds=[*box, (None, 1.0)], method="highs",
        ) if (~dead).any() else None  # fmt: skip
        if solved is None or (solved.status == 0 and solved.x[-1] > 1e-9):
            found.append(layers[-1][0] @ slope)
    return found


def dual(rows: Floats, norm: float) -> Floats:
    return np.linalg.norm(rows, ord={math.inf: 1, 2.0: 2, 1.0: math.inf}[norm], axis=1)


def induced(matrix: Floats, norm: float) -> float:
    return float(np.linalg.norm(matrix, ord={math.inf: np.inf, 2.0: 2, 1.0: 1}[norm]))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("norm", [math.inf, 2.0, 1.0])
def test_brackets_hold_and_close_on_tiny_networks(seed: int, norm: float) -> None:
    layers = tiny(seed)
    network = Network.from_layers(layers, activation="relu")
    lower, upper = np.array([-1.0, -0.5]), np.array([0.7, 1.0])
    pieces = jacobians_of_pieces(layers, lower, upper)
    rows = np.max([dual(j, norm) for j in pieces], axis=0)
    vector = max(induced(j, norm) for j in pieces)
    for nodes in (1, 8, 400):
        found = dv.lipschitz_constant(network, Box(lower, upper), norm=norm, nodes=nodes)
        assert (found.rows >= rows * (1 - ENDS)).all()
        assert (found.attained <= rows * (1 + ENDS)).all()
        assert found.vector >= vector * (1 - ENDS)
        assert found.vector_attained <= vector * (1 + ENDS)
    assert found.rows == pytest.approx(rows, rel=2e-4)
    assert found.attained == pytest.approx(rows, rel=2e-4)
    assert found.vector == pytest.approx(vector, rel=2e-4)


@pytest.mark.parametrize("kind", ["tanh", "sigmoid", "leaky_relu", "clip", "gelu"])
def test_other_activations_and_residual_sums(kind: str) -> None:
    rng = np.random.default_rng(5)
    for network in (build_chain((3, 5, 4, 2), (kind,), rng), build_residual(4, (kind,), rng, final_activation=False)):
        region = Ball(rng.normal(size=network.input_size), 0.3)
        once = dv.lipschitz_constant(network, region)
        found = dv.lipschitz_constant(network, region, nodes=40)
        assert (found.rows <= once.rows).all()
        assert (found.attained <= found.rows).all()
        points = region.x0 + 0.3 * rng.uniform(-1, 1, (2000, network.input_size))
        sampled = np.abs(jacobian_at(network, points)).sum(axis=2).max(axis=0)
        assert (found.rows >= sampled * (1 - 1e-12)).all()
        assert found.vector >= sampled.max() * (1 - 1e-12)


def test_what_is_attained_is_attained_there() -> None:
    network = Network.from_layers(tiny(3), activation="relu")
    region = Ball(np.array([0.1, -0.2]), 0.5)
    found = dv.lipschitz_constant(network, region, nodes=100)
    assert (np.abs(found.attained_at - region.x0) <= 0.5).all()
    there = jacobian_at(network, found.attained_at)
    assert np.abs(there[[0, 1], [0, 1]]).sum(axis=1) == pytest.approx(found.attained, rel=1e-12)


def test_features_scale_the_norm_and_fixed_ones_do_not_count() -> None:
    layers = tiny(4, (3, 4, 3, 2))
    network = Network.from_layers(layers, activation="relu")
    x0, factors = np.array([0.2, -0.1, 0.4]), np.array([1.0, 0.5, 0.0])
    found = dv.lipschitz_constant(network, Ball(x0, 0.4, feature_eps=factors), nodes=200)
    fixed = [(layers[0][0][:, :2] * factors[:2], layers[0][1] + layers[0][0] @ (x0 * [0.0, 0.0, 1.0])), *layers[1:]]
    smaller = Network.from_layers(fixed, activation="relu")
    truth = dv.lipschitz_constant(smaller, Ball(np.array([0.2, -0.2]), 0.4), nodes=200)
    assert found.rows == pytest.approx(truth.rows, rel=3e-4)
    assert found.attained == pytest.approx(truth.attained, rel=3e-4)


def test_the_same_nodes_give_the_same_bits() -> None:
    network = Network.from_layers(tiny(6, (4, 8, 8, 3)), activation="relu")
    region = Ball(np.full(4, 0.1), 0.4)
    first, second = (dv.lipschitz_constant(network, region, nodes=12) for _ in range(2))
    for name in ("rows", "attained", "attained_at"):
        assert np.array_equal(getattr(first, name), getattr(second, name), equal_nan=True)
    more = dv.lipschitz_constant(network, region, nodes=60)
    assert (more.rows <= first.rows).all()
    assert first.nodes <= 3 * 12 + 3  # children come in pairs


def test_norm_of_a_matrix_within_bounds_is_at_least() -> None:
    rng = np.random.default_rng(0)
    for norm in (math.inf, 2.0, 1.0):
        for _ in range(50):
            middle, spread = rng.normal(size=(3, 5)), 10.0 ** rng.uniform(-12, 0) * rng.random((3, 5))
            least = least_induced_norm(middle - spread, middle + spread, norm)
            for _ in range(20):
                inside = middle + spread * rng.uniform(-1, 1, (3, 5))
                assert least <= induced(inside, norm) * (1 + 1e-12)
    exact = rng.normal(size=(3, 5))
    for norm in (math.inf, 2.0, 1.0):
        assert least_induced_norm(exact, exact, norm) == pytest.approx(induced(exact, norm), rel=1e-12)


def test_misuse() -> None:
    network = Network.from_layers(tiny(0), activation="relu")
    with pytest.raises(SettingsError, match="nodes: got -1; give a whole number"):
        dv.lipschitz_constant(network, Ball(np.zeros(2), 0.1), nodes=-1)
    with pytest.raises(SettingsError, match="nodes: got 5 for an unbounded region"):
        dv.lipschitz_constant(network, nodes=5)
    with pytest.raises(SettingsError, match="nodes: got 5 with method interval"):
        dv.lipschitz_constant(network, Ball(np.zeros(2), 0.1), nodes=5, method="interval")


@needs_shared
@pytest.mark.parametrize(
    ("name", "exact"),
    # LipBaB's networks and exact constants of the vector output, for norms 2, 1 and inf.
    [("iris_4_5_5_3", (6.77145451, 5.95804891, 12.60508558)), ("sd_10_15_10_3", (9.53071692, 10.4128685, 16.27481081))],
)
def test_published_exact_constants(name: str, exact: tuple[float, float, float]) -> None:
    stored = figures(f"lipschitz_exact_{name}.npz")
    layers = [(stored[f"W{i}"].astype(np.float64), stored[f"b{i}"].astype(np.float64)) for i in range(3)]
    network = Network.from_layers(layers, activation="relu")
    sides = (np.full(network.input_size, float(stored[side])) for side in ("lower", "upper"))
    box = Box(*sides)
    for norm, value in zip((2.0, 1.0, math.inf), exact, strict=True):
        found = dv.lipschitz_constant(network, box, norm=norm, nodes=500)
        assert found.vector == pytest.approx(value, rel=3e-6)  # norm 2: the proof takes a millionth
        assert found.vector_attained == pytest.approx(value, rel=1e-6)
