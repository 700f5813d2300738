"""Brackets of radii: certified below, attacked above, and counterexamples that are ones in exact arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

import distverify as dv
from distverify.errors import SettingsError
from tests.exact import ExactNetwork
from tests.networks import build_chain


@pytest.mark.parametrize("norm", [math.inf, 2.0, 1.0])
def test_brackets_hold_the_truth_and_narrow_with_nodes(norm):
    widths = []
    for seed in range(3):
        network = build_chain((12, 10, 8, 3), ("relu", "relu"), np.random.default_rng(seed))
        x0 = np.random.default_rng(seed).uniform(0, 1, 12)
        clip = (0.0, 1.0) if seed % 2 else None
        plain = dv.certified_radius(network, x0, norm=norm, clip=clip, evaluations=2)
        attacked = dv.certified_radius(network, x0, norm=norm, clip=clip, evaluations=2, attack=True)
        searched = dv.certified_radius(network, x0, norm=norm, clip=clip, evaluations=2, nodes=400)
        assert attacked.radius == plain.radius
        assert attacked.nodes == 0
        assert searched.radius >= plain.radius
        assert searched.attacked <= attacked.attacked
        assert searched.nodes <= 400
        exact = ExactNetwork(network)
        for found in (attacked, searched):
            assert found.radius <= found.attacked
            if found.counterexample is None:
                continue
            x = [Fraction(float(v)) for v in found.counterexample]
            outputs = exact(x)
            assert max(outputs) > outputs[found.predicted]
            away = [abs(v - Fraction(float(c))) for v, c in zip(x, x0, strict=True)]
            size = max(away) if norm == math.inf else (sum(away) if norm == 1.0 else None)
            limit = Fraction(found.attacked)
            assert size <= limit if size is not None else sum(a * a for a in away) <= limit * limit
            if clip:
                assert all(0 <= v <= 1 for v in x)
        if math.isfinite(searched.attacked):
            widths.append((searched.attacked - searched.radius) / searched.attacked)
    assert widths
    assert np.median(widths) < (0.05 if norm == math.inf else 0.3)


def test_a_misclassified_sample_is_its_own_counterexample():
    network = build_chain((3, 5, 2), ("relu",), np.random.default_rng(0))
    x0 = np.full(3, 0.4)
    wrong = 1 - int(np.argmax(network(x0)[0]))
    found = dv.certified_radius(network, x0, wrong, attack=True)
    assert (found.radius, found.attacked) == (0.0, 0.0)
    assert np.array_equal(found.counterexample, x0)


def test_misuse_says_what_to_do():
    network = build_chain((3, 5, 2), ("relu",), np.random.default_rng(0))
    with pytest.raises(SettingsError, match="nodes: got -1; give a whole number of at least 0"):
        dv.certified_radius(network, np.zeros(3), nodes=-1)
