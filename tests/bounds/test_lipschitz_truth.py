"""Lipschitz constants against difference quotients, in exact arithmetic where the network allows it."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distverify.analysis.lipschitz import lipschitz_constant
from distverify.bounds.enclosure import enclose
from distverify.bounds.lipschitz import magnitude_chords, row_constants
from distverify.bounds.methods import bound_rows
from distverify.errors import SettingsError
from distverify.network.graph import Network
from distverify.region import Ball
from distverify.settings import METHODS
from tests.exact import MP, PIECEWISE_LINEAR, ExactNetwork, Number, to_mp
from tests.networks import FEW, NORMS, balls, build_chain, chains, points_in

# The vector constant for norm 2 bounds a spectral norm found by iteration.
SPECTRAL = 1e-6
# Plain float64 sums around the constants.
RELATIVE = 1e-12


def size(vector: list[Number], norm: float) -> Number:
    """The norm of an exact vector; for norm 2 its square root in 240 bits."""
    if norm == math.inf:
        return max(abs(v) for v in vector)
    if norm == 1.0:
        return sum(abs(v) for v in vector)
    return MP.sqrt(sum(to_mp(v) ** 2 if isinstance(v, Fraction) else v * v for v in vector))


def check_quotients(
    network: Network, region: Ball, points: list[list[Fraction]], method: str, whole: bool = False
) -> None:
    if whole:
        constants = lipschitz_constant(network, norm=region.norm, method=method)
    else:
        constants = lipschitz_constant(network, region, method=method)
    exact = ExactNetwork(network)
    outputs = [exact(x) for x in points]
    for i in range(len(points)):
        for j in range(i):
            step = size([to_mp(a - b) for a, b in zip(points[i], points[j], strict=True)], region.norm)
            change = [
                to_mp(a - b) if isinstance(a, Fraction) else a - b for a, b in zip(outputs[i], outputs[j], strict=True)
            ]
            for k, v in enumerate(change):
                assert abs(v) <= to_mp(constants.rows[k]) * step, f"row {k}"
            assert size(change, region.norm) <= to_mp(constants.vector) * step, "vector"


@FEW
@given(data=st.data())
def test_difference_quotients(data: st.DataObject) -> None:
    kinds = tuple(sorted(PIECEWISE_LINEAR)) if data.draw(st.booleans()) else ("tanh", "gelu", "sin", "elu", "relu")
    network = data.draw(chains(kinds=kinds))
    region = data.draw(balls(network.input_size))
    check_quotients(
        network, region, points_in(region, 4, np.random.default_rng(0)), data.draw(st.sampled_from(METHODS))
    )


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", ["relu", "leaky_relu", "clip", "tanh", "sigmoid", "silu", "sin"])
def test_global_constants(kind: str, norm: float) -> None:
    network = build_chain([3, 5, 4, 2], [kind, kind], np.random.default_rng(1))
    rng = np.random.default_rng(2)
    points = [x for r in (1e-3, 1.0, 40.0) for x in points_in(Ball(np.zeros(3), r, norm), 2, rng)]
    for method in METHODS:
        check_quotients(network, Ball(np.zeros(3), 1.0, norm), points, method, whole=True)
        local = lipschitz_constant(network, Ball(np.array([0.1, 0.2, 0.3]), 0.1, norm), method=method)
        whole = lipschitz_constant(network, norm=norm, method=method)
        assert (local.rows <= whole.rows * (1 + RELATIVE)).all()
        assert local.vector <= whole.vector * (1 + 1e-5)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("method", METHODS)
def test_linear_networks_are_exact(norm: float, method: str) -> None:
    rng = np.random.default_rng(4)
    weight = np.abs(rng.standard_normal((4, 6)))
    network = Network.from_layers([(weight, np.zeros(4))])
    constants = lipschitz_constant(network, Ball(np.zeros(6), 0.1, norm), method=method)
    dual = {math.inf: 1, 2.0: 2, 1.0: np.inf}[norm]
    truth = np.linalg.norm(weight, ord=dual, axis=1)
    assert (constants.rows >= truth * (1 - RELATIVE)).all()
    np.testing.assert_allclose(constants.rows, truth, rtol=1e-12)
    induced = np.linalg.norm(weight, ord={math.inf: np.inf, 2.0: 2, 1.0: 1}[norm])
    assert induced * (1 - RELATIVE) <= constants.vector <= induced * (1 + SPECTRAL)


def test_signs_of_a_linear_network() -> None:
    weight = np.array([[1.0, -2.0, 0.5], [0.25, 4.0, -1.0]])
    network = Network.from_layers([(weight, np.zeros(2))])
    constants = lipschitz_constant(network, Ball(np.zeros(3), 1.0, 2.0))
    # Magnitudes of the entries alone would give the spectral norm of |W|, 4.66; the product of norms knows the signs.
    assert constants.vector == pytest.approx(np.linalg.norm(weight, ord=2), rel=2 * SPECTRAL)
    rows = lipschitz_constant(network, Ball(np.zeros(3), 1.0)).rows
    np.testing.assert_allclose(rows, [3.5, 5.25], rtol=1e-14)


def test_spectral_norm_of_separate_blocks() -> None:
    # Outputs that depend on different inputs: the largest block decides, not the other's row sums.
    weight = np.zeros((9, 9))
    weight[0, 0] = 1.34
    weight[1:, 1] = 0.3
    weight[1, 1] = 1.0
    network = Network.from_layers([(weight, np.zeros(9))])
    constants = lipschitz_constant(network, Ball(np.zeros(9), 1.0, 2.0))
    truth = np.linalg.norm(weight, ord=2)
    assert truth * (1 - RELATIVE) <= constants.vector <= truth * (1 + SPECTRAL)


@FEW
@given(data=st.data())
def test_merged_columns_are_never_worse(data: st.DataObject) -> None:
    network = data.draw(chains(kinds=("relu", "leaky_relu", "tanh")))
    eps = data.draw(st.sampled_from([1e-6, 0.01, 0.3]))
    region = Ball(np.random.default_rng(0).uniform(0, 1, network.input_size), eps)
    for method in ("linear", "recurjac"):
        bounds = bound_rows(enclose(network, region), np.eye(network.output_size), method)
        assert (row_constants(bounds, math.inf) <= bounds.magnitude.sum(axis=1) * (1 + RELATIVE)).all()


@FEW
@given(data=st.data())
def test_chords_lie_above_magnitudes(data: st.DataObject) -> None:
    """In exact arithmetic, at both ends and at 0; in both precisions, with weights that no float32 number equals."""
    number = st.floats(-1e3, 1e3) | st.sampled_from([0.0, -0.0, 1e-310, -1e-310, 1e300, -1e300, 5e-324])
    ends = data.draw(st.lists(st.tuples(number, number), min_size=1, max_size=6))
    lower, upper = np.array([[min(e) for e in ends]]), np.array([[max(e) for e in ends]])
    weights = np.array(data.draw(st.lists(st.floats(0.0, 2.0), min_size=len(ends), max_size=len(ends))))
    dtype = data.draw(st.sampled_from([np.float64, np.float32]))
    slopes, constants = magnitude_chords(lower, upper, weights, dtype)
    np.testing.assert_array_equal(slopes.astype(dtype), slopes)
    for j, (low, up) in enumerate(zip(lower[0], upper[0], strict=True)):
        w, s, t = (Fraction(float(v)) for v in (weights[j], slopes[0, j], constants[0, j]))
        for y in {Fraction(float(low)), Fraction(float(up)), Fraction(0) if low <= 0 <= up else Fraction(float(low))}:
            assert w * abs(y) <= s * y + t
        if w < Fraction(1, 10**30):  # float32 may not hold it
            continue
        if low >= 0 or up <= 0:
            assert t <= w * max(abs(Fraction(float(low))), abs(Fraction(float(up)))) / 2**20 + Fraction(1, 2**1000)
        elif 1e-3 < -low < 1e3 and 1e-3 < up < 1e3:
            chord = Fraction(float(-low)) * Fraction(float(up)) * 2 * w / (Fraction(float(up)) - Fraction(float(low)))
            assert t <= chord * (1 + Fraction(1, 2**20)) + Fraction(1, 2**1000)


def test_chords_of_what_is_not_bounded_bound_nothing() -> None:
    lower, upper = np.array([[-np.inf, 0.0, -1.0, -np.inf]]), np.array([[np.inf, np.inf, np.inf, -2.0]])
    slopes, constants = magnitude_chords(lower, upper)
    assert np.isfinite(slopes).all()
    np.testing.assert_array_equal(constants, [[np.inf, 0.0, np.inf, 0.0]])


def test_merged_columns_gain_on_a_network_of_known_signs() -> None:
    rng = np.random.default_rng(5)
    network = build_chain([6, 12, 12, 2], ["relu", "relu"], rng)
    bounds = bound_rows(enclose(network, Ball(rng.uniform(0, 1, 6), 0.05)), np.eye(2), "recurjac")
    assert float(row_constants(bounds, math.inf).sum()) < 0.99 * float(bounds.magnitude.sum())


def test_norm_is_asked_for_once() -> None:
    network = build_chain([2, 2], [], np.random.default_rng(0))
    with pytest.raises(SettingsError, match="norm: got 2 beside a region of norm inf; leave norm out"):
        lipschitz_constant(network, Ball(np.zeros(2), 0.1), norm=2.0)
    with pytest.raises(SettingsError, match="norm: got 3; choose inf, 2 or 1"):
        lipschitz_constant(network, norm=3)
    with pytest.raises(SettingsError, match="method: got 'x'; choose linear, coupled, recurjac, interval, fastlip"):
        lipschitz_constant(network, method="x")
    with pytest.raises(SettingsError, match="layer_bounds: got 'x'; choose alpha, crown, interval"):
        lipschitz_constant(network, layer_bounds="x")
