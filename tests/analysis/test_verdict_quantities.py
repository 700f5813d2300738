"""What a run tells of its balls when it may attack and search: codes, counterexamples, distances."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import distverify as dv
from distverify.analysis.property import PropertyAnalysis, inner_box
from distverify.analysis.sample import analyse_sample
from distverify.data.vnnlib.cases import Case
from distverify.data.vnnlib.property import Property, parse_property
from distverify.errors import SettingsError
from distverify.settings import Settings
from distverify.status import BY_BRANCHING, BY_CROWN, FALSIFIED, NOT_VERIFIED
from distverify.work import Sample
from tests.networks import build_chain

EPS = (0.005, 0.15, 0.3, 2.0)


@pytest.fixture(scope="module")
def network():
    return build_chain((14, 12, 10, 3), ("relu", "relu"), np.random.default_rng(2))


def run(network, **settings):
    x = np.random.default_rng(3).uniform(0, 1, 14)
    label = int(np.argmax(network(x)[0]))
    return x, label, analyse_sample(network, Sample(x, label, 0), Settings(eps=EPS, **settings))


def test_verdicts_counterexamples_and_distances_agree(network):
    x, label, plain = run(network, compute=("verified",))
    assert set(plain["verified"]) <= {NOT_VERIFIED, BY_CROWN, 2}
    for compute in (("verified", "attack"), ("verified", "attack", "radius")):
        _, _, searched = run(network, compute=compute, nodes=400)
        codes = searched["verified"]
        assert searched["subproblems"] > 0
        assert codes[0] == BY_CROWN
        assert codes[-1] == FALSIFIED
        # What was proved by bounds alone stays; with nodes enough nothing is open here.
        assert (codes[plain["verified"] > 0] > 0).all()
        assert NOT_VERIFIED not in codes
        broken = codes == FALSIFIED
        points = searched["counterexample"]
        assert np.array_equal(np.isfinite(points).all(axis=1), broken)
        for point, eps in zip(points[broken], np.array(EPS)[broken], strict=True):
            assert np.abs(point - x).max() <= eps
            assert int(np.argmax(network(point)[0])) != label
        nearest = np.abs(points[broken] - x).max(axis=1).min()
        assert float(searched["radius_attacked"]) <= nearest * (1 + 1e-12)
        if "radius" in compute:
            assert float(searched["radius"]) <= float(searched["radius_attacked"])
            assert (codes[np.array(EPS) <= float(searched["radius"])] > 0).all()


@pytest.mark.parametrize("compute", [("verified",), ("verified", "radius")])
def test_margins_of_what_is_open_hold_and_grow_with_the_search(compute):
    network = build_chain((14, 20, 20, 3), ("relu", "relu"), np.random.default_rng(2))
    x = np.random.default_rng(3).uniform(0, 1, 14)
    label, eps = int(np.argmax(network(x)[0])), (0.022, 0.0248, 0.025)  # a counterexample lies at 0.02512
    found = [
        analyse_sample(network, Sample(x, label, 0), Settings(eps=eps, compute=compute, nodes=nodes))
        for nodes in (0, 3)
    ]
    assert found[0]["verified"].tolist()[1:] == [NOT_VERIFIED] * 2
    assert found[1]["verified"].tolist()[2] == NOT_VERIFIED
    plain, searched = (each["verified_margin"] for each in found)
    # Where radii decide without a search, no margin is bounded.
    assert np.isnan(plain).tolist() == [True, "radius" in compute, "radius" in compute]
    assert np.array_equal(np.isnan(searched), found[1]["verified"] > 0)
    outputs = network(x + eps[2] * np.random.default_rng(0).uniform(-1.0, 1.0, (2000, 14)))
    seen = (outputs[:, label, None] - np.delete(outputs, label, axis=1)).min()
    assert -np.inf < searched[2] <= min(0.0, seen)
    assert np.isnan(plain[2]) or plain[2] < searched[2]


def test_misclassified_samples_have_no_margin(network):
    x, label, _ = run(network, compute=("verified",))
    settings = Settings(eps=EPS, compute=("verified",))
    found = analyse_sample(network, Sample(x, (label + 1) % 3, 0), settings)
    assert np.isnan(found["verified_margin"]).all()


def test_branching_proves_what_bounds_do_not(network):
    _, _, radii = run(network, compute=("radius",), nodes=400)
    assert float(radii["radius"]) > 1.05 * max(float(radii["radius_crown"]), float(radii["radius_jacobian"]))
    between = 0.5 * (float(radii["radius"]) + max(float(radii["radius_crown"]), float(radii["radius_jacobian"])))
    x = np.random.default_rng(3).uniform(0, 1, 14)
    label = int(np.argmax(network(x)[0]))
    settings = Settings(eps=(between,), compute=("verified",), nodes=400)
    assert analyse_sample(network, Sample(x, label, 0), settings)["verified"][0] == BY_BRANCHING


def test_same_settings_same_bits(network):
    first, second = (run(network, compute=("verified", "attack"), nodes=60)[2] for _ in range(2))
    for name, values in first.items():
        assert np.array_equal(values, second[name], equal_nan=np.asarray(values).dtype.kind == "f"), name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"nodes": -1, "compute": ("verified",)}, "nodes: got -1"),
        ({"nodes": 5, "compute": ("evaluation_error",)}, "nodes"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        Settings(eps=EPS, **settings)


def test_witnesses_of_properties_lie_in_the_decimal_box():
    """0.1 and 0.7 are no float64 numbers: the box that proofs are about is larger than the file's."""
    text = "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)" + "".join(
        f"(assert (>= X_{i} 0.1))(assert (<= X_{i} 0.7))" for i in (0, 1)
    )
    identity = dv.Network.from_layers([(np.array([[1.0, -1.0]]), np.zeros(1))])
    # Only the corner comes that far: a witness that is rounded outwards would not be one.
    for bound, known in (("-0.5999999", FALSIFIED), ("-0.6000001", BY_CROWN)):
        cases = parse_property(f"{text}(assert (<= Y_0 {bound}))", 2, 1)
        analysis = PropertyAnalysis({0: Property("p", cases)})
        found = analysis(identity, Sample(np.zeros(2), -1, 0), Settings(compute=("property",), nodes=10))
        assert found["verified"] == known
        if known == FALSIFIED:
            x = [Fraction(float(v)) for v in found["counterexample"]]
            assert all(Fraction("0.1") <= v <= Fraction("0.7") for v in x)
            assert x[0] - x[1] <= Fraction(bound)


def test_the_box_of_witnesses_has_no_subnormal_ends():
    """With them the products of an attack on images, whose pixels begin at 0, took sixty times as long."""
    lower, upper = np.array([0.0, -1.0, 0.0, 0.0, 0.25]), np.array([1.0, 0.0, 0.0, 5e-324, 0.5])
    low, high = inner_box(Case(lower, upper, ()))
    assert (low[:2] <= high[:2]).all()
    assert (low[2], high[2]) == (0.0, 0.0)
    for ends in (low[[0, 1, 4]], high[[0, 1, 4]]):
        assert (np.abs(ends) >= 1e-200).all()
    assert (low >= lower).all()
    assert (high <= upper).all()
    assert np.array_equal(low[4:], np.nextafter(lower[4:], 1.0))
    assert np.array_equal(high[4:], np.nextafter(upper[4:], 0.0))
