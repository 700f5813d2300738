"""The edges of floating point: scales whose squares leave the range, sums that overflow, weights below single precision.

Everything is compared with exact rational arithmetic on the numbers that the network stores. What cannot be bounded may be
infinite; it may never be wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

import distverify as dv
from distverify.analysis.lipschitz import lipschitz_constant
from distverify.bounds.enclosure import enclose
from distverify.bounds.lipschitz import row_constants
from distverify.bounds.methods import RowBounds, bound_rows
from distverify.kernels.rounding import BY_PRECISION, SINGLE, SOUND
from distverify.network.graph import Network, NetworkBuilder
from distverify.network.linear.dense import Dense
from distverify.network.linear.diagonal import Diagonal
from distverify.region import Ball
from distverify.settings import METHODS, PRECISIONS
from tests.exact import ExactNetwork
from tests.networks import crown_rows, points_in, violations


def chain(scales: Sequence[float], seed: int, *, bias: float = 1.0, slope: float = 0.3, width: int = 4) -> Network:
    """A leaky network whose layers have these scales; biases follow the sizes, so that some neurons are stable."""
    rng = np.random.default_rng(seed)
    widths = [3, *[width] * (len(scales) - 1), 2]
    layers, size = [], 1.0
    for (n, m), scale in zip(pairwise(widths), scales, strict=True):
        size = min(max(size * scale, 1e-300), 1e300)
        layers.append((rng.standard_normal((m, n)) * scale, bias * size * rng.standard_normal(m)))
    return Network.from_layers(layers, "leaky_relu", slope=slope)


def broken(network: Network, region: Ball, count: int = 2) -> list[str]:
    """Node values, combined outputs and Jacobian entries outside their bounds, with folding and without."""
    rows = np.concatenate([np.eye(network.output_size), np.linspace(-1.3, 0.7, network.output_size)[None]])
    exact = ExactNetwork(network)
    points = points_in(region, count, np.random.default_rng(0))
    wrong: list[str] = []
    for fold in (True, False):
        enclosure = enclose(network, region, fold=fold)
        margins = crown_rows(enclosure, rows)
        bounds = {(m, o): bound_rows(enclosure, rows, m, o) for m in METHODS for o in ("backward", "forward")}
        for x in points:
            values = exact.values(x)
            wrong += ["node " + v for v in violations(enclosure.lower, values, enclosure.upper)]
            out = [
                sum(Fraction(float(c)) * v for c, v in zip(row, values[network.output], strict=True)) for row in rows
            ]
            wrong += ["row " + v for v in violations(margins[0], out, margins[1])]
            jacobian = exact.jacobian(x, rows)
            for (method, order), b in bounds.items():
                wrong += [f"{method} {order} {v}" for v in violations(b.lower, jacobian, b.upper)]
    return wrong


DOUBLE_SCALES = [
    [1e140, 1e-165, 1.0], [1e-165, 1e140, 1e-165], [1e-150, 1e150, 1.0], [1e150, 1e-150, 1e150], [1e-150] * 2,
    [1e-200, 1e300, 1e-200], [1e-160, 1e-160, 1e160, 1e160], [1e150, 1e-300, 1e150, 1.0], [1e-310, 1e300, 1.0],
    [1.0, 1e-163, 1e163, 1.0], [1e155, 1.0, 1e-155],
]  # fmt: skip
SINGLE_SCALES = [
    [1e-12, 1.0, 1e12], [1e-13, 1e-13, 1e20], [1e-25, 1.0, 1.0], [1e-23, 1e23, 1.0, 1.0], [1.0, 1e-24, 1e-20, 1e30],
    [1e-46, 1e46, 1.0], [1.0, 1e-50, 1e50], [1e-38, 1.0, 1e38], [1e25, 1e-25, 1.0], [1e-45, 1e-45], [1e30, 1e-40, 1e10],
    [1e-150, 1e150, 1.0],
]  # fmt: skip


@pytest.mark.parametrize("slope", [0.3, 0.0])
@pytest.mark.parametrize("scales", DOUBLE_SCALES, ids=str)
def test_layers_of_any_scale(scales: list[float], slope: float) -> None:
    for seed in range(4):
        network = chain(scales, seed, slope=slope, bias=[0.0, 1.0, 10.0, 1.0][seed])
        for eps in (0.0, 1e-3, 0.5):
            assert not broken(network, Ball(np.array([0.3, 0.7, -0.2]), eps))


@pytest.mark.parametrize("slope", [0.3, 0.0])
@pytest.mark.parametrize("scales", SINGLE_SCALES, ids=str)
def test_layers_of_any_scale_in_single_precision(scales: list[float], slope: float) -> None:
    for seed in range(4):
        network = chain(scales, seed, slope=slope, bias=[0.0, 1.0, 10.0, 1.0][seed]).in_precision("float32")
        for eps in (0.0, 1e-3, 0.5):
            assert not broken(network, Ball(np.array([0.3, 0.7, -0.2]), eps))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("scale", [1e-12, 1e-24, 1e-30])
def test_folded_products_of_small_numbers(scale: float, precision: str) -> None:
    """Every neuron is stable: the layers are one product, whose rounding must be carried however small its factors."""
    rng = np.random.default_rng(1)
    layers = [(rng.standard_normal((30, 12)) * scale, np.full(30, 50 * scale))]
    layers += [(rng.standard_normal((30, 30)), np.full(30, 3e3 * scale)), (rng.standard_normal((10, 30)), np.zeros(10))]
    network = Network.from_layers(layers, "relu").in_precision(precision)
    assert not broken(network, Ball(rng.uniform(0.0, 1.0, 12), 1e-3), count=1)


@pytest.mark.parametrize("scale", [1e-46, 1e-60, 1e-200])
def test_weights_below_single_precision_still_count(scale: float) -> None:
    """f = 1.1 - w x / scale turns at 1.1, whatever single precision makes of the weight."""
    network = Network.from_layers(
        [(np.array([[scale]]), np.zeros(1)), (np.array([[-1.0 / scale], [0.0]]), np.array([1.1, 0.0]))], "identity"
    ).in_precision("float32")
    assert dv.certified_radius(network, np.zeros(1), 0).radius <= 1.1
    single = Network.from_layers([(np.array([[-scale], [0.0]]), np.array([1.1 * scale, 0.0]))]).in_precision("float32")
    assert dv.certified_radius(single, np.zeros(1), 0).radius <= 1.1


def test_rows_that_single_precision_cannot_hold() -> None:
    network = chain([1.0, 1.0, 1.0], 3).in_precision("float32")
    region = Ball(np.zeros(3), 0.0)
    rows = np.array([[1e-50, 0.0], [1.0 + 1e-9, -1.0], [1e-46, 1e-46]])
    lower, upper = crown_rows(enclose(network, region), rows)
    values = ExactNetwork(network)([Fraction(0)] * 3)
    truth = [sum(Fraction(float(c)) * v for c, v in zip(row, values, strict=True)) for row in rows]
    assert not violations(lower, truth, upper)


def test_gamma_of_more_terms_than_its_formula_allows() -> None:
    assert SINGLE.gamma(2**24) == math.inf
    assert SINGLE.gamma(2**24 - 2) == math.inf
    assert SINGLE.gamma(2**25) == math.inf
    assert 0.0 < SINGLE.gamma(2**23) < 2.0
    for rounding in BY_PRECISION.values():
        for terms in (1, 1000, 2**20):
            n = (terms + 1) * Fraction(rounding.unit)
            assert Fraction(rounding.gamma(terms)) >= n / (1 - n)
    assert SOUND.gamma(2**24) < 1e-8


OVERFLOWING = [
    np.array([[1e308, 1e308, -1.5e308]]), np.array([[-1e308, -1e308, 1.5e308]]), np.array([[1.7e308, 1.7e308, 1.0]]),
    np.array([[9e307, 9e307, -1.7e308]]),
]  # fmt: skip


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("weight", OVERFLOWING, ids=["up", "down", "far", "half"])
@pytest.mark.parametrize("hidden", [False, True])
def test_sums_that_overflow(weight: np.ndarray, hidden: bool, precision: str) -> None:
    """A sum of finite terms may overflow on its way to a finite value: nothing is known then, in either direction."""
    layers = [(np.eye(3), np.zeros(3)), (weight, np.zeros(1))] if hidden else [(weight, np.zeros(1))]
    network = Network.from_layers(layers, "relu").in_precision(precision)
    for eps in (0.0, 0.25):
        assert not broken(network, Ball(np.ones(3), eps))


def test_derivatives_that_overflow_have_no_sign() -> None:
    """J = 1e308 + 1e308 - 3e308 < 0, in an order of summation that overflows upwards first."""
    weight = np.concatenate([np.full((1, 8), 1e308), np.full((1, 8), -1.5e308)], axis=1)
    network = Network.from_layers([(np.ones((16, 1)), np.ones(16)), (weight, np.zeros(1))], "relu")
    for method in METHODS:
        bounds = dv.jacobian_bounds(network, Ball(np.array([0.5]), 0.1), method=method)
        assert bounds.lower[0, 0] < 0.0, method
        assert bounds.lower[0, 0] <= -4e308


@pytest.mark.parametrize("norm", [math.inf, 2.0, 1.0])
@pytest.mark.parametrize("scales", [(1e-200, 1e300, 1e-200), (1e-200, 1e-200, 1e300), (1e-160, 1e-160, 1e-3)], ids=str)
def test_products_of_norms_that_underflow(scales: tuple[float, ...], norm: float) -> None:
    network = Network.from_layers([(np.array([[s]]), np.array([s])) for s in scales], "relu")
    truth = math.prod(Fraction(s) for s in scales)
    constants = lipschitz_constant(network, Ball(np.array([0.5]), 0.1, norm))
    assert Fraction(float(constants.vector)) >= truth
    assert Fraction(float(constants.rows[0])) >= truth
    assert constants.vector <= 1e-20


def test_growth_of_products_of_norms() -> None:
    """Each product rounds down: without growth the bound is below the exact product."""
    rng = np.random.default_rng(0)
    below = 0
    for _ in range(40):
        builder = NetworkBuilder((1,))
        node, truth, plain = 0, Fraction(1), 1.0
        for i in range(6):
            factor = float(rng.uniform(1.0, 2.0))
            truth, plain = truth * Fraction(factor), plain * factor
            node = builder.linear(f"z{i}", [(node, Diagonal(np.array([factor])))], np.ones(1))
            node = builder.activation(f"a{i}", node, "relu")
        network = builder.build(node)
        below += Fraction(plain) < truth
        for norm in (math.inf, 2.0, 1.0):
            constants = lipschitz_constant(network, Ball(np.ones(1), 0.1, norm))
            assert Fraction(constants.vector) >= truth
    assert below > 5


@pytest.mark.parametrize("norm", [math.inf, 2.0])
@pytest.mark.parametrize("scale", [1.0, 1e-307, 1e150, 5e-324])
def test_row_constants_are_not_below_the_exact_norm(norm: float, scale: float) -> None:
    """Sums of exact magnitudes that round down: without growth half of them would be below."""
    rng = np.random.default_rng(0)
    below = 0
    for _ in range(40):
        entries = rng.uniform(0.5, 1.0, (1, 7)) * scale if scale > 1e-300 else rng.integers(1, 9, (1, 7)) * scale
        constant = float(row_constants(RowBounds(-entries, entries), norm)[0])
        exact = [Fraction(float(v)) for v in entries[0]]
        if norm == math.inf:
            truth, plain = sum(exact), float(entries.sum())
            assert Fraction(constant) >= truth
            below += Fraction(plain) < truth
        else:
            assert Fraction(constant) ** 2 >= sum(v * v for v in exact)
            below += Fraction(float(np.linalg.norm(entries))) ** 2 < sum(v * v for v in exact)
    assert below > 3 or scale < 1e-300


@pytest.mark.parametrize("seed", range(5))
def test_weighted_row_constants(seed: int) -> None:
    """Weights of features may underflow in their product, and be none that single precision holds."""
    rng = np.random.default_rng(seed)
    weights = 10.0 ** rng.uniform(-30, 3, 3)
    network = chain([1.0, 1.0], seed, width=5).in_precision("float32" if seed % 2 else "float64")
    region = Ball(rng.uniform(0, 1, 3), 1e-3, feature_eps=weights)
    constants = lipschitz_constant(network, region)
    exact = ExactNetwork(network)
    for x in points_in(region, 3, rng):
        for k, row in enumerate(exact.jacobian(x)):
            truth = sum(abs(v) * Fraction(w) for v, w in zip(row, weights.tolist(), strict=True))
            assert Fraction(float(constants.rows[k])) >= truth


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("weights", ["ordinary", "small", "one term"])
def test_edges_in_single_precision_are_as_exact_as_their_products_say(weights: str, fold: bool) -> None:
    """What the reduced network notes of its products covers all that happened to its weights, the first rounding included."""
    rng = np.random.default_rng(7)
    scale = 1e-44 if weights == "small" else 1.0
    first = rng.standard_normal((6, 4)) * scale
    second = rng.standard_normal((3, 6))
    if weights == "one term":
        second[:] = 0.0
        second[:, 2] = [1.1, -0.3, 0.7]
    builder = NetworkBuilder((4,))
    middle = builder.linear("middle", [(0, Dense(first))])
    out = builder.linear("out", [(middle, Dense(second))] if fold else [(0, Dense(second[:, :4]))])
    network = builder.build(out).in_precision("float32")
    reduced = enclose(network, Ball(np.zeros(4), 1.0), fold=fold).reduced
    assert reduced.output is not None
    edge = reduced.output.edges[0].weight
    assert edge.dtype == np.float32
    exact = [[Fraction(float(v)) for v in row] for row in second[:, : 6 if fold else 4]]
    inner = [[Fraction(float(v)) for v in row] for row in first]
    wrong = 0
    for r, row in enumerate(exact):
        for c in range(4):
            truth = sum(w * inner[k][c] for k, w in enumerate(row)) if fold else row[c]
            # An error of the earlier product passes on through |W|.
            said = Fraction(0)
            for p in reduced.products:
                operator, norm = np.abs(p.operator.rows()), Fraction(float(p.column_norms[0][c]))
                reach = Fraction(1) if p.node == out else sum(abs(w) for w in row)
                size = sum(Fraction(float(v)) ** 2 for v in operator.max(axis=0)[p.stable])
                bound = Fraction(p.gamma) * Fraction(math.sqrt(size) * 1.001 + 1e-300) * norm + Fraction(p.underflow)
                said += reach * (bound + Fraction(p.factor_underflow) * norm)
            difference = abs(Fraction(float(edge[r, c])) - truth)
            wrong += difference > 0
            assert difference <= said
    assert wrong >= 3


@pytest.mark.parametrize("precision", PRECISIONS)
def test_points_on_kinks(precision: str) -> None:
    """All pre-activations of the first layer are 0 at the centre, and on whole faces of the ball."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        first = rng.integers(-2, 3, (5, 3)).astype(float)
        layers = [
            (first, np.zeros(5)),
            (rng.standard_normal((4, 5)), np.zeros(4)),
            (rng.standard_normal((2, 4)), np.zeros(2)),
        ]
        for kind, slope in (("relu", None), ("leaky_relu", -0.5)):
            network = Network.from_layers(layers, kind, slope=slope).in_precision(precision)
            assert not broken(network, Ball(np.zeros(3), 0.0))
            assert not broken(network, Ball(np.zeros(3), 0.5))
            assert not broken(network, Ball(np.full(3, 0.25), 0.25))
            # Any element of the Clarke Jacobian: every neuron on, off, or between.
            bounds = dv.jacobian_bounds(network, Ball(np.zeros(3), 0.0))
            on = network.nodes[2].parameters[0]
            for _ in range(20):
                d1, d2 = (on[0] + (1.0 - on[0]) * rng.choice([0.0, 0.3, 1.0], n) for n in (5, 4))
                clarke = layers[2][0] * d2 @ layers[1][0] * d1 @ first
                assert (bounds.lower <= clarke + 1e-9).all()
                assert (clarke <= bounds.upper + 1e-9).all()


@pytest.mark.parametrize("scale", [1e-150, 1e-60, 1e60, 1e150])
@pytest.mark.parametrize("norm", [math.inf, 2.0, 1.0])
def test_certified_radii_at_any_scale(scale: float, norm: float) -> None:
    """f = (c - w x, 0) turns at c / ||w||_q: the radius is below, in any units of the input and of the output."""
    for other in (1.0, 1e-150, 1e150):
        w, c = np.array([3.0, -4.0]), 2.0
        if not 1e-290 < other * c / scale < 1e290 or not 1e-290 < other / scale < 1e290:
            continue
        weight = np.stack([-w * (other / scale), np.zeros(2)])
        network = Network.from_layers([(weight, np.array([c * other, 0.0]))])
        q = {math.inf: 7.0, 2.0: 5.0, 1.0: 4.0}[norm]
        radius = dv.certified_radius(network, np.zeros(2), 0, norm=norm).radius
        assert radius <= c * scale / q * (1.0 + 1e-12)
        assert radius >= 0.99 * min(c * scale / q, 1e6)


@pytest.mark.parametrize("kind", ["tanh", "sigmoid", "softplus", "elu", "relu", "silu", "sin"])
@pytest.mark.parametrize("scale", [1.0, 1e-100, 1e-160, 1e-200])
def test_stationary_free_radii_of_the_smallest_networks(kind: str, scale: float) -> None:
    """One neuron: derivatives that never vanish, some too small for their squares."""
    for bias in (0.0, 0.3, -5.0, 40.0):
        network = Network.from_layers([(np.array([[1.0]]), np.array([bias])), (np.array([[scale]]), np.zeros(1))], kind)
        radii = dv.stationary_free_radius(network, np.array([0.1]))
        assert radii.shape == (1,)
        assert radii[0] >= 0.0
        if kind == "silu":
            assert radii[0] <= abs(-1.2784645427610738 - bias - 0.1)
        elif kind == "sin":
            nearest = min(abs(math.pi * (k + 0.5) - bias - 0.1) for k in range(-5, 20))
            assert radii[0] <= nearest
        elif kind == "relu":
            assert radii[0] <= max(bias + 0.1, 0.0)
        elif abs(bias) < 1.0:
            assert radii[0] > 5.0
