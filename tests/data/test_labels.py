"""What y may hold: classes, one-hot rows, targets of a regression."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distverify.api import certify
from distverify.data.dataset import dataset_from_arrays
from distverify.errors import DataError, SettingsError
from distverify.network.graph import Network

X = np.random.default_rng(0).uniform(size=(5, 2))


def labels_of(y: Any, output_size: int = 3) -> tuple[list[int], bool]:
    data = dataset_from_arrays(X, y, input_size=2, output_size=output_size)
    return data.labels.tolist(), data.regression


def test_classes_and_one_hot_rows() -> None:
    classes = [0, 2, 1, 1, 0]
    assert labels_of(classes) == (classes, False)
    assert labels_of(np.array(classes, dtype=np.float32)[:, None]) == (classes, False)
    assert labels_of(np.eye(3)[classes]) == (classes, False)
    assert labels_of(np.eye(3, dtype=np.uint8)[classes]) == (classes, False)


@pytest.mark.parametrize(
    ("y", "output_size"),
    [
        (np.linspace(-1.0, 1.0, 5), 3),
        (np.array([0.0, 0.5, 1.0, 1.5, 2.5]), 3),
        (np.random.default_rng(1).normal(size=(5, 3)), 3),
        (np.ones((5, 2)), 3),
        (np.eye(3)[[0, 1, 2, 0, 1]] * 2.0, 3),
        (np.arange(5), 1),
    ],
)
def test_targets_are_no_classes(y: np.ndarray, output_size: int) -> None:
    assert labels_of(y, output_size) == ([-1] * 5, True)


def test_a_few_odd_labels_are_a_mistake() -> None:
    with pytest.raises(DataError, match=r"y: 1 labels are no whole number from 0 to 2, the first in sample 3: 1\.5"):
        labels_of([0, 1, 2, 1.5, 0])
    with pytest.raises(DataError, match="y: 1 labels are no whole number from 0 to 2, the first in sample 1: 3; check"):
        labels_of([0, 3, 2, 1, 0])


def test_a_regression_is_bounded_but_not_compared(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = Network.from_layers([(np.array([[1.0, 1.0], [0.0, 0.5]]), np.zeros(2))])
    targets = np.linspace(0.1, 0.9, 5)
    options: dict[str, Any] = {"output": tmp_path / "out.h5", "executor": "serial", "eps": 0.1}
    with pytest.raises(
        SettingsError, match=r"compute: radius compares classes, and y holds real numbers, .*no_labels=True"
    ):
        certify(network, X, targets, **options)
    result = certify(network, X, targets, compute="lipschitz", **options)
    assert (result["label"] == -1).all()
    assert "y holds real numbers, taken for targets of a regression" in caplog.text
    assert result.provenance["environment"]["warnings"] == [
        "data: y holds real numbers, taken for targets of a regression; bounds are computed without a class"
    ]
    others = options | {"output": tmp_path / "radii.h5"}
    assert (certify(network, X, targets, no_labels=True, **others)["status"] == 1).all()
