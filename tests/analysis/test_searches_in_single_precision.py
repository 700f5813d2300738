"""Searches whose verdicts also hold for the network that runs: proofs with a margin, counterexamples in every order of summation."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import distverify as dv
from distverify.analysis.property import decide_property
from distverify.analysis.sample import analyse_sample
from distverify.bounds.outputs import output_bounds
from distverify.data.vnnlib.property import load_property
from distverify.errors import SettingsError
from distverify.network.graph import Network
from distverify.region import Ball
from distverify.settings import Settings
from distverify.status import BY_BRANCHING, FALSIFIED, MISCLASSIFIED, OK, UNDECIDED
from distverify.work import Sample
from tests.bounds.test_evaluation_error import cancelling, points, reassociated, write_onnx


def small(seed: int) -> Network:
    rng = np.random.default_rng(seed)
    shapes = pairwise([6, 12, 12, 3])
    layers = [(rng.standard_normal((m, n)) / math.sqrt(n), 0.3 * rng.standard_normal(m)) for n, m in shapes]
    return Network.from_layers(layers, "relu")


@pytest.mark.parametrize("norm", [math.inf, 2.0])
def test_brackets_hold_in_both_arithmetics(norm: float) -> None:
    inner = 0.999 if norm == math.inf else 0.999 / math.sqrt(6.0)
    for seed in (2, 3):
        network, x0 = small(seed), np.random.default_rng(seed).uniform(0, 1, 6)
        exact = dv.certified_radius(network, x0, norm=norm, evaluations=2, nodes=60)
        running = dv.certified_radius(network, x0, norm=norm, evaluations=2, nodes=60, arithmetic="float32")
        assert 0.0 < running.radius <= running.attacked < math.inf
        assert running.radius == pytest.approx(exact.radius, rel=0.05)
        assert running.counterexample is not None
        for x in (running.counterexample[None], points(Ball(x0, inner * running.radius), 200, seed)):
            outputs = [reassociated(network, x, np.random.default_rng(k)) for k in range(20)]
            classes = {int(c) for run in outputs for c in np.argmax(run, axis=1)}
            assert (running.predicted not in classes) if x.shape[0] == 1 else classes == {running.predicted}


def test_a_runtime_confirms_counterexamples(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = write_onnx(tmp_path / "model.onnx", [6, 16, 16, 4], "Relu", 1.5, 3)
    network = dv.load_network(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = 0
    for seed in range(4):
        x0 = np.random.default_rng(seed).standard_normal(6)
        running = dv.certified_radius(network, x0, attack=True, evaluations=2, arithmetic="float32")
        if running.counterexample is None:
            continue
        found += 1
        outputs = session.run(None, {"x": running.counterexample.astype(np.float32)[None]})[0]
        assert int(np.argmax(outputs)) != running.predicted
    assert found


def test_what_single_precision_may_break_is_neither_proved_nor_broken() -> None:
    """The exact margin is positive out to 0.5; evaluation may lose all of it, and shows no certain counterexample before that."""
    network, x0 = cancelling(), np.array([0.3, 0.4])
    settings = {"eps": (0.3,), "compute": ("verified", "attack"), "nodes": 50}
    exact = analyse_sample(network, Sample(x0, 0), Settings(**settings))
    running = analyse_sample(network, Sample(x0, 0), Settings(**settings, arithmetic="float32"))
    assert exact["verified"][0] > 0
    assert running["verified"][0] == 0
    assert (exact["status"], running["status"]) == (OK, UNDECIDED)
    assert "differ by less than the error of their evaluation" in running["message"]
    assert np.isnan(running["counterexample"]).all()
    assert running["radius_attacked"] == math.inf


def test_near_ties_are_decided_by_the_arithmetic_that_counts() -> None:
    rows = np.array([[1e4, 1.0], [1e4, 0.0]])
    network = Network.from_layers([(rows, np.zeros(2))])
    for gap, status in ((1e-9, UNDECIDED), (10.0, OK), (-10.0, MISCLASSIFIED), (-1e-9, UNDECIDED)):
        values = analyse_sample(
            network, Sample(np.array([1.0, gap]), 0), Settings(compute=("radius",), arithmetic="float32")
        )
        assert values["status"] == status
        assert (values["radius"] > 0.0) == (status == OK)


def test_output_bounds_in_single_precision() -> None:
    network, x0 = small(5), np.full(6, 0.4)
    region = Ball(x0, 0.01)
    exact, running = (output_bounds(network, region, arithmetic=a) for a in ("exact", "float32"))
    assert (running.lower < exact.lower - 1e-9).all()
    assert (running.upper > exact.upper + 1e-9).all()
    settings = Settings(eps=(0.01,), compute=("outputs",), arithmetic="float32", domain=(0.39, 0.41))
    stored = analyse_sample(network, Sample(x0, -1), settings)
    np.testing.assert_allclose(stored["output_lower"][0], running.lower, rtol=1e-12)
    np.testing.assert_allclose(stored["output_upper"][0], running.upper, rtol=1e-12)
    outputs = np.concatenate(
        [reassociated(network, points(region, 300, k), np.random.default_rng(k)) for k in range(5)]
    )
    assert (outputs >= running.lower).all()
    assert (outputs <= running.upper).all()
    with pytest.raises(SettingsError, match="arithmetic: got 'half'; choose exact, float32"):
        output_bounds(network, region, arithmetic="half")


def test_properties_are_searched_in_single_precision(tmp_path: Path) -> None:
    """y = relu(x) + relu(-x) + c against c' for c' just below, and well below, the least value."""
    layers = [(np.array([[1.0], [-1.0]]), np.zeros(2)), (np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([1.0, 1.0]))]
    network = Network.from_layers(layers, "relu")
    verdicts = {}
    for least in (1e-9, -0.01, 0.5):
        text = "(declare-const X_0 Real)\n(declare-const Y_0 Real)\n(declare-const Y_1 Real)\n"
        text += f"(assert (>= X_0 -1.0))\n(assert (<= X_0 1.0))\n(assert (<= Y_0 {1.0 + least!r}))\n"
        (tmp_path / "p.vnnlib").write_text(text)
        prop = load_property(tmp_path / "p.vnnlib", input_size=1, output_size=2)
        verdicts[least] = decide_property(network, prop, 50, arithmetic="float32").status
    assert verdicts == {1e-9: "unknown", -0.01: "verified", 0.5: "falsified"}


def test_verdicts_of_runs() -> None:
    network, x0 = small(2), np.random.default_rng(2).uniform(0, 1, 6)
    label = int(np.argmax(network(x0)[0]))
    bracket = dv.certified_radius(network, x0, evaluations=2, nodes=60, arithmetic="float32")
    radii = max(bracket.crown, bracket.jacobian), bracket.radius
    eps = tuple(sorted({0.5 * sum(radii), 1.1 * bracket.attacked}))
    settings = Settings(eps=eps, compute=("verified", "attack"), nodes=200, arithmetic="float32")
    values = analyse_sample(network, Sample(x0, label), settings)
    assert values["verified"].tolist()[-1] == FALSIFIED
    assert values["verified"].tolist()[0] in (BY_BRANCHING, 1, 2)
