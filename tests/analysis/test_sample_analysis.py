"""What a run stores about one sample, against the functions that it is made of."""

from __future__ import annotations

import numpy as np
import pytest

from distverify.analysis.lipschitz import lipschitz_constant
from distverify.analysis.radius import certified_radius
from distverify.analysis.sample import analyse_sample
from distverify.bounds.jacobian import jacobian_bounds
from distverify.region import Ball
from distverify.settings import Settings
from distverify.status import MISCLASSIFIED, OK
from distverify.work import Sample
from tests.networks import NORMS, build_chain

X = np.array([0.2, 0.4, 0.6])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("clip", [None, (0.0, 1.0)])
def test_everything_asked_for(norm: float, clip: tuple[float, float] | None) -> None:
    network = build_chain([3, 6, 5, 4], ["relu", "tanh"], np.random.default_rng(3))
    label = int(np.argmax(network(X)[0]))
    settings = Settings(norm=norm, eps=(0.05, 0.01), compute=("jacobian", "lipschitz", "radius_jacobian"), clip=clip)
    found = analyse_sample(network, Sample(X, label, 5), settings)
    assert (found["status"], found["message"], found["predicted"]) == (OK, "", label)
    np.testing.assert_array_equal(found["logits"], network(X)[0])
    for i, eps in enumerate(settings.eps):
        region = Ball(X, eps, norm, clip)
        bounds, constants = jacobian_bounds(network, region), lipschitz_constant(network, region)
        np.testing.assert_array_equal(np.asarray(found["jacobian_lower"])[i], bounds.lower)
        np.testing.assert_array_equal(np.asarray(found["jacobian_upper"])[i], bounds.upper)
        np.testing.assert_array_equal(np.asarray(found["lipschitz"])[i], constants.rows)
        assert np.asarray(found["lipschitz_vector"])[i] == constants.vector
    radius = certified_radius(network, X, label, norm=norm, clip=clip)
    assert (found["radius"], found["radius_crown"], found["radius_jacobian"]) == (
        radius.radius,
        radius.crown,
        radius.jacobian,
    )
    np.testing.assert_array_equal(found["radius_target"], radius.targets)


def test_only_what_was_asked_for() -> None:
    network = build_chain([3, 6, 4], ["relu"], np.random.default_rng(3))
    always = {"status", "message", "predicted", "logits"}
    assert set(analyse_sample(network, Sample(X), Settings(compute=("radius",)))) - always == {
        "radius", "radius_crown", "radius_jacobian", "radius_target", "crown_evaluations", "jacobian_evaluations",
    }  # fmt: skip
    lipschitz = Settings(eps=(0.1,), compute=("lipschitz",))
    assert set(analyse_sample(network, Sample(X), lipschitz)) - always == {"lipschitz", "lipschitz_vector"}


def test_misclassified_and_own_target_are_told() -> None:
    network = build_chain([3, 6, 4], ["relu"], np.random.default_rng(3))
    predicted = int(np.argmax(network(X)[0]))
    wrong = (predicted + 1) % 4
    found = analyse_sample(network, Sample(X, wrong, 0), Settings(compute=("radius",)))
    assert found["status"] == MISCLASSIFIED
    assert found["message"] == f"predicted class {predicted}, label {wrong}"
    assert found["radius"] == 0.0
    own = analyse_sample(network, Sample(X, predicted, 0), Settings(compute=("radius",), targets=predicted))
    assert np.isnan(own["radius"])  # type: ignore[arg-type]
    assert "own class" in str(own["message"])


def test_random_targets_follow_seed_and_index() -> None:
    network = build_chain([3, 6, 6], ["relu"], np.random.default_rng(3))

    def target(index: int, seed: int) -> int:
        found = analyse_sample(
            network, Sample(X, -1, index), Settings(compute=("radius",), targets="random", seed=seed)
        )
        return int(np.flatnonzero(~np.isnan(np.asarray(found["radius_target"], dtype=float)))[0])

    chosen = [target(i, 0) for i in range(12)]
    assert chosen == [target(i, 0) for i in range(12)]
    assert len(set(chosen)) > 1
    assert chosen != [target(i, 1) for i in range(12)]
