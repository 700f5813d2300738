"""Warnings about data and radii that are hardly meant, and silence about those that are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distverify.api import certify
from distverify.data.dataset import Dataset, load_dataset
from distverify.data.plausible import find_implausible
from distverify.demo import DATA, MODEL
from distverify.inputs import load_network
from distverify.network.graph import Network

NETWORK = load_network(MODEL)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset(DATA, input_size=64, output_size=10)


def test_data_that_fit_are_not_talked_about(digits: Dataset) -> None:
    assert find_implausible(NETWORK, digits, (0.02, 0.05), None) == ()
    unlabelled = replace(digits, labels=np.full(digits.size, -1))
    assert find_implausible(NETWORK, unlabelled, (0.02,), None) == ()
    assert find_implausible(NETWORK, digits.select(np.arange(3)), (0.02,), None) == ()


def test_a_forgotten_scale(digits: Dataset) -> None:
    generator = np.random.default_rng(0)
    raw = replace(digits, inputs=np.round(digits.inputs * 255.0), labels=generator.permutation(digits.labels))
    (warning,) = find_implausible(NETWORK, raw, (5.0,), None)
    assert (
        "as by guessing, and values reach 255; if it was trained on values up to 1, divide them (scale 255)" in warning
    )


def test_labels_of_other_data(digits: Dataset) -> None:
    wrong = replace(digits, labels=(NETWORK(digits.inputs).argmax(axis=1) + 1) % 10)
    (warning,) = find_implausible(NETWORK, wrong, (0.02,), None)
    assert warning.startswith("data: the model classifies 0 of 200 samples right; check that labels, scale, layout")


@pytest.mark.parametrize(("factor", "step"), [(255.0, "1"), (1.0, "1/255")])
def test_radii_below_the_resolution(factor: float, step: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 4)) / 255.0 * factor
    data = Dataset(pixels, np.full(20, -1), np.arange(20), "data", (4,))
    network = Network.from_layers([(np.ones((2, 4)), np.zeros(2))])
    (warning,) = find_implausible(network, data, (0.0001 * factor, 0.0019 * factor), None)
    assert f"values of the data are multiples of {step}, so no other data lie within" in warning
    assert find_implausible(network, data, (0.0001 * factor, 0.002 * factor), None) == ()
    rough = replace(data, inputs=pixels + 0.1 * np.random.default_rng(2).uniform(size=pixels.shape))
    assert find_implausible(network, rough, (1e-6,), None) == ()


def test_a_run_logs_and_keeps_them(tmp_path: Path, caplog: pytest.LogCaptureFixture, digits: Dataset) -> None:
    wrong = (NETWORK(digits.inputs).argmax(axis=1) + 1) % 10
    result = certify(
        MODEL, digits.inputs, wrong, output=tmp_path / "out.h5", executor="serial", compute="lipschitz", eps=0.02
    )
    assert "classifies 0 of 200 samples right" in caplog.text
    (kept,) = result.provenance["environment"]["warnings"]
    assert "classifies 0 of 200 samples right" in kept
