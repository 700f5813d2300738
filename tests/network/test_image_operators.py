"""Convolutions and sparse operators against the matrices that they stand for."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from distverify.kernels.convolution import Geometry
from distverify.network.graph import NetworkBuilder
from distverify.network.linear.convolution import Convolution
from distverify.network.linear.sparse import Sparse, selection

RNG = np.random.default_rng(3)
Pair = tuple[int, int]


def geometry(groups: int, channels: int, image: Pair, outputs: int, kernel: Pair, strides: Pair,
             dilations: Pair, before: Pair, after: Pair) -> Geometry:  # fmt: skip
    out = [
        (n + b + a - (k - 1) * d - 1) // s + 1
        for n, b, a, k, d, s in zip(image, before, after, kernel, dilations, strides, strict=True)
    ]
    return Geometry(groups, channels, *image, outputs, *out, *kernel, *strides, *dilations, *before)


GEOMETRIES = {
    "plain": geometry(1, 2, (5, 4), 3, (3, 2), (1, 1), (1, 1), (0, 0), (0, 0)),
    "stride": geometry(1, 3, (7, 6), 2, (3, 3), (2, 3), (1, 1), (1, 2), (0, 1)),
    "dilation": geometry(1, 1, (7, 8), 2, (3, 2), (1, 2), (2, 3), (2, 1), (1, 0)),
    "groups": geometry(2, 4, (5, 5), 6, (2, 2), (1, 1), (1, 1), (1, 0), (0, 1)),
    "depthwise": geometry(3, 3, (5, 5), 3, (3, 3), (2, 2), (1, 1), (1, 1), (1, 1)),
    "gaps": geometry(1, 2, (6, 6), 2, (2, 2), (3, 3), (1, 1), (0, 0), (0, 0)),
    "wide_pads": geometry(1, 1, (3, 3), 2, (2, 2), (2, 2), (1, 1), (4, 3), (3, 4)),
    "signal": geometry(1, 3, (1, 9), 2, (1, 3), (1, 2), (1, 1), (0, 1), (0, 1)),
}


def naive_matrix(weight: np.ndarray, g: Geometry) -> np.ndarray:
    """The convolution's matrix, entry by entry from its definition."""
    matrix = np.zeros((*g.out_image, *g.image))
    for o, oy, ox in np.ndindex(*g.out_image):
        first = o // (g.out_channels // g.groups) * (g.channels // g.groups)
        for c, ky, kx in np.ndindex(*weight.shape[1:]):
            y = oy * g.stride_y - g.top + ky * g.dilation_y
            x = ox * g.stride_x - g.left + kx * g.dilation_x
            if 0 <= y < g.height and 0 <= x < g.width:
                matrix[o, oy, ox, first + c, y, x] = weight[o, c, ky, kx]
    return matrix.reshape(int(np.prod(g.out_image)), -1)


def operators() -> dict[str, tuple[Any, np.ndarray]]:
    made: dict[str, tuple[Any, np.ndarray]] = {}
    for name, g in GEOMETRIES.items():
        weight = RNG.normal(size=(g.out_channels, g.channels // g.groups, g.kernel_height, g.kernel_width))
        matrix = naive_matrix(weight, g)
        made[name] = Convolution(weight, g), matrix
        made[f"{name}_transposed"] = Convolution(weight, g, transposed=True), matrix.T
    random = RNG.normal(size=(9, 7)) * (RNG.random((9, 7)) < 0.3)
    made["sparse"] = Sparse(csr_array(random)), random
    table = np.array([[0, 1, -1], [4, 4, 2], [-1, -1, -1]])
    made["selection"] = selection(table, 5, 0.5), np.array([[1, 1, 0, 0, 0], [0, 0, 1, 0, 2], [0] * 5]) * 0.5
    return made


OPERATORS = operators()


@pytest.fixture(params=OPERATORS)
def pair(request: pytest.FixtureRequest) -> tuple[Any, np.ndarray]:
    return OPERATORS[request.param]


@pytest.mark.parametrize("count", [1, 5, 70])
def test_push_and_pull(pair: tuple[Any, np.ndarray], count: int) -> None:
    operator, matrix = pair
    assert (operator.out_size, operator.in_size) == matrix.shape
    columns, rows = RNG.normal(size=(matrix.shape[1], count)), RNG.normal(size=(count, matrix.shape[0]))
    assert operator.push(columns) == pytest.approx(matrix @ columns, abs=1e-13)
    assert operator.pull(rows) == pytest.approx(rows @ matrix, abs=1e-13)
    assert operator.push_abs(columns) == pytest.approx(np.abs(matrix) @ columns, abs=1e-13)
    assert operator.pull_abs(rows) == pytest.approx(rows @ np.abs(matrix), abs=1e-13)
    for result in (operator.push(columns), operator.pull(rows)):
        assert result.flags.c_contiguous


def test_added_to_what_is_there(pair: tuple[Any, np.ndarray]) -> None:
    operator, matrix = pair
    columns, rows = RNG.normal(size=(matrix.shape[1], 3)), RNG.normal(size=(4, matrix.shape[0]))
    there, thither = RNG.normal(size=(matrix.shape[0], 3)), RNG.normal(size=(4, matrix.shape[1]))
    expected = there + matrix @ columns, thither + rows @ matrix
    assert operator.push(columns, out=there) is there
    assert operator.pull(rows, out=thither) is thither
    assert there == pytest.approx(expected[0], abs=1e-13)
    assert thither == pytest.approx(expected[1], abs=1e-13)


def test_some_inputs_only(pair: tuple[Any, np.ndarray]) -> None:
    operator, matrix = pair
    inputs = np.flatnonzero(RNG.random(matrix.shape[1]) < 0.4)
    columns = RNG.normal(size=(inputs.size, 40))
    there = RNG.normal(size=(matrix.shape[0], 40))
    expected = matrix[:, inputs] @ columns
    assert operator.push(columns, inputs) == pytest.approx(expected, abs=1e-13)
    assert operator.push(columns, inputs, there.copy()) == pytest.approx(there + expected, abs=1e-13)


def test_few_nonzeros(pair: tuple[Any, np.ndarray]) -> None:
    """Windows that are skipped are zero."""
    operator, matrix = pair
    columns = np.eye(matrix.shape[1])
    assert operator.push(columns) == pytest.approx(matrix, abs=1e-14)
    assert operator.pull(np.eye(matrix.shape[0])) == pytest.approx(matrix, abs=1e-14)
    assert not operator.push(np.zeros_like(columns)).any()


def test_the_matrix_itself(pair: tuple[Any, np.ndarray]) -> None:
    operator, matrix = pair
    which = RNG.permutation(matrix.shape[1])[:3]
    assert (operator.rows() == matrix).all()
    assert (operator.columns(slice(1, 4)) == matrix[:, 1:4]).all()
    assert (operator.columns(which) == matrix[:, which]).all()
    assert operator.columns(which).flags.c_contiguous


def test_norms_are_upper_bounds(pair: tuple[Any, np.ndarray]) -> None:
    operator, matrix = pair
    assert operator.norm >= np.linalg.norm(matrix, 2)
    assert (operator.row_norms >= np.linalg.norm(matrix, axis=1)).all()
    assert operator.row_norms == pytest.approx(np.linalg.norm(matrix, axis=1), rel=0.01)
    assert operator.push_terms >= (matrix != 0).sum(axis=1).max()
    assert operator.pull_terms >= (matrix != 0).sum(axis=0).max()


def test_single_precision_stays_single(pair: tuple[Any, np.ndarray]) -> None:
    operator, matrix = pair
    columns = RNG.normal(size=(matrix.shape[1], 33)).astype(np.float32)
    rows = RNG.normal(size=(2, matrix.shape[0])).astype(np.float32)
    for found, expected in ((operator.push(columns), matrix @ columns), (operator.pull(rows), rows @ matrix)):
        assert found.dtype == np.float32
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_large_images_are_worked_on_in_bands() -> None:
    g = geometry(1, 4, (96, 96), 3, (5, 5), (1, 1), (1, 1), (2, 2), (2, 2))
    convolution = Convolution(RNG.normal(size=(3, 4, 5, 5)), g)
    columns, rows = RNG.normal(size=(convolution.in_size, 33)), RNG.normal(size=(33, convolution.out_size))
    # <W^T r, x> = <r, W x>, and sums of shifted images are a convolution too.
    assert np.einsum("ki,ik->k", convolution.pull(rows), columns) == pytest.approx(
        np.einsum("ki,ik->k", rows, convolution.push(columns)), rel=1e-9, abs=1e-9
    )
    image = np.pad(columns[:, 0].reshape(4, 96, 96), ((0, 0), (2, 2), (2, 2)))
    expected = sum(
        np.einsum("oc,cyx->oyx", convolution.weight[:, :, ky, kx], image[:, ky : ky + 96, kx : kx + 96])
        for ky, kx in itertools.product(range(5), range(5))
    )
    assert convolution.push(columns)[:, 0] == pytest.approx(np.asarray(expected).reshape(-1), abs=1e-10)


def test_stored_in_the_network(pair: tuple[Any, np.ndarray]) -> None:
    operator, matrix = pair
    builder = NetworkBuilder((matrix.shape[1],))
    network = builder.build(builder.linear("z", [(0, operator)]))
    bound = network.nodes[1].terms[0].operator
    assert (bound.rows() == matrix).all()
    assert bound is not operator
    x = RNG.normal(size=(4, matrix.shape[1]))
    assert network(x) == pytest.approx(x @ matrix.T, abs=1e-13)
