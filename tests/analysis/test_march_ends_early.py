"""The integral of Jacobian bounds ends where it can no longer enlarge the radius."""

from __future__ import annotations

import math

import numpy as np
import pytest

from distverify.analysis.march import march_radii
from distverify.analysis.margins import pose_margins
from distverify.analysis.radius import find_radius
from distverify.analysis.sample import analyse_sample
from distverify.questions.bounder import Bounder
from distverify.region import Balls
from distverify.settings import Settings
from distverify.work import Sample
from tests.networks import NORMS, Floats, build_chain

X = np.array([0.4, -0.2, 0.1, 0.3])


def growing(rates: list[float]) -> tuple[list[float], object]:
    """Constants exp(rate r), and the radii at which they were asked for."""
    asked: list[float] = []

    def constants(radius: float) -> Floats:
        asked.append(radius)
        return np.exp(np.array(rates) * radius)

    return asked, constants


def true_radius(rate: float, budget: float) -> float:
    return math.log1p(rate * budget) / rate


@pytest.mark.parametrize("beyond", [1.06, 1.3, 3.0])
def test_a_radius_out_of_reach_ends_it(beyond: float) -> None:
    rates, budgets = [3.0, 2.0], np.array([1.0, 5.0])
    best = true_radius(3.0, 1.0)
    asked, constants = growing(rates)
    otherwise = np.array([best * beyond, 10.0])
    radii, used = march_radii(constants, budgets, 0.9 * otherwise[0], 10.0, slopes=np.ones(2), certified=otherwise)  # type: ignore[arg-type]
    assert used == len(asked) <= (12 if beyond < 1.1 else 3)
    assert radii[0] <= best, "still certified"
    _, in_full = march_radii(growing(rates)[1], budgets, 0.9 * otherwise[0], 10.0, slopes=np.ones(2))  # type: ignore[arg-type]
    assert used < in_full


def test_a_radius_within_reach_is_surpassed() -> None:
    best = true_radius(3.0, 1.0)
    for certified in (0.3 * best, 0.97 * best):
        _, constants = growing([3.0])
        radii, _ = march_radii(  # type: ignore[arg-type]
            constants,
            np.array([1.0]),
            0.9 * certified,
            10.0,
            slopes=np.ones(1),
            evaluations=40,
            certified=np.array([certified]),
        )
        assert 0.99 * best < radii[0] <= best


def test_it_minds_the_margin_that_limits_the_radius() -> None:
    """Margin 0 is the weaker one here, but is certified far out otherwise: only margin 1 counts."""
    _, constants = growing([8.0, 3.0])
    radii, _ = march_radii(  # type: ignore[arg-type]
        constants, np.ones(2), 0.1, 10.0, slopes=np.ones(2), evaluations=40, certified=np.array([5.0, 0.1])
    )
    assert radii[1] > 0.99 * true_radius(3.0, 1.0)


@pytest.mark.parametrize("norm", NORMS)
def test_the_radius_is_that_of_the_full_integral(norm: float) -> None:
    spent = {True: 0, False: 0}
    for seed in range(12):
        kinds = ["tanh", "tanh"] if seed % 3 == 0 else ["relu", "relu"]
        network = build_chain([4, 12, 12, 3], kinds, np.random.default_rng(seed), scale=2.0)
        problem = pose_margins(Bounder(network), Balls(X, norm), None)
        full, early = (find_radius(problem, 16, 1e-3, in_full=f) for f in (True, False))
        assert early.crown == full.crown
        assert early.radius >= early.crown
        if full.radius == full.crown:
            assert early.radius == full.radius
        else:
            assert early.radius >= full.radius * (1 - 5e-3), "another choice of radii, the same integral"
        spent[True] += full.jacobian_evaluations
        spent[False] += early.jacobian_evaluations
    assert spent[False] < spent[True]


def test_a_run_finds_it_in_full_where_it_is_asked_for() -> None:
    network = build_chain([4, 24, 24, 24, 3], ["relu"] * 3, np.random.default_rng(3), scale=2.0)
    found = {
        compute: analyse_sample(network, Sample(X), Settings(compute=compute))
        for compute in (("radius",), ("radius_jacobian",), ("radius", "radius_jacobian"))
    }
    problem = pose_margins(Bounder(network), Balls(X), None)
    full = find_radius(problem, 16, 1e-3)
    assert full.crown > 1.1 * full.jacobian
    for compute in (("radius_jacobian",), ("radius", "radius_jacobian")):
        assert found[compute]["radius_jacobian"] == full.jacobian
        assert found[compute].keys() == found["radius",].keys()
    assert int(found["radius",]["jacobian_evaluations"]) < full.jacobian_evaluations  # type: ignore[call-overload]
