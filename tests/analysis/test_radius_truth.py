"""Certified radii: searches as pure functions, targets, and adversarial examples that must stay outside."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from distverify.analysis import radius as radius_module
from distverify.analysis.landscape import stationary_free_radius
from distverify.analysis.march import march_radii
from distverify.analysis.margins import choose_targets
from distverify.analysis.radius import CertifiedRadius, certified_radius
from distverify.analysis.search import TOLERANCE, search_each, search_smallest
from distverify.bounds.enclosure import enclose
from distverify.bounds.gradient import jacobian_at
from distverify.bounds.jacobian import margin_rows
from distverify.errors import SettingsError
from distverify.network.graph import Network
from distverify.region import Ball
from tests.networks import NORMS, Floats, build_chain, crown_rows

# An attack moves points in float64: its distances are right to this much.
DISTANCE_ERROR = 1e-12


class Recorder:
    """A margin function that remembers where it was asked."""

    def __init__(self, function: Callable[[float], list[float]]) -> None:
        self.function = function
        self.asked: dict[float, Floats] = {}

    def __call__(self, radius: float) -> Floats:
        self.asked[radius] = np.array(self.function(radius))
        return self.asked[radius]


def assert_found_by_evaluation(recorder: Recorder, found: Floats) -> None:
    for k, r in enumerate(found):
        assert r == 0.0 or recorder.asked[float(r)][k] > 0.0, f"radius {r} of margin {k} was never seen positive"


def assert_refuted_beyond(recorder: Recorder, found: Floats, k: int, root: float) -> None:
    failed = [r for r, f in recorder.asked.items() if not f[k] > 0 and r > found[k]]
    assert failed
    assert min(failed) - found[k] <= 1.01 * TOLERANCE * min(failed)
    assert found[k] == pytest.approx(root, rel=0.01)


FUNCTIONS: list[tuple[Callable[[float], list[float]], float, float]] = [
    # Two criteria, and where each vanishes.
    (lambda r: [1.0 - r, 3.0 - r], 1.0, 3.0),
    (lambda r: [2.0 - r - math.exp(min(30 * r, 600.0)) / math.exp(15.0), 5.0 - 2 * r], 0.5134, 2.5),
    (lambda r: [1.0 - r**3 * 1e3, 1.0 - r**2], 0.1, 1.0),
    (lambda r: [1e-7 - 1e-3 * r, 1.0 - 1e4 * r], 1e-4, 1e-4),
    (lambda r: [math.nan if r > 0.25 else 1.0 - r, 1.0 - r], 0.25, 1.0),
    (lambda r: [-math.inf if r > 0.25 else 1.0, math.nan if r > 0.3 else 2.0], 0.25, 0.3),
    (lambda r: [1.0 if r < 0.4 else -1e300, 1e300 - 1e300 * r], 0.4, 1.0),
]


@pytest.mark.parametrize("guess", [1e-9, 0.3, 0.999, 1.0, 1.7, 5e4])
@pytest.mark.parametrize(("function", "root", "second"), FUNCTIONS)
def test_searches_close_in_on_the_roots(
    function: Callable[[float], list[float]], root: float, second: float, guess: float
) -> None:
    recorder = Recorder(function)
    at_zero = np.array(function(0.0))
    found = search_smallest(recorder, at_zero, guess, 1e6)
    assert_found_by_evaluation(recorder, found)
    assert_refuted_beyond(recorder, found, int(np.argmin(found)), root)
    recorder = Recorder(function)
    found = search_each(recorder, at_zero, guess, 1e6)
    assert_found_by_evaluation(recorder, found)
    assert_refuted_beyond(recorder, found, 0, root)
    assert_refuted_beyond(recorder, found, 1, second)


@pytest.mark.parametrize("search", [search_smallest, search_each])
@pytest.mark.parametrize("guess", [0.1, 3.0, 7.0])
def test_search_stops_at_the_limit(search: Callable[..., Floats], guess: float) -> None:
    recorder = Recorder(lambda r: [1.0, 2.0])
    assert search(recorder, np.array([1.0, 2.0]), guess, 3.0).tolist() == [3.0, 3.0]
    assert max(recorder.asked) == 3.0


@pytest.mark.parametrize("search", [search_smallest, search_each])
@pytest.mark.parametrize("value", [-1.0, 0.0, math.nan, -math.inf])
def test_search_that_never_sees_a_positive_value(search: Callable[..., Floats], value: float) -> None:
    recorder = Recorder(lambda r: [value, 1.0])
    found = search(recorder, np.array([1.0, 1.0]), 0.5, 10.0)
    assert found[0] == 0.0
    assert_found_by_evaluation(recorder, found)
    assert len(recorder.asked) <= 200


def test_search_of_each_gives_zero_where_nothing_holds_at_the_centre() -> None:
    found = search_each(Recorder(lambda r: [1.0 - r, 5.0]), np.array([1.0, -1.0]), 0.5, 10.0)
    assert found[1] == 0.0
    assert found[0] == pytest.approx(1.0, rel=TOLERANCE)


def test_march_over_a_constant_slope_is_exact() -> None:
    radii, _ = march_radii(lambda r: np.array([2.0, 1.0]), np.array([1.0, 1.0]), 0.03, 100.0)
    assert radii[0] == pytest.approx(0.5, rel=1e-12)
    assert radii[0] <= 0.5
    assert radii[0] <= radii[1] <= 1.0


@pytest.mark.parametrize("guess", [2.0, 0.5, 0.05, 0.01])
@pytest.mark.parametrize("evaluations", [1, 2, 8, 16, 200])
def test_march_over_a_growing_slope_stays_below_the_truth(guess: float, evaluations: int) -> None:
    # The integral of exp r from 0 to R is exp R - 1: a margin of 1 is used up at log 2.
    asked: list[float] = []

    def growing(r: float) -> Floats:
        asked.append(r)
        return np.array([math.exp(r)])

    radii, used = march_radii(growing, np.array([1.0]), guess, 100.0, evaluations=evaluations)
    assert used == len(asked) <= evaluations
    assert len(set(asked)) == len(asked)
    assert radii[0] <= math.log(2.0)
    if evaluations >= 16:
        assert radii[0] >= math.log(2.0) * (1.0 - 1.0 / evaluations)


def test_march_never_spends_more_than_the_margin_in_exact_arithmetic() -> None:
    """The staircase's sums are rounded: without allowance for that about half of these radii would be too large."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        margin, start, growth = rng.uniform(0.5, 2.0), rng.uniform(0.5, 2.0), rng.uniform(0.0, 3.0)
        seen: dict[float, float] = {}

        def constants(radius: float, start: float = start, growth: float = growth, seen: dict = seen) -> Floats:  # type: ignore[type-arg]
            seen[radius] = start + growth * radius
            return np.array([seen[radius]])

        radii, _ = march_radii(constants, np.array([margin]), rng.uniform(0.05, 0.5), 100.0, evaluations=5)
        end, inner, spent = Fraction(float(radii[0])), Fraction(0), Fraction(0)
        for radius in sorted(seen):
            outer = min(Fraction(radius), end)
            spent += Fraction(seen[radius]) * max(outer - inner, Fraction(0))
            inner = max(inner, outer)
        assert end <= Fraction(max(seen))
        assert spent < Fraction(margin)
        assert spent > Fraction(margin) * (1 - Fraction(1, 10**13)) or end == Fraction(max(seen))


def test_march_stops_at_its_tolerance() -> None:
    def march(tolerance: float) -> tuple[Floats, int]:
        return march_radii(lambda r: np.exp([r]), np.array([1.0]), 0.5, 100.0, evaluations=1000, tolerance=tolerance)

    loose, close = march(0.1), march(0.01)
    assert loose[0][0] >= 0.9 * math.log(2.0)
    assert close[0][0] >= 0.99 * math.log(2.0)
    assert loose[1] < close[1] < 200


def test_march_asks_for_no_radius_that_cannot_matter() -> None:
    asked: list[float] = []

    def steep(r: float) -> Floats:
        asked.append(r)
        return np.array([10.0 + 100.0 * r, 1.0])

    radii, _ = march_radii(steep, np.array([1.0, 5.0]), 5.0, 100.0, slopes=np.array([10.0, 1.0]))
    # No margin of 1 outlasts 0.1 where the constant is 10 at least; only the guess was beyond.
    assert max(asked[1:]) <= 0.1
    assert radii[0] == pytest.approx(0.0732, rel=0.05)
    assert radii[0] <= (math.sqrt(300.0) - 10.0) / 100.0


def test_march_with_infinite_and_missing_slopes_keeps_what_was_reached() -> None:
    for bad in (math.inf, math.nan):
        radii, _ = march_radii(lambda r, bad=bad: np.array([1.0 if r <= 0.35 else bad]), np.array([1.0]), 0.1, 100.0)
        assert 0.34 <= radii[0] <= 0.35
        assert march_radii(lambda r, bad=bad: np.array([bad]), np.array([1.0]), 0.1, 100.0)[0][0] == 0.0


def test_march_takes_a_smaller_constant_of_a_larger_ball() -> None:
    # Not monotone: what holds in the ball of radius 1 holds in all smaller ones.
    radii, _ = march_radii(lambda r: np.array([1.0 if r >= 0.9 else 4.0]), np.array([1.0]), 1.0, 1.0)
    assert radii[0] == pytest.approx(1.0, rel=1e-12)


def test_march_of_a_flat_margin_ends_at_the_limit() -> None:
    radii, used = march_radii(lambda r: np.zeros(2), np.array([1.0, 2.0]), 0.1, 0.75)
    assert (radii.tolist(), used) == ([0.75, 0.75], 2)


def test_march_that_uses_every_evaluation_up_claims_only_what_it_saw() -> None:
    asked: list[float] = []

    def flat(r: float) -> Floats:
        asked.append(r)
        return np.array([1e-9])

    radii, used = march_radii(flat, np.array([1.0]), 1e-3, 1e6, evaluations=5)
    assert used == 5
    assert radii[0] <= max(asked)


LOGITS = np.array([0.1, 3.0, -2.0, 2.5])


def test_targets() -> None:
    assert choose_targets(LOGITS, 1, "untargeted", 0) == [0, 2, 3]
    assert choose_targets(LOGITS, 1, "runner-up", 0) == [3]
    assert choose_targets(LOGITS, 3, "runner-up", 0) == [1]
    assert choose_targets(LOGITS, 1, "least-likely", 0) == [2]
    assert choose_targets(LOGITS, 2, "least-likely", 0) == [0]
    assert choose_targets(LOGITS, 1, 2, 0) == [2]
    assert choose_targets(LOGITS, 1, 1, 0) == []


def test_random_target_depends_on_the_seed_only() -> None:
    chosen = [choose_targets(LOGITS, 1, "random", (7, i))[0] for i in range(40)]
    assert chosen == [choose_targets(LOGITS, 1, "random", (7, i))[0] for i in range(40)]
    assert set(chosen) == {0, 2, 3}


def test_targets_that_make_no_sense() -> None:
    with pytest.raises(SettingsError, match="targets: got class 4; the network has classes 0 to 3"):
        choose_targets(LOGITS, 1, 4, 0)
    with pytest.raises(SettingsError, match="targets: got 'all'; choose untargeted, runner-up"):
        choose_targets(LOGITS, 1, "all", 0)


def relu_network(seed: int = 0) -> Network:
    return build_chain([4, 12, 10, 3], ["relu", "relu"], np.random.default_rng(seed))


def test_misclassified_sample_has_radius_zero() -> None:
    network, x = relu_network(), np.array([0.2, 0.4, 0.6, 0.8])
    predicted = int(np.argmax(network(x)[0]))
    label = (predicted + 1) % 3
    found = certified_radius(network, x, label)
    assert (found.radius, found.crown, found.jacobian, found.predicted) == (0.0, 0.0, 0.0, predicted)
    assert math.isnan(found.targets[label])
    assert np.nansum(found.targets) == 0.0


def test_target_that_is_the_own_class_has_no_radius() -> None:
    network, x = relu_network(), np.array([0.2, 0.4, 0.6, 0.8])
    label = int(np.argmax(network(x)[0]))
    found = certified_radius(network, x, label, targets=label)
    assert math.isnan(found.radius)
    assert math.isnan(found.crown)
    assert math.isnan(found.jacobian)
    assert np.isnan(found.targets).all()


def test_label_and_network_are_checked() -> None:
    network = relu_network()
    with pytest.raises(SettingsError, match="label: got 3; the network has classes 0 to 2"):
        certified_radius(network, np.zeros(4), 3)
    single = Network.from_layers([(np.ones((1, 4)), np.zeros(1))])
    with pytest.raises(SettingsError, match="at least two classes"):
        certified_radius(single, np.zeros(4))
    with pytest.raises(SettingsError, match="method: got 'ibp'"):
        certified_radius(network, np.zeros(4), method="ibp")


@pytest.mark.parametrize("norm", NORMS)
def test_linear_network_has_the_exact_radius(norm: float) -> None:
    weight, bias = np.array([[1.0, 2.0, -1.0], [-1.0, 0.5, 2.0], [0.0, 0.0, 0.1]]), np.array([0.3, 0.0, -0.2])
    network, x = Network.from_layers([(weight, bias)]), np.array([0.5, 0.5, 0.1])
    logits = network(x)[0]
    label = int(np.argmax(logits))
    dual = {math.inf: 1, 2.0: 2, 1.0: np.inf}[norm]
    exact = {
        j: (logits[label] - logits[j]) / np.linalg.norm(weight[label] - weight[j], ord=dual)
        for j in range(3)
        if j != label
    }
    found = certified_radius(network, x, label, norm=norm)
    assert found.radius <= min(exact.values()) * (1 + 1e-12)
    assert found.crown >= min(exact.values()) * (1 - 1.01 * TOLERANCE)
    assert found.jacobian == pytest.approx(min(exact.values()), rel=1e-9)


def attack(network: Network, x0: Floats, label: int, target: int, eps: float, norm: float, clip: object) -> Floats:
    """Projected gradient descent on the margin, from random starts: the points tried, [N, D], all within eps."""
    rng = np.random.default_rng(0)
    rows = margin_rows(network.output_size, label, [target])
    x = x0 + _project(eps * rng.uniform(-1, 1, (64, x0.size)), eps, norm)
    for step in range(40):
        gradient = jacobian_at(network, x, rows)[:, 0]
        if norm == math.inf:
            direction = np.sign(gradient)
        elif norm == 2.0:
            direction = gradient / np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-300)
        else:
            direction = np.sign(gradient) * (np.abs(gradient) == np.abs(gradient).max(axis=1, keepdims=True))
        x = x0 + _project(x - 0.3 * eps * 0.95**step * direction - x0, eps, norm)
        if clip is not None:
            x = np.clip(x, *clip)  # type: ignore[misc]
    return x


def _project(d: Floats, eps: float, norm: float) -> Floats:
    if norm == math.inf:
        return np.clip(d, -eps, eps)
    sizes = np.linalg.norm(d, ord=norm, axis=1, keepdims=True)
    return d * np.minimum(1.0, eps / np.maximum(sizes, 1e-300))


@pytest.mark.parametrize("clip", [None, (0.0, 1.0)])
@pytest.mark.parametrize("norm", NORMS)
def test_no_attack_succeeds_within_the_radius(norm: float, clip: tuple[float, float] | None) -> None:
    for seed in range(3):
        network = relu_network(seed)
        x0 = np.random.default_rng(seed).uniform(0, 1, 4)
        label = int(np.argmax(network(x0)[0]))
        found = certified_radius(network, x0, label, norm=norm, clip=clip)
        assert found.radius == max(found.crown, found.jacobian) or found.radius >= found.crown
        for target in range(3):
            if target == label:
                continue
            assert found.targets[target] >= found.radius
            for factor in (1.0, 1.5, 2.5, 5.0, 20.0):
                x = attack(network, x0, label, target, found.targets[target] * factor, norm, clip)
                logits = network(x)
                adversarial = x[logits[:, target] > logits[:, label]]
                if adversarial.size:
                    distance = np.linalg.norm(adversarial - x0, ord=norm, axis=1).min()
                    assert distance > found.targets[target] * (1 - DISTANCE_ERROR)
                    break


def test_published_crown_radius_was_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = relu_network(1), np.array([0.2, 0.4, 0.6, 0.8])
    seen: list[float] = []
    original = radius_module.search_smallest

    def recording(margins: Callable[[float], Floats], *args: object) -> Floats:
        def noted(eps: float) -> Floats:
            seen.append(eps)
            return margins(eps)

        return original(noted, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(radius_module, "search_smallest", recording)
    found = certified_radius(network, x)
    assert found.crown in seen
    label = found.predicted
    others = [j for j in range(3) if j != label]
    lower, _ = crown_rows(enclose(network, Ball(x, found.crown)), margin_rows(3, label, others))
    assert (lower > 0).all()


def test_landscape_radius_holds_no_stationary_point() -> None:
    # One hidden neuron: f = (x - 1) sin-like bump; every point of the ball has a gradient of one known sign.
    network = Network.from_layers([(np.array([[1.0]]), np.array([0.0])), (np.array([[1.0]]), np.array([0.0]))], "sin")
    found = stationary_free_radius(network, np.array([0.0]))
    # d sin / dx = cos x vanishes at pi / 2.
    assert found[0] <= math.pi / 2
    assert found[0] >= math.pi / 2 * (1 - 2 * TOLERANCE)


def test_landscape_radius_of_a_linear_and_of_a_dead_network() -> None:
    clip = (0.0, 1.0)
    linear = Network.from_layers([(np.array([[1.0, -2.0], [0.0, 0.0]]), np.zeros(2))])
    found = stationary_free_radius(linear, np.array([0.5, 0.5]), clip=clip)
    assert found[0] >= 0.5
    assert found[1] == 0.0


@pytest.mark.parametrize("kind", ["tanh", "sigmoid", "leaky_relu", "gelu", "sin"])
def test_radius_of_other_activations(kind: str) -> None:
    network = build_chain([3, 8, 3], [kind], np.random.default_rng(2))
    x0 = np.array([0.3, 0.1, 0.9])
    found: CertifiedRadius = certified_radius(network, x0)
    assert found.radius > 0
    label = found.predicted
    for target in (j for j in range(3) if j != label):
        logits = network(attack(network, x0, label, target, float(found.targets[target]), math.inf, None))
        assert (logits[:, label] >= logits[:, target] - DISTANCE_ERROR).all()
