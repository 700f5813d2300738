"""Constants, derivatives and outputs of curved networks over boxes of few dimensions, by halving them."""

from __future__ import annotations

import math
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import distverify as dv
from distverify.analysis.box_tree import LargestConstant, pays_to_halve
from distverify.analysis.brackets import ConstantSearch
from distverify.analysis.network import analyse_network
from distverify.bounds.affine_forms import BoxBounds
from distverify.bounds.gradient import jacobian_at
from distverify.questions.askers import ThroughCrew
from distverify.region import Box
from distverify.settings import Settings
from tests.analysis.crews import CrewHere
from tests.analysis.test_lipschitz_brackets import dual, induced
from tests.networks import Floats, build_chain, build_residual

LOWER, UPPER = np.array([-0.4, 0.1, -0.3]), np.array([0.4, 0.1, 0.5])


def network(kind: str = "tanh") -> dv.Network:
    return build_chain([3, 8, 6, 2], [kind, kind], np.random.default_rng(3))


def points(count: int = 3000) -> Floats:
    rng = np.random.default_rng(1)
    return LOWER + (UPPER - LOWER) * np.concatenate([rng.random((count, 3)), rng.integers(0, 2, (200, 3))])


@pytest.mark.parametrize("norm", [math.inf, 2.0, 1.0])
@pytest.mark.parametrize("kind", ["tanh", "softplus", "gelu"])
def test_constants_hold_and_close(kind: str, norm: float) -> None:
    net, box = network(kind), Box(LOWER, UPPER)
    jacobians = jacobian_at(net, points())
    rows = np.max([dual(j, norm) for j in jacobians], axis=0)
    vector = max(induced(j, norm) for j in jacobians)
    once, found = (dv.lipschitz_constant(net, box, norm=norm, nodes=n) for n in (0, 400))
    assert (found.rows >= rows * (1 - 1e-9)).all()
    assert found.vector >= vector * (1 - 1e-9)
    assert (found.attained <= found.rows).all()
    assert (found.attained >= rows * 0.98).all()  # uphill from sampled points, corners are found
    assert (found.rows <= once.rows).all()
    assert found.rows == pytest.approx(found.attained, rel=0.08)
    assert found.nodes <= 3 * 400


def steady(values: Floats) -> BoxBounds:
    """Bounds of derivatives float64 [B, K, D] that are points."""
    count, rows, size = values.shape
    none = np.zeros_like(values)
    forms = np.zeros((rows, 1 + size, size, count))
    forms[:, 0] = values.transpose(1, 2, 0)
    nothing = np.zeros((count, rows))
    return BoxBounds(nothing, nothing, values, values, np.zeros((count, rows, size, size)), none, forms)


@pytest.mark.parametrize("norm", [math.inf, 2.0, 1.0])
@pytest.mark.parametrize("scale", [1.0, 1e-160, 1e-300, 1e160])
@pytest.mark.parametrize("weights", [None, np.array([1.0, 1.0, 0.0, 1.0, 1.0])])
def test_rounding_counts_and_scale_does_not(norm: float, scale: float, weights: Floats | None) -> None:
    """In exact arithmetic no norm of a derivative is above its bound: squares of small ones underflow, of large ones overflow."""
    values = scale * np.random.default_rng(3).uniform(-1.0, 1.0, (40, 1, 5))
    found, _ = LargestConstant(norm, weights).bound(steady(values), np.ones((40, 5)))
    for bound, derivatives in zip(found, values[:, 0], strict=True):
        sizes = [
            abs(Fraction(float(v))) * int(w)
            for v, w in zip(derivatives, np.ones(5) if weights is None else weights, strict=True)
        ]
        power = 2 if norm == 2.0 else 1
        least = max(sizes) if norm == 1.0 else sum((v**power for v in sizes), Fraction(0))
        assert least <= Fraction(float(bound)) ** power <= least * (1 + Fraction(1, 10**12)) + Fraction(1e-300)


def test_boxes_are_narrower_than_trees_over_neurons() -> None:
    net, box = network(), Box(LOWER, UPPER)
    by_neurons = ConstantSearch(net, box, math.inf).bracket(np.eye(2)[:1], 60)
    by_boxes = dv.lipschitz_constant(net, box, nodes=60)
    assert by_boxes.rows[0] < by_neurons.bound
    assert by_boxes.attained[0] >= by_neurons.attained * (1 - 1e-9)


def test_residual_networks_and_straight_ones() -> None:
    rng = np.random.default_rng(5)
    net = build_residual(3, ("sigmoid",), rng, final_activation=False)
    box = Box(-0.3 * np.ones(net.input_size), 0.3 * np.ones(net.input_size))
    assert pays_to_halve(net, box)
    found = dv.lipschitz_constant(net, box, nodes=200)
    sampled = np.abs(jacobian_at(net, rng.uniform(-0.3, 0.3, (2000, net.input_size)))).sum(axis=2).max(axis=0)
    assert (found.rows >= sampled * (1 - 1e-12)).all()
    assert not pays_to_halve(build_chain([3, 4, 2], ["relu"], rng), Box(LOWER, UPPER))


def test_outputs_and_derivatives_of_a_domain_in_pieces() -> None:
    """The same bits by a crew; within one pass's bounds, and around what is sampled."""
    net, compute = network(), ("outputs", "jacobian", "lipschitz", "monotone")
    domain = (tuple(LOWER), tuple(UPPER))
    once = analyse_network(net, Settings(domain=domain, compute=compute))
    settings = Settings(domain=domain, compute=compute, nodes=150)
    found = analyse_network(net, settings)
    crew = CrewHere(net, 2)
    shared = analyse_network(net, settings, asker=ThroughCrew(crew, 8))
    for name in found:
        np.testing.assert_array_equal(found[name], shared[name], err_msg=name)
    assert set(crew.kinds) == {"largest", "brackets", "signs"}
    assert crew.kinds["brackets"] == 2  # once for the constants and the Jacobian
    values, jacobians = net(points()), jacobian_at(net, points())
    assert (found["domain_output_lower"] <= values.min(axis=0)).all()
    assert (values.max(axis=0) <= found["domain_output_upper"]).all()
    wide, narrow = (f["domain_output_upper"] - f["domain_output_lower"] for f in (once, found))
    span = values.max(axis=0) - values.min(axis=0)
    assert (narrow - span < 0.5 * (wide - span)).all()
    assert (found["domain_jacobian_lower"] <= jacobians.min(axis=0)).all()
    assert (jacobians.max(axis=0) <= found["domain_jacobian_upper"]).all()


def test_a_time_limit_ends_the_search_of_a_domain(tmp_path: Path) -> None:
    dv.lipschitz_constant(network(), Box(LOWER, UPPER), nodes=4)  # compiles what the search needs
    begin = time.process_time()
    result = dv.certify(
        network(), domain=(LOWER, UPPER), compute={"lipschitz", "outputs"}, nodes=10_000_000, time_limit=0.2, executor="serial",
        output=tmp_path / "o.h5",
    )  # fmt: skip
    assert time.process_time() - begin < 20.0
    assert (result["domain_lipschitz_attained"] <= result["domain_lipschitz"]).all()
