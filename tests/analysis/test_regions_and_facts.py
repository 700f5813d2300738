"""Factors per feature, boxes without a centre, verified radii, global constants: against samples, and against each other."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from distverify.analysis.landscape import monotone_features, stationary_free_radius
from distverify.analysis.lipschitz import lipschitz_constant
from distverify.analysis.margins import pose_margins
from distverify.analysis.network import analyse_network
from distverify.analysis.radius import certified_radius, find_radius, verify_at
from distverify.analysis.reuse import BySlopes
from distverify.analysis.sample import analyse_sample
from distverify.api import certify
from distverify.bounds.enclosure import Enclosure, enclose
from distverify.bounds.gradient import jacobian_at
from distverify.bounds.jacobian import jacobian_bounds, margin_rows
from distverify.bounds.lipschitz import product_of_norms
from distverify.errors import SettingsError
from distverify.network.graph import Network
from distverify.questions.bounder import Bounder
from distverify.region import Ball, Balls, Box
from distverify.settings import Settings
from distverify.status import BY_CROWN, BY_JACOBIAN, NO_VALUE, NOT_VERIFIED
from distverify.work import Sample
from tests.networks import NORMS, Floats, build_chain

X = np.array([0.2, 0.4, 0.6, 0.3])
MASK = np.array([1.0, 0.0, 1.0, 0.0])
DUAL = {math.inf: 1, 2.0: 2, 1.0: np.inf}


def network(seed: int = 0, kinds: tuple[str, ...] = ("relu", "tanh")) -> Network:
    return build_chain([4, 10, 8, 3], kinds, np.random.default_rng(seed))


def points_of(region: Ball, count: int = 400) -> Floats:
    """Random points of the region; those of the ball that its box cuts off are left out."""
    rng = np.random.default_rng(1)
    lo, hi = region.box
    points = rng.uniform(lo, hi, (count, region.size))
    if region.norm != math.inf:
        points = points[np.linalg.norm(points - region.x0, ord=region.norm, axis=1) <= region.eps]
    return np.concatenate([points, region.x0[None]])


# -- factors per feature -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("clip", [None, (0.0, 1.0)])
def test_a_mask_is_the_network_without_the_other_features(norm: float, clip: tuple[float, float] | None) -> None:
    """Fixing features is the same as restricting the network to the others."""
    rng = np.random.default_rng(3)
    weights = [(rng.standard_normal((8, 4)), rng.standard_normal(8)), (rng.standard_normal((3, 8)), np.zeros(3))]
    free = MASK > 0
    first, bias = weights[0]
    restricted = [(first[:, free], bias + first[:, ~free] @ X[~free]), weights[1]]
    masked = lipschitz_constant(Network.from_layers(weights), Ball(X, 0.3, norm, clip, MASK))
    alone = lipschitz_constant(Network.from_layers(restricted), Ball(X[free], 0.3, norm, clip))
    np.testing.assert_allclose(masked.rows, alone.rows, rtol=1e-9)
    assert masked.vector == pytest.approx(alone.vector, rel=1e-9)
    radius = certified_radius(Network.from_layers(weights), X, norm=norm, clip=clip, feature_eps=MASK)
    expected = certified_radius(Network.from_layers(restricted), X[free], norm=norm, clip=clip)
    assert radius.crown == pytest.approx(expected.crown, rel=1e-3)
    assert radius.jacobian == pytest.approx(expected.jacobian, rel=1e-3)


def test_factors_are_a_rescaled_network() -> None:
    """With y = x / factors the weighted ball is a plain one."""
    rng = np.random.default_rng(5)
    factors = np.array([0.5, 2.0, 1.0, 3.0])
    first, bias = rng.standard_normal((8, 4)), rng.standard_normal(8)
    last = (rng.standard_normal((3, 8)), np.zeros(3))
    plain, scaled = Network.from_layers([(first, bias), last]), Network.from_layers([(first * factors, bias), last])
    weighted = Ball(X, 0.1, feature_eps=factors)
    same = Ball(X / factors, 0.1)
    np.testing.assert_allclose(
        lipschitz_constant(plain, weighted).rows, lipschitz_constant(scaled, same).rows, rtol=1e-9
    )
    found, expected = certified_radius(plain, X, feature_eps=factors), certified_radius(scaled, X / factors)
    assert found.radius == pytest.approx(expected.radius, rel=1e-3)
    np.testing.assert_allclose(
        stationary_free_radius(plain, X, feature_eps=factors), stationary_free_radius(scaled, X / factors), rtol=1e-3
    )


def test_the_box_of_a_weighted_ball_is_rounded_outwards() -> None:
    factors = np.array([0.1, 0.0, 1.0, 1.0 / 3.0])
    lo, hi = Ball(X, 0.3, feature_eps=factors).box
    assert lo[1] == hi[1] == X[1]
    for i in (0, 2, 3):
        reach = Fraction(0.3) * Fraction(factors[i])
        assert Fraction(lo[i]) <= Fraction(X[i]) - reach
        assert Fraction(hi[i]) >= Fraction(X[i]) + reach


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"feature_eps": [1.0, 2.0]}, "feature_eps: got 2 factors for 4 features"),
        ({"feature_eps": [1.0, -1.0, 1.0, 1.0]}, "feature_eps: got -1.0; give one finite factor"),
        ({"feature_eps": [0.0] * 4}, "feature_eps: got nothing above 0"),
        ({"feature_eps": [1.0, 2.0, 1.0, 1.0], "norm": 2}, "feature_eps: got 2.0 for norm 2; only norm inf"),
        ({"eps": [0.1] * 4, "feature_eps": [1.0] * 4}, "and one number as eps"),
    ],
)
def test_factors_that_make_no_sense(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Ball(**{"x0": X, "eps": 0.1, **arguments})  # type: ignore[arg-type]


# -- boxes ---------------------------------------------------------------------------------------------------------


def test_a_box_keeps_its_corners_and_holds_the_bounds() -> None:
    lower, upper = np.array([-0.1, 0.3, 0.0, 0.5]), np.array([0.7, 0.3, 1.0, 0.6])
    box = Box(lower, upper)
    assert (box.box[0] == lower).all()
    assert (box.box[1] == upper).all()
    bounds = jacobian_bounds(network(), box)
    gradients = jacobian_at(network(), points_of(box))
    assert (gradients >= bounds.lower - 1e-12).all()
    assert (gradients <= bounds.upper + 1e-12).all()


@pytest.mark.parametrize("norm", NORMS)
def test_constants_over_a_box_in_any_norm(norm: float) -> None:
    box = Box(np.zeros(4), np.ones(4))
    constants = lipschitz_constant(network(), box, norm=norm)
    gradients = jacobian_at(network(), points_of(box))
    assert (np.linalg.norm(gradients, ord=DUAL[norm], axis=2) <= constants.rows * (1 + 1e-12)).all()
    induced = [np.linalg.norm(g, ord={math.inf: np.inf, 2.0: 2, 1.0: 1}[norm]) for g in gradients]
    assert max(induced) <= constants.vector * (1 + 1e-12)


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        (([0.0, 1.0], [1.0]), "lower, upper: got 2 and 1 values"),
        (([0.0, 2.0], [1.0, 1.0]), "lower: feature 1 is 2, above upper, 1"),
        (([0.0, math.nan], [1.0, 1.0]), "lower: 1 values are NaN or infinite"),
        (([0.0], [math.inf]), "upper: 1 values are NaN or infinite"),
    ],
)
def test_boxes_that_make_no_sense(corners: tuple[list[float], list[float]], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Box(*corners)


# -- constants -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
def test_local_constants_reach_the_global_one(norm: float) -> None:
    """For a piecewise linear network, balls that switch every neuron share the slopes of the whole space."""
    net = network(kinds=("relu", "leaky_relu"))
    everywhere = lipschitz_constant(net, norm=norm)
    curve = [lipschitz_constant(net, Ball(X, eps, norm)) for eps in (1e-3, 0.1, 1.0, 10.0, 1e4)]
    assert curve[-1].vector == pytest.approx(everywhere.vector, rel=1e-9)
    np.testing.assert_allclose(curve[-1].rows, everywhere.rows, rtol=1e-9)
    for smaller, larger in pairwise(curve):
        assert smaller.vector <= larger.vector * (1 + 1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_product_of_norms(norm: float) -> None:
    """By hand for two layers of slope at most 1; and never below the constant."""
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((5, 4)), rng.standard_normal((3, 5))
    net = Network.from_layers([(first, np.zeros(5)), (second, np.zeros(3))], "tanh")
    enclosure = enclose(net, Ball(np.zeros(4), math.inf, norm))
    order = {math.inf: np.inf, 2.0: 2, 1.0: 1}[norm]
    expected = np.linalg.norm(first, ord=order) * np.linalg.norm(second, ord=order)
    found = product_of_norms(enclosure, norm)
    # Spectral norms are proven to within a tenth per layer.
    assert expected <= found <= expected * (1.21 if norm == 2.0 else 1 + 1e-6)
    assert lipschitz_constant(net, norm=norm).vector <= found


def test_facts_of_the_network_alone() -> None:
    net = network()
    compute = ("global", "jacobian", "lipschitz", "monotone")
    facts = analyse_network(net, Settings(norm=2, compute=compute, domain=(0.0, 1.0)))
    box = Box(np.zeros(4), np.ones(4))
    bounds = jacobian_bounds(net, box)
    np.testing.assert_array_equal(facts["domain_jacobian_lower"], bounds.lower)
    np.testing.assert_array_equal(facts["domain_lipschitz"], lipschitz_constant(net, box, norm=2).rows)
    assert facts["global_lipschitz_vector"] == lipschitz_constant(net, norm=2).vector
    assert facts["product_of_norms"] >= facts["global_lipschitz_vector"]
    assert (facts["global_lipschitz"] >= facts["domain_lipschitz"] * (1 - 1e-12)).all()  # type: ignore[operator]
    np.testing.assert_array_equal(facts["domain_monotone"], monotone_features(bounds))
    assert analyse_network(net, Settings(compute=("radius",))) == {}


def test_monotone_features_are_strict_and_hold() -> None:
    rising = Network.from_layers(
        [(np.array([[1.0, -2.0, 0.0]]), np.zeros(1)), (np.array([[3.0]]), np.zeros(1))], "tanh"
    )
    bounds = jacobian_bounds(rising, Box([-1.0] * 3, [1.0] * 3))
    assert monotone_features(bounds).tolist() == [[1, -1, 0]]
    dead = jacobian_bounds(Network.from_layers([(np.zeros((1, 2)), np.zeros(1))]), Box([0.0] * 2, [1.0] * 2))
    assert monotone_features(dead).tolist() == [[0, 0]]


def test_the_interval_method_is_fast_lip_for_any_activation() -> None:
    region = Ball(X, 0.1)
    interval, linear = (jacobian_bounds(network(), region, method=m) for m in ("interval", "linear"))
    np.testing.assert_array_equal(interval.lower, jacobian_bounds(network(), region, method="fastlip").lower)
    assert (interval.upper >= linear.upper - 1e-9).all()


# -- verified at eps -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
def test_verified_agrees_with_the_radius(norm: float) -> None:
    net = network(2)
    problem = pose_margins(Bounder(net), Balls(X, norm), None)
    found = find_radius(problem, 16, 1e-3)
    best = found.radius
    for eps in best * np.array([1e-3, 0.5, 0.999, 1.01, 2.0]):
        with_radius = verify_at(problem, eps, 16, found=found)
        alone = verify_at(problem, eps, 16)
        assert (with_radius > 0) == (eps <= best)
        assert (alone > 0) == (eps <= best)
        assert with_radius == BY_CROWN or eps > found.crown
    assert verify_at(problem, found.crown, 16) == BY_CROWN


def test_jacobian_bounds_verify_where_crown_does_not() -> None:
    for seed in range(40):
        net = build_chain([4, 12, 12, 3], ["tanh", "tanh"], np.random.default_rng(seed), scale=3.0)
        problem = pose_margins(Bounder(net), Balls(X), None)
        found = find_radius(problem, 16, 1e-3)
        if found.jacobian > 1.01 * found.crown > 0:
            eps = 0.5 * (found.crown + found.jacobian)
            assert verify_at(problem, eps, 16, found=found) == BY_JACOBIAN
            assert verify_at(problem, eps, 64) == BY_JACOBIAN
            return
    pytest.skip("CROWN was never beaten")


def test_no_value_and_misclassified() -> None:
    net = network()
    label = int(np.argmax(net(X)[0]))
    wrong, own = (label + 1) % 3, label
    settings = Settings(eps=(0.01,), compute=("verified",))
    assert analyse_sample(net, Sample(X, wrong, 0), settings)["verified"] == [NOT_VERIFIED]
    settings = Settings(eps=(0.01,), compute=("verified",), targets=own)
    assert analyse_sample(net, Sample(X, own, 0), settings)["verified"] == [NO_VALUE]


# -- samples -------------------------------------------------------------------------------------------------------


def test_margin_constants_of_a_sample() -> None:
    net = network()
    label = int(np.argmax(net(X)[0]))
    found = analyse_sample(net, Sample(X, label, 0), Settings(eps=(0.05, 0.01), compute=("margins", "monotone")))
    margins = np.asarray(found["lipschitz_margin"])
    assert margins.shape == (2, 3)
    assert np.isnan(margins[:, label]).all()
    others = [j for j in range(3) if j != label]
    for k, eps in enumerate((0.05, 0.01)):
        gradients = jacobian_at(net, points_of(Ball(X, eps)), margin_rows(3, label, others))
        assert (np.abs(gradients).sum(axis=2) <= margins[k, others] * (1 + 1e-12)).all()
    assert np.asarray(found["monotone"]).dtype == np.int8


def test_the_label_s_landscape_only() -> None:
    net = network()
    both = analyse_sample(net, Sample(X, 1, 0), Settings(compute=("landscape",)))["stationary_free_radius"]
    one = analyse_sample(net, Sample(X, 1, 0), Settings(compute=("landscape",), landscape_outputs="label"))
    alone = np.asarray(one["stationary_free_radius"])
    assert np.isnan(alone[[0, 2]]).all()
    assert alone[1] == pytest.approx(np.asarray(both)[1], rel=1e-3)


def test_a_sweep_computes_equal_slopes_once() -> None:
    net = network(kinds=("relu", "relu"))
    seen: list[Enclosure] = []

    def note(enclosure: Enclosure) -> int:
        seen.append(enclosure)
        return len(seen)

    known = BySlopes(note)
    values = [known(enclose(net, Ball(X, eps))) for eps in (1e-9, 1e-8, 1e-7, 0.3, 1e5, 1e6)]
    assert values[0] == values[1] == values[2]
    assert values[4] == values[5]
    assert known.computed == len(seen) < 6


def test_evaluations_stay_within_what_was_asked_for() -> None:
    net = network()
    few, usual, many = (certified_radius(net, X, evaluations=n) for n in (2, 16, 100))
    assert few.jacobian_evaluations <= 2
    assert usual.jacobian_evaluations <= 16
    assert few.jacobian <= usual.jacobian * (1 + 1e-12) <= many.jacobian * (1 + 1e-9)
    with pytest.raises(SettingsError, match="evaluations: got 0"):
        certified_radius(net, X, evaluations=0)


# -- runs ----------------------------------------------------------------------------------------------------------


def test_a_run_with_everything(tmp_path: Path) -> None:
    net = network()
    samples = np.random.default_rng(0).uniform(0, 1, (3, 4))
    compute = ("global", "jacobian", "landscape", "lipschitz", "margins", "monotone", "radius", "verified")
    result = certify(
        net, samples, output=tmp_path / "out.h5", executor="serial", eps=(0.01, 0.02), compute=compute, clip=(0, 1),
        features="0:2,3", domain=(0, 1), landscape_outputs="label",
    )  # fmt: skip
    assert result.complete
    assert result["feature_eps"].tolist() == [1.0, 1.0, 0.0, 1.0]
    assert result.settings.feature_eps == (1.0, 1.0, 0.0, 1.0)
    assert result["domain_monotone"].shape == (3, 4)
    assert result["product_of_norms"].shape == ()
    assert set(np.unique(result["verified"])) <= {0, 1, 2}
    assert (result["jacobian_evaluations"] <= 16).all()
    again = certify(
        net, samples, output=tmp_path / "out.h5", executor="serial", eps=(0.01, 0.02), compute=compute, clip=(0, 1),
        features="0:2,3", domain=(0, 1), landscape_outputs="label",
    )  # fmt: skip
    assert again.provenance["run_id"] == result.provenance["run_id"]


def test_a_domain_needs_no_eps(tmp_path: Path) -> None:
    result = certify(
        network(),
        X[None],
        output=tmp_path / "out.h5",
        executor="serial",
        compute=("lipschitz", "jacobian"),
        domain=(0, 1),
    )
    assert "domain_lipschitz" in result
    assert "lipschitz" not in result


def test_normalised_units(tmp_path: Path) -> None:
    net = network()
    arguments = {"mean": 0.5, "std": 0.25, "executor": "serial", "compute": ("radius",)}
    raw = certify(net, X[None], output=tmp_path / "raw.h5", **arguments)  # type: ignore[arg-type]
    normalised = certify(net, X[None], output=tmp_path / "n.h5", eps_units="normalised", **arguments)  # type: ignore[arg-type]
    assert normalised["radius"][0] == pytest.approx(raw["radius"][0] / 0.25, rel=1e-3)
    assert normalised.settings.eps_units == "normalised"
    with pytest.raises(SettingsError, match=r"eps_units: .*normalised units need mean or std"):
        certify(net, X[None], output=tmp_path / "x.h5", eps_units="normalised", compute=("radius",), executor="serial")
