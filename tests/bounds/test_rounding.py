"""Networks on which float64 without rounding terms is wrong: each must fail with them ignored, and hold with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from distverify.bounds.crown import combine
from distverify.bounds.enclosure import enclose
from distverify.bounds.methods import bound_rows
from distverify.kernels.interval import close_bounds
from distverify.kernels.rounding import IGNORED, SOUND, Rounding
from distverify.network.graph import Network, NetworkBuilder
from distverify.network.linear.dense import Dense
from distverify.region import Ball
from distverify.settings import LAYER_BOUNDS, METHODS
from tests.exact import ExactNetwork
from tests.networks import WAYS, crown_rows, enclose_by, points_in, violations

Case = tuple[Network, Ball]


def cancelling_weights() -> Case:
    """Layers of 1e8 whose products cancel to what is left of 1."""
    rng = np.random.default_rng(0)
    big = rng.uniform(0.5, 1.0, (6, 4)) * 1e8
    first = np.concatenate([big, -big + rng.standard_normal((6, 4))])
    second = np.concatenate([np.eye(6), np.eye(6)], axis=1) + 1e-9 * rng.standard_normal((6, 12))
    layers = [
        (first, np.full(12, 3e9)),
        (1e8 * second, np.full(6, 1.0)),
        (rng.standard_normal((2, 6)) * 1e8, np.zeros(2)),
    ]
    return Network.from_layers(layers, "leaky_relu", slope=0.3), Ball(rng.uniform(0.1, 1.0, 4), 1e-3)


def thousands_of_terms() -> Case:
    """Inner products of more than a thousand terms of both signs, at a point."""
    rng = np.random.default_rng(1)
    layers = [
        (rng.standard_normal((3, 1200)), rng.standard_normal(3)),
        (rng.standard_normal((3, 3)), np.zeros(3)),
        (rng.standard_normal((2, 3)), np.zeros(2)),
    ]
    return Network.from_layers(layers, "relu"), Ball(rng.uniform(0, 1, 1200), 0.0)


def wide_hidden_layers() -> Case:
    """Jacobian entries that are sums over hundreds of hidden neurons, with large terms that cancel."""
    rng = np.random.default_rng(2)
    w1 = rng.standard_normal((200, 2)) * 1e6
    half = rng.standard_normal((20, 100))
    layers = [
        (w1, np.full(200, 1e8)),
        (np.concatenate([half, -half + 1e-6 * rng.standard_normal((20, 100))], axis=1), np.full(20, 1e12)),
        (rng.standard_normal((2, 20)), np.zeros(2)),
    ]
    return Network.from_layers(layers, "relu"), Ball(np.array([0.3, 0.7]), 1e-12)


def tiny_radius() -> Case:
    """A radius of 1e-12 around numbers of order one: the centre's own rounding is all that counts."""
    rng = np.random.default_rng(3)
    layers = [(rng.standard_normal((8, 8)), rng.standard_normal(8)) for _ in range(4)]
    return Network.from_layers([*layers, (rng.standard_normal((3, 8)), np.zeros(3))], "relu"), Ball(
        rng.uniform(0, 1, 8), 1e-12
    )


def residual_cancellation() -> Case:
    """Two branches of a residual block that cancel almost completely, block after block."""
    rng = np.random.default_rng(4)
    builder = NetworkBuilder((3,))
    node = builder.activation(
        "a", builder.linear("z", [(0, Dense(rng.standard_normal((5, 3))))], np.full(5, 3.0)), "relu"
    )
    for i in range(3):
        weight = rng.standard_normal((5, 5)) * 1e7
        up = builder.linear(f"up{i}", [(node, Dense(weight))], rng.standard_normal(5))
        down = builder.linear(f"down{i}", [(node, Dense(-weight + rng.standard_normal((5, 5))))])
        joined = builder.linear(f"join{i}", [builder.skip(up), builder.skip(down), builder.skip(node)])
        node = builder.activation(f"act{i}", joined, "leaky_relu", {"slope": 0.3})
    out = builder.linear("out", [(node, Dense(rng.standard_normal((2, 5))))])
    return builder.build(out), Ball(rng.uniform(0, 1, 3), 1e-9)


def same_source_cancellation() -> Case:
    """One node reads the input three times; the large weights cancel in the sum: 1e17 x + x - 1e17 x."""
    builder = NetworkBuilder((2,))
    eye = np.eye(2)
    terms = [(0, Dense(1e17 * eye)), (0, Dense(0.7 * eye)), (0, Dense(-1e17 * eye))]
    act = builder.activation("act", builder.linear("sum", terms, np.full(2, 0.5)), "leaky_relu", {"slope": 0.3})
    return builder.build(builder.linear("out", [(act, Dense(np.array([[1.0, 2.0]])))])), Ball(
        np.array([0.4, 0.9]), 0.01
    )


def many_identity_terms() -> Case:
    """A node that adds the same value a thousand times: one rounding error for each addition."""
    builder = NetworkBuilder((1,))
    hidden = builder.activation("h", builder.linear("in", [(0, Dense(np.array([[0.1]])))], np.array([0.3])), "relu")
    total = builder.linear("sum", [builder.skip(hidden)] * 1000)
    act = builder.activation("act", total, "leaky_relu", {"slope": 0.3})
    return builder.build(builder.linear("out", [(act, Dense(np.array([[0.7]])))])), Ball(np.array([0.1]), 1e-16)


TRAPS = [
    cancelling_weights,
    pytest.param(thousands_of_terms, marks=pytest.mark.slow),
    pytest.param(wide_hidden_layers, marks=pytest.mark.slow),
    tiny_radius,
    residual_cancellation,
    same_source_cancellation,
    many_identity_terms,
]


def broken(case: Case, rounding: Rounding, layer_bounds: str) -> list[str]:
    """What does not hold, with stable neurons multiplied out and without."""
    return [v for way in WAYS for v in broken_if(way, case, rounding, layer_bounds)]


def broken_if(way: str, case: Case, rounding: Rounding, layer_bounds: str) -> list[str]:
    """What does not hold: nodes, combinations of outputs, Jacobian entries, at the centre and at extreme points."""
    network, region = case
    rows = np.concatenate([np.eye(network.output_size), np.linspace(-1.3, 0.7, network.output_size)[None]])
    enclosure = enclose_by(way, network, region, layer_bounds, rounding)
    margins = crown_rows(enclosure, rows)
    orders = ("backward", "forward")
    bounds = {(m, order): bound_rows(enclosure, rows, m, order) for m in METHODS for order in orders}
    exact = ExactNetwork(network)
    found: list[str] = []
    for x in points_in(region, 2, np.random.default_rng(0)):
        values = exact.values(x)
        found += ["node " + v for v in violations(enclosure.lower, values, enclosure.upper)]
        out = values[network.output]
        combined = [sum(Fraction(float(c)) * v for c, v in zip(row, out, strict=True)) for row in rows]
        found += ["row " + v for v in violations(margins[0], combined, margins[1])]
        jacobian = exact.jacobian(x, rows)
        for method, b in bounds.items():
            found += [f"{method} {v}" for v in violations(b.lower, jacobian, b.upper)]
    return found


@pytest.mark.parametrize("layer_bounds", LAYER_BOUNDS)
@pytest.mark.parametrize("trap", TRAPS)
def test_rounding_terms_are_needed_and_suffice(trap: Callable[[], Case], layer_bounds: str) -> None:
    case = trap()
    if layer_bounds == "crown":
        assert broken(case, IGNORED, layer_bounds), "the trap catches nothing: without rounding terms it must fail"
    assert not broken(case, SOUND, layer_bounds)


def underflow_between_layers() -> Case:
    """Two weights of 1e-200 whose product underflows, and one of 1e300 that brings it back: a derivative of 1e-100."""
    layers = [([[1e-200]], [1.0]), ([[1e-200]], [1.0]), ([[1e300]], [0.0])]
    return Network.from_layers(layers, "relu"), Ball(np.array([0.5]), 0.1)


def subnormal_weights() -> Case:
    """Weights and biases among the subnormal numbers."""
    layers = [
        ([[3e-310, -2e-320], [5e-324, 1e-308]], [1e-309, 5e-324]),
        ([[1.0, 0.3], [0.7, -0.1]], [0.0, 1e-320]),
    ]
    return Network.from_layers(layers, "leaky_relu", slope=0.3), Ball(np.array([0.7, 0.1]), 0.3)


@pytest.mark.parametrize("norm", [math.inf, 2.0, 1.0])
@pytest.mark.parametrize("trap", [underflow_between_layers, subnormal_weights])
def test_underflow(trap: Callable[[], Case], norm: float) -> None:
    network, region = trap()
    assert not broken((network, Ball(region.x0, region.eps, norm)), SOUND, "crown")


@pytest.mark.parametrize("scale", [1e150, 1e200, 1e307])
def test_overflow_is_never_a_wrong_number(scale: float) -> None:
    rng = np.random.default_rng(5)
    layers = [(scale * rng.standard_normal((3, 2)), np.zeros(3))]
    layers += [(scale * rng.standard_normal((3, 3)), np.zeros(3)), (rng.standard_normal((2, 3)), np.zeros(2))]
    network, region = Network.from_layers(layers, "relu"), Ball(np.array([0.3, 0.4]), 0.1)
    exact = ExactNetwork(network)
    with np.errstate(over="ignore", invalid="ignore"):
        enclosure = enclose(network, region)
        bounds = {method: bound_rows(enclosure, np.eye(2), method) for method in METHODS}
    for x in points_in(region, 2, rng):
        values, jacobian = exact.values(x), exact.jacobian(x)
        assert not violations(enclosure.lower, values, enclosure.upper)
        for method, b in bounds.items():
            for lo, truth, up in zip(b.lower.flat, np.array(jacobian, dtype=object).flat, b.upper.flat, strict=True):
                assert math.isnan(lo) or lo <= truth, method
                assert math.isnan(up) or truth <= up, method


def test_rows_that_are_rounded_note_what_that_misses() -> None:
    """Rows brought to single precision are other rows: what lies between them counts against the outputs' sizes."""
    layers = [(np.array([[1e6, 1.0], [0.5, 2.0]]), np.array([3.0, -1e5]))]
    network = Network.from_layers(layers).in_precision("float32")
    reduced = enclose(network, Ball(np.ones(2), 0.1)).reduced
    rows = np.array([[0.1, 1.0], [1.0, -1.0 / 3.0]])
    near = rows.astype(np.float32).astype(np.float64)
    assert reduced.output is not None
    missed = np.abs(rows - near) @ reduced.output.size
    told, without = combine(reduced, rows), combine(reduced, near)
    assert (missed > 0.0).all()
    assert (told.error - without.error >= 0.999 * missed).all()
    assert (told.size - without.size >= 0.999 * missed).all()


def test_what_overflowed_inwards_is_no_bound() -> None:
    lower, upper = SOUND.outward(np.array([np.inf, np.nan, 1.0]), np.array([-np.inf, np.nan, 2.0]))
    assert lower[:2].tolist() == [-np.inf, -np.inf]
    assert upper[:2].tolist() == [np.inf, np.inf]
    assert lower[2] < 1.0 < 2.0 < upper[2]
    constant, error = np.array([-np.inf, np.nan, 2.0, np.inf, np.nan, 1.0]), np.zeros(6)
    for tiny in (0.0, 1e-300):
        low, high = np.empty(3), np.empty(3)
        close_bounds(constant, error, 3, tiny, low, high)
        assert low[:2].tolist() == [-np.inf, -np.inf]
        assert high[:2].tolist() == [np.inf, np.inf]
        assert low[2] <= 1.0 <= 2.0 <= high[2]
