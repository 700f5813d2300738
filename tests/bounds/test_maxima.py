"""Maxima of two values, and pools of them: what is known beyond the ReLUs that they are written out with."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distverify import load_network
from distverify.bounds import pulled_reduction
from distverify.bounds.coefficients import pulled_through, sums
from distverify.bounds.enclosure import enclose
from distverify.bounds.entries import Entries
from distverify.bounds.evaluation import EvaluationError
from distverify.bounds.methods import bound_rows
from distverify.bounds.windows import Windows
from distverify.network.graph import Network, NetworkBuilder
from distverify.network.linear.dense import Dense
from distverify.network.linear.sparse import Sparse, selection
from distverify.network.nodes import Term
from distverify.network.onnx.importer import load_onnx
from distverify.questions.bounder import Bounder
from distverify.region import Ball
from tests.exact import ExactNetwork
from tests.network.onnx_models import model, node, save
from tests.networks import points_in

METHODS = ("linear", "recurjac", "fastlip")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """Convolution, ReLU, pool, convolution, overlapping pool, pool of all: on 1 x 8 x 8; the second channel is 0 nearly everywhere."""
    rng = np.random.default_rng(3)
    constants = {
        "w": rng.standard_normal((3, 1, 3, 3)) * 0.4, "b": np.array([0.5, -1.2, 0.1]), "v": rng.standard_normal((2, 3, 2, 2)),
        "c": np.array([0.3, -0.2]), "d": rng.standard_normal((2, 3)),
    }  # fmt: skip
    nodes = [
        node("Conv", "x w b", "z", pads=[1, 1, 1, 1]), node("Relu", "z", "r"),
        node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]), node("Conv", "p v c", "y", pads=[1, 1, 0, 0]),
        node("MaxPool", "y", "q", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), node("GlobalMaxPool", "q", "g"),
        node("Flatten", "g", "f"), node("MatMul", "f d", "o"),
    ]  # fmt: skip
    proto = model(nodes, constants, shape=(1, 1, 8, 8), output="o")
    return load_onnx(save(proto, tmp_path_factory.mktemp("pools")))


def point() -> np.ndarray:
    """An image whose lower half is flat."""
    x = np.random.default_rng(5).random((8, 8))
    x[4:] = 0.25
    return x.reshape(-1)


@pytest.mark.parametrize("eps", [0.0, 0.004, 0.05])
def test_pools_hold_in_rational_arithmetic(network: Network, eps: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """In both precisions, with whole maps and with rows that are pulled."""
    assert len(network.maxima) >= 6
    region, found = Ball(point(), eps), []
    for least in (0, 2**60):
        monkeypatch.setattr(pulled_reduction, "LEAST_ENTRIES", least)
        found += [enclose(network.in_precision(precision), region) for precision in ("float64", "float32")]
    exact = ExactNetwork(network)
    bounds = [bound_rows(enclosure, np.eye(3), method) for enclosure in found for method in METHODS]
    for x in points_in(region, 1, np.random.default_rng(1)):
        at = [Fraction(float(v)) for v in x]
        pairs = [
            (values, enclosure.lower[i], enclosure.upper[i])
            for i, values in enumerate(exact.values(at))
            for enclosure in found
        ]
        pairs += [(row, b.lower[k], b.upper[k]) for k, row in enumerate(exact.jacobian(at)) for b in bounds]
        for values, lower, upper in pairs:
            for value, low, high in zip(values, lower, upper, strict=True):
                assert low == -np.inf or Fraction(float(low)) <= value
                assert high == np.inf or value <= Fraction(float(high))


def test_what_is_zero_all_over_the_ball_is_settled(network: Network) -> None:
    """Both parts 0, or one of them 0 and the other one never negative: no ReLU of the pool is open, nor at its kink."""
    enclosure = enclose(network, Ball(point(), 1e-4))
    first = network.maxima[0]
    lower, upper = enclosure.lower[first.difference], enclosure.upper[first.difference]
    touching = (lower == 0.0) | (upper == 0.0)
    assert ((lower == 0.0) & (upper == 0.0)).sum() > 4
    glo, ghi = enclosure.slopes[first.rise]
    assert (glo[touching] == ghi[touching]).all()
    bounder = Bounder(network)
    asked = bounder.enclose(Ball(point(), 1e-4))
    for index, (low, high) in asked.slopes.items():
        assert np.array_equal(low, enclosure.slopes[index][0])
        assert np.array_equal(high, enclosure.slopes[index][1])


def test_a_maximum_is_bounded_by_its_parts() -> None:
    """Of x and y in [-1, 1] the larger one is in [-1, 1]; the sum of x and relu(y - x) only in [-1, 3]."""
    builder = NetworkBuilder((2,))
    first, second = selection(np.array([0]), 2), selection(np.array([1]), 2)
    rise = builder.linear("d", [Term(0, Sparse(second.matrix - first.matrix))])
    positive = builder.activation("relu", rise, "relu")
    larger = builder.linear("max", [Term(0, first), Term(positive, selection(np.array([0]), 1))])
    network = builder.build(builder.linear("out", [Term(larger, Dense(np.ones((1, 1))))]))
    enclosure = enclose(network, Ball(np.zeros(2), 1.0), "interval")
    place = network.maxima[0].node
    assert (enclosure.lower[place], enclosure.upper[place]) == (-1.0, 1.0)


def test_differences_are_exact_or_rounded_outwards(network: Network) -> None:
    found = network.maxima[0]
    rng = np.random.default_rng(2)
    lower = rng.standard_normal(network.nodes[found.source].size) * 10.0 ** rng.integers(-20, 20, 192)
    upper = lower + np.abs(rng.standard_normal(192))
    low, high = found.differences(lower, upper)
    for k, (a, b) in enumerate(zip(found.above, found.below, strict=True)):
        least, most = Fraction(lower[a]) - Fraction(upper[b]), Fraction(upper[a]) - Fraction(lower[b])
        assert (
            Fraction(np.nextafter(low[k], -np.inf))
            <= Fraction(low[k])
            <= least
            <= Fraction(np.nextafter(low[k], np.inf))
        )
        assert Fraction(np.nextafter(high[k], -np.inf)) <= most <= Fraction(high[k])


def test_pools_add_no_error_of_evaluation(network: Network, tmp_path: Path) -> None:
    """A runtime takes the largest value without rounding: what its parts are off by is all."""
    x, eps = point(), 0.01
    enclosure = enclose(network, Ball(x, eps))
    error = EvaluationError(network).error(Ball(x, eps), enclosure.linear_bounds)
    plain = NetworkBuilder(network.input_shape)
    plain.nodes[1:] = [n if not getattr(n, "at_once", False) else replace(n, at_once=False) for n in network.nodes[1:]]
    summed = EvaluationError(plain.build(network.output)).error(Ball(x, eps), enclosure.linear_bounds)
    assert (error > 0.0).all()
    assert (error < 0.2 * summed).all()
    network.save(tmp_path / "pools.npz")
    saved = EvaluationError(load_network(tmp_path / "pools.npz"))
    assert np.array_equal(saved.error(Ball(x, eps), enclosure.linear_bounds), error)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_few_entries_are_what_whole_rows_are(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    image = (3, 6, 5)
    rows = np.zeros((7, 90), dtype)
    places = np.ravel_multi_index(
        (rng.integers(0, 3, (7, 3)), rng.integers(1, 4, (7, 3)), rng.integers(2, 5, (7, 3))), image
    )
    rows[np.arange(7)[:, None], places] = rng.integers(1, 9, (7, 3))
    rows[4] = 0.0
    few = Entries.of_windows(Windows.of_rows(rows, image))
    assert few.few
    assert (few.rows() == rows).all()
    held = few.windows(image)
    assert held.values.shape[1:3] == (3, 3)
    assert (held.rows() == rows).all()
    operator = selection(rng.integers(0, 40, (90, 2)), 40)
    through = pulled_through(operator, few)
    assert isinstance(through, Entries)
    assert (through.rows() == rows @ operator.rows()).all()
    assert (few.plus(few).rows() == 2 * rows).all()
    slope, magnitude = np.where(np.arange(90) % 3, 0.5, 0.0), rng.random(90)
    product, spread = few.scaled(slope, magnitude)
    assert (product.rows() == rows * slope).all()
    assert spread == pytest.approx(np.abs(rows * slope) @ np.where(slope == 0.5, magnitude, 0.0))
    for one, other in zip(sums(few, slope, magnitude), sums(rows.astype(np.float64), slope, magnitude), strict=True):
        assert one == pytest.approx(other)
    which = np.arange(0, 90, 2)
    assert (few.columns(which).toarray() == rows[:, which]).all()
    assert (few.take(np.array([1, 4])).rows() == rows[[1, 4]]).all()
