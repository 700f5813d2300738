"""Rows as windows of images against whole rows, and rows that are left where intervals settle them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distverify.bounds.coefficients import pulled_through, row_cost
from distverify.bounds.enclosure import enclose
from distverify.bounds.methods import bound_rows
from distverify.bounds.pulled_reduction import PulledReduction
from distverify.bounds.windows import Windows
from distverify.kernels.convolution import Geometry
from distverify.network.graph import Network, NetworkBuilder
from distverify.network.linear.convolution import Convolution
from distverify.network.linear.dense import Dense
from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.sparse import Sparse
from distverify.region import Ball
from tests.exact import ExactNetwork
from tests.networks import NORMS, points_in, violations

# channels, height, width, outputs, kernel, strides, dilations, pads before and after
SHAPES = [
    (2, 6, 7, 3, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    (3, 7, 6, 2, (4, 4), (2, 2), (1, 1), (1, 1, 1, 1)),
    (1, 8, 9, 2, (3, 2), (2, 1), (2, 3), (0, 2, 3, 1)),
    (2, 3, 3, 2, (3, 3), (1, 1), (1, 1), (2, 2, 2, 2)),
    (1, 1, 9, 2, (1, 3), (1, 2), (1, 1), (0, 1, 0, 1)),
    (2, 6, 8, 2, (1, 1), (2, 3), (1, 1), (0, 0, 0, 0)),  # the last lines are not read
]


def convolution(shape: tuple[Any, ...], rng: np.random.Generator) -> Convolution:
    channels, height, width, outputs, kernel, strides, dilations, (top, left, bottom, right) = shape
    out = [
        (size + before + after - (k - 1) * d - 1) // s + 1
        for size, before, after, k, d, s in zip(
            (height, width), (top, left), (bottom, right), kernel, dilations, strides, strict=True
        )
    ]
    geometry = Geometry(1, channels, height, width, outputs, *out, *kernel, *strides, *dilations, top, left)
    return Convolution(rng.standard_normal((outputs, channels, *kernel)), geometry)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_of_a_convolution_are_its_windows(shape: tuple[Any, ...], dtype: Any) -> None:
    operator = convolution(shape, np.random.default_rng(0))
    which = np.arange(operator.out_size)
    windows = Windows.of_convolution(operator, which, dtype)
    assert (windows.rows() == operator.rows().astype(dtype)).all()
    some = which[1::3]
    columns = np.arange(0, operator.in_size, 2)
    found = windows.take(some).columns(columns)
    assert (found == operator.rows().astype(dtype)[some][:, columns]).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_windows_are_pulled_as_whole_rows_are(shape: tuple[Any, ...]) -> None:
    rng = np.random.default_rng(1)
    operator = convolution(shape, rng)
    image = operator.geometry.out_image
    matrix = operator.rows()
    later = convolution((image[0], *image[1:], 2, (2, 2) if image[1] > 1 else (1, 2), (1, 1), (1, 1), (0,) * 4), rng)
    start = Windows.of_convolution(later, np.arange(later.out_size), np.float64)
    assert start.through(operator).rows() == pytest.approx(later.rows() @ matrix, abs=1e-12)
    whole = rng.standard_normal((3, operator.out_size))
    assert operator.pull(whole) == pytest.approx(whole @ matrix, abs=1e-12)
    both = start.plus(Windows.of_rows(np.ones((later.out_size, operator.out_size)), image))
    assert both.rows() == pytest.approx(later.rows() + 1.0, abs=1e-15)
    joined = start.plus(start.copy().scaled(np.full(operator.out_size, 0.5), np.ones(operator.out_size))[0])
    assert joined.rows() == pytest.approx(1.5 * later.rows(), abs=1e-15)
    constant, size = rng.standard_normal((2, operator.out_size))
    found = start.sums(constant, np.abs(size))
    rows = later.rows()
    expected = rows @ constant, np.abs(rows) @ np.abs(constant), np.abs(rows) @ np.abs(size), np.abs(rows).sum(axis=1)
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-12)


def test_images_of_another_shape_are_laid_out_anew() -> None:
    rng = np.random.default_rng(2)
    first = convolution((1, 6, 4, 2, (1, 1), (1, 1), (1, 1), (0,) * 4), rng)
    later = convolution((4, 4, 3, 1, (2, 2), (1, 1), (1, 1), (0,) * 4), rng)
    start = Windows.of_convolution(later, np.arange(later.out_size), np.float64)
    through = pulled_through(first, start)
    assert isinstance(through, Windows)
    assert through.rows() == pytest.approx(later.rows() @ first.rows(), abs=1e-12)
    scale = rng.standard_normal(later.in_size)
    diagonal = pulled_through(Diagonal(scale), start)
    assert isinstance(diagonal, Windows)
    assert diagonal.rows() == pytest.approx(later.rows() * scale, abs=1e-12)
    assert start.rows() == pytest.approx(later.rows())


def residual(seed: int = 3) -> Network:
    """A convolution, a residual block with a strided branch on either side, and dense layers."""
    rng = np.random.default_rng(seed)
    builder = NetworkBuilder((2 * 6 * 6,))

    def relu(node: int) -> int:
        return builder.activation(f"relu{node}", node, "relu")

    def linear(source: int, operator: Any) -> int:
        return builder.linear(f"linear{source}", [(source, operator)], 0.3 * rng.standard_normal(operator.out_size))

    node = relu(linear(0, convolution((2, 6, 6, 3, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)), rng)))
    inner = relu(linear(node, convolution((3, 6, 6, 2, (3, 3), (2, 2), (1, 1), (1, 1, 1, 1)), rng)))
    branch = linear(inner, convolution((2, 3, 3, 2, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)), rng))
    side = linear(node, convolution((3, 6, 6, 2, (1, 1), (2, 2), (1, 1), (0,) * 4), rng))
    node = relu(builder.linear("join", [builder.skip(branch), builder.skip(side)]))
    node = relu(linear(node, Dense(rng.standard_normal((7, 18)) / 4)))
    return builder.build(linear(node, Dense(rng.standard_normal((3, 7)) / 2)))


@pytest.fixture
def rows_are_pulled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distverify.bounds.pulled_reduction.LEAST_ENTRIES", 0)
    monkeypatch.setattr("distverify.bounds.enclosure.SMALL_LAYER", 0)


@pytest.mark.usefixtures("rows_are_pulled")
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("norm", NORMS)
def test_bounds_hold_in_exact_arithmetic(precision: str, norm: float) -> None:
    """Rows that go to the input, and those that are settled on the way."""
    network, rng = residual(), np.random.default_rng(4)
    region = Ball(rng.uniform(0.0, 1.0, network.input_size), 0.02 if norm == np.inf else 0.1, norm)
    enclosure = enclose(network.in_precision(precision), region)
    jacobian = bound_rows(enclosure, np.eye(3), "linear", "backward")
    exact = ExactNetwork(enclosure.network)
    for point in points_in(region, 4, rng):
        values = exact.values(point)
        assert not violations(enclosure.lower, values, enclosure.upper)
    assert (jacobian.lower <= jacobian.upper).all()


@pytest.mark.usefixtures("rows_are_pulled")
@pytest.mark.parametrize("eps", [1e-3, 0.02, 0.1])
def test_rows_that_are_left_change_no_open_neuron(eps: float, monkeypatch: pytest.MonkeyPatch) -> None:
    network = residual()
    region = Ball(np.random.default_rng(5).uniform(0.0, 1.0, network.input_size), eps)
    early = enclose(network, region)
    monkeypatch.setattr(PulledReduction, "_leave_settled", lambda self, pulled, is_open: None)
    full = enclose(network, region)
    for index in early.slopes:
        assert (early.slopes[index][0] == full.slopes[index][0]).all()
        assert (early.slopes[index][1] == full.slopes[index][1]).all()
        free = early.slopes[index][0] != early.slopes[index][1]
        source = network.nodes[index].sources[0]
        assert early.lower[source][free] == pytest.approx(full.lower[source][free], abs=1e-12)
        assert early.upper[source][free] == pytest.approx(full.upper[source][free], abs=1e-12)


@pytest.mark.usefixtures("rows_are_pulled")
def test_settled_rows_are_pulled_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind layers that are straight over the region, rows are settled as soon as what cancels has met."""
    rng, builder, node = np.random.default_rng(7), NetworkBuilder((64,)), 0
    for layer, bias in enumerate((9.0, 30.0, 0.5)):
        operator = convolution((1 if layer == 0 else 2, 8, 8, 2, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)), rng)
        node = builder.linear(f"layer{layer}", [(node, operator)], bias + rng.standard_normal(128))
        node = builder.activation(f"relu{layer}", node, "relu")
    network = builder.build(builder.linear("out", [(node, Dense(rng.standard_normal((2, 128))))], np.zeros(2)))
    region, counts = Ball(rng.uniform(0.0, 1.0, 64), 0.05), []
    whole = PulledReduction.open_rows

    def counted(self: PulledReduction, index: int, node: Any, which: Any, *rest: Any) -> Any:
        answer = whole(self, index, node, which, *rest)
        counts.append((which.size, answer[0].size))
        return answer

    monkeypatch.setattr(PulledReduction, "open_rows", counted)
    enclosure = enclose(network, region)
    assert any(left < asked for asked, left in counts)
    exact = ExactNetwork(network)
    for point in points_in(region, 2, rng):
        assert not violations(enclosure.lower, exact.values(point), enclosure.upper)


def test_a_row_costs_what_its_windows_do() -> None:
    network = residual()
    first = row_cost(network, 1)
    assert (first.work, first.entries) == (0.0, 2 * 3 * 3)
    second = row_cost(network, 3)
    # A window of 3 x 3 x 3 through 3 x 3 x 2 weights, into one of 5 x 5 x 2.
    assert (second.work, second.entries) == (3.0 * 9 * 18, 50)


def test_edges_of_large_images_are_sparse() -> None:
    """A first layer's rows take the memory of their windows, in a network whose images have many pixels."""
    rng = np.random.default_rng(6)
    operator = convolution((1, 64, 64, 4, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)), rng)
    builder = NetworkBuilder((64 * 64,))
    node = builder.activation("relu", builder.linear("first", [(0, operator)], np.zeros(operator.out_size)), "relu")
    means = np.kron(np.eye(4), np.full((1, 64 * 64), 2.0**-12))
    network = builder.build(builder.linear("means", [(node, Dense(means))], np.zeros(4)))
    region = Ball(rng.uniform(0.0, 1.0, network.input_size), 0.02)
    enclosure = enclose(network, region)
    affine = enclosure.reduced.groups[1].affine
    assert affine is not None
    assert isinstance(affine.edges[0], Sparse)
    assert affine.edges[0].matrix.nnz <= 9 * affine.constant.size
    jacobian = bound_rows(enclosure, np.eye(4), "linear", "backward")
    gradient = means * (network.values(region.x0)[1][0] > 0.0) @ operator.rows()
    assert (jacobian.lower <= gradient).all()
    assert (gradient <= jacobian.upper).all()
