"""Combinations of options that are refused, and with which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distverify.api import certify
from distverify.errors import SettingsError
from distverify.network.graph import Network
from distverify.options.run import Workers

NETWORK = Network.from_layers([(np.eye(2), np.zeros(2))])
X = np.array([[0.25, 0.5]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "grid"}, "executor: got 'grid'; choose auto, ray, serial"),
        ({"address": "h:1"}, "address: got 'h:1', which only the ray executor uses; leave address out, or choose executor='ray'"),
        ({"max_actors": 2}, "max_actors: got 2, which only the ray executor uses"),
        ({"memory_per_actor": 10**9}, "memory_per_actor: got 1000000000, which only the ray executor uses"),
        ({"cpus_per_actor": 2}, "cpus_per_actor: got 2, which only the ray executor uses"),
    ],
)  # fmt: skip
def test_workers(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Workers(**{"executor": "serial"} | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 255.0}, "scale: got 255.0, which is only for files; divide or slice the array x itself"),
        ({"samples": "0:1"}, "samples: got '0:1', which is only for files; divide or slice the array x itself"),
        ({"eps_units": "normalised"}, "eps_units: got 'normalised', but normalised units need mean or std; add them"),
        (
            {"retry_failed": True, "overwrite": True},
            "retry_failed: got True, but overwrite computes every sample again",
        ),
        ({"compute": ("property",)}, r"compute: got property, which is for property files \(\.vnnlib\); choose any of"),
        (
            {"features": "0:1", "compute": "global", "eps": ()},
            "feature_eps: .*only for attack, evaluation_error, jacobian, landscape, ",
        ),
        ({"feature_eps": np.ones(3)}, "feature_eps: got 3 values; the network takes 2 features"),
        ({"targets": 2}, "targets: got class 2; the network has 0 to 1"),
    ],
)
def test_runs(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        certify(NETWORK, X, output=tmp_path / "out.h5", **{"executor": "serial", "eps": 0.1} | options)
    assert list(tmp_path.iterdir()) == []


def test_labels_beside_a_data_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=X)
    with pytest.raises(SettingsError, match=r"y: .*labels of a data file come from the file; leave y out"):
        certify(NETWORK, tmp_path / "data.npz", [0], output=tmp_path / "out.h5", executor="serial", eps=0.1)


def test_none_is_the_default(tmp_path: Path) -> None:
    """Programs that pass options on may hold None for what nobody chose."""
    result = certify(
        NETWORK, X, output=tmp_path / "out.h5", executor="serial", eps=0.1, compute=None, scale=None, address=None,
        layout=None, features=None, time_limit=None,
    )  # type: ignore[arg-type]  # fmt: skip
    assert result.settings.compute == ("lipschitz", "radius")


def test_factors_from_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "factors.npy", np.array([1.0, 0.0]))
    result = certify(
        NETWORK, X, output=tmp_path / "out.h5", executor="serial", eps=0.1, feature_eps=tmp_path / "factors.npy"
    )
    assert result.settings.feature_eps == (1.0, 0.0)
