"""Every fast path against the entry-by-entry oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distverify.bounds.enclosure import enclose
from distverify.bounds.methods import bound_rows
from distverify.network.graph import Network
from distverify.region import Ball
from distverify.settings import METHODS
from tests.naive import NaiveBounds
from tests.networks import FEW, WAYS, Floats, balls, chains, crown_rows, enclose_by, residuals

# Both sides are float64; rounding terms and outward rounding are far smaller than this.
RELATIVE = 1e-9
# Where the expected bound is 0, rounding is relative to what was summed.
ORDER_OF_WEIGHTS = 1e-2


def assert_same(found: Floats, expected: Floats, what: str) -> None:
    scale = max(float(np.abs(expected).max()), ORDER_OF_WEIGHTS)
    np.testing.assert_allclose(found, expected, rtol=RELATIVE, atol=RELATIVE * scale, err_msg=what)


def compare(network: Network, region: Ball, rows: Floats, layer_bounds: str) -> None:
    naive = NaiveBounds(network, region, layer_bounds)
    margins = naive.rows(rows)
    jacobians = {method: naive.jacobian(rows, method) for method in METHODS if method != "coupled"}
    for way in WAYS:
        enclosure = enclose_by(way, network, region, layer_bounds)
        for index in range(network.output + 1):
            assert_same(enclosure.lower[index], np.array(naive.lower[index]), f"lower of node {index}")
            assert_same(enclosure.upper[index], np.array(naive.upper[index]), f"upper of node {index}")
        lower, upper = crown_rows(enclosure, rows)
        assert_same(lower, margins[0], "rows, lower")
        assert_same(upper, margins[1], "rows, upper")
        for method, expected in jacobians.items():
            bounds = bound_rows(enclosure, rows, method, "backward")
            assert_same(bounds.lower, expected[0], f"{method} lower")
            assert_same(bounds.upper, expected[1], f"{method} upper")


@pytest.mark.parametrize("layer_bounds", ["crown", "interval"])
@FEW
@given(data=st.data())
def test_chains(layer_bounds: str, data: st.DataObject) -> None:
    network = data.draw(chains(max_hidden=3, max_width=5))
    region = data.draw(balls(network.input_size, eps=(1e-3, 0.05, 0.3, 1.0)))
    rows = np.random.default_rng(0).standard_normal((2, network.output_size))
    compare(network, region, rows, layer_bounds)


@FEW
@given(data=st.data())
def test_relu_family(data: st.DataObject) -> None:
    network = data.draw(chains(kinds=("relu", "leaky_relu"), max_width=6))
    region = data.draw(balls(network.input_size, eps=(1e-3, 0.05, 0.3, 1.0)))
    compare(network, region, np.eye(network.output_size), "crown")


@FEW
@given(data=st.data())
def test_residual_graphs(data: st.DataObject) -> None:
    network = data.draw(residuals())
    region = data.draw(balls(network.input_size, eps=(1e-3, 0.05, 0.3)))
    compare(network, region, np.eye(3), "crown")


@FEW
@given(data=st.data())
def test_linear_is_never_looser_than_recurjac(data: st.DataObject) -> None:
    network = data.draw(chains())
    region = data.draw(balls(network.input_size))
    enclosure = enclose(network, region)
    rows = np.eye(network.output_size)
    linear, recurjac = (bound_rows(enclosure, rows, m, "backward") for m in ("linear", "recurjac"))
    slack = RELATIVE * max(1e-300, float(recurjac.magnitude.max()))
    assert (linear.lower >= recurjac.lower - slack).all()
    assert (linear.upper <= recurjac.upper + slack).all()
