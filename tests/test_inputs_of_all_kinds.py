"""Runs on data of every door give the same result: the same identity, the same numbers, audited from the same data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distverify as dv
from distverify.inputs import prepare
from distverify.options.run import Inputs

RNG = np.random.default_rng(4)
X = RNG.integers(0, 256, size=(3, 2, 2, 3), dtype=np.uint8)
Y = np.array([0, 1, 1])
NETWORK = dv.Network.from_layers([(RNG.normal(size=(2, 12)), np.zeros(2))])
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.25]


def prepared(x: Any, y: Any = None, **options: Any) -> Any:
    return prepare(NETWORK, x, y, Inputs(**options), dv.Settings(eps=(0.01,)))


def image_folder(folder: Path) -> Path:
    pillow = pytest.importorskip("PIL.Image")
    for k, (image, label) in enumerate(zip(X, Y, strict=True)):
        (folder / f"images/{'no' if label == 0 else 'yes'}").mkdir(parents=True, exist_ok=True)
        pillow.fromarray(image).save(folder / f"images/{'no' if label == 0 else 'yes'}/{k}.png")
    return folder / "images"


def test_a_sequence_is_the_array() -> None:
    pairs = list(zip(X, Y, strict=True))
    assert prepared(pairs).digest == prepared(X, Y).digest
    assert prepared(pairs, no_labels=True).digest == prepared(X).digest
    with pytest.raises(dv.SettingsError, match="y: each sample of x has its label already; leave y out"):
        prepared(pairs, Y)


def test_class_names_come_along(tmp_path: Path) -> None:
    found = prepared(image_folder(tmp_path), scale=255)
    assert found.axis_names == {"output": ("no", "yes")}
    assert prepared(tmp_path / "images", output_names="a,b").axis_names == {"output": ("a", "b")}


def test_a_preprocessing_file_is_mean_and_std(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps({"mean": MEAN * 4, "std": STD * 4, "scale": 255, "size": 2}))
    by_file = prepared(image_folder(tmp_path), preprocessing=tmp_path / "p.json")
    by_hand = prepared(tmp_path / "images", mean=MEAN * 4, std=STD * 4, scale=255)
    assert (by_file.digest, by_file.network.digest) == (by_hand.digest, by_hand.network.digest)
    assert by_file.described["preprocessing"] == {"input_size": [2, 2], "interpolation": "bilinear", "crop_pct": 1.0}
    arrays = prepared(X, Y, preprocessing=tmp_path / "p.json")
    assert arrays.digest == by_hand.digest
    with pytest.raises(dv.SettingsError, match=r"mean: the preprocessing file says it too .*; leave mean out"):
        prepared(X, Y, preprocessing=tmp_path / "p.json", mean=0.5)


def test_images_reach_a_model_of_channels_in_its_order(tmp_path: Path) -> None:
    of_images = dv.Network(NETWORK.nodes, NETWORK.output, (3, 2, 2), NETWORK.precision, NETWORK.remarks)
    settings = dv.Settings(eps=(0.01,))
    found = prepare(of_images, image_folder(tmp_path), None, Inputs(), settings)
    by_hand = prepare(of_images, X, Y, Inputs(layout="hwc", model_layout="chw"), settings)
    assert found.digest == by_hand.digest
    assert (found.data.inputs == X.transpose(0, 3, 1, 2).reshape(3, 12)).all()


def test_a_run_on_a_folder_of_images_is_audited(tmp_path: Path) -> None:
    folder = image_folder(tmp_path)
    told = {"mean": 0.5, "std": 0.5, "rescale_factor": 1 / 255, "do_resize": True, "size": 2}
    output = tmp_path / "out.h5"
    result = dv.certify(
        NETWORK, folder, eps=0.01, preprocessing=told, output=output, executor="serial", compute={"radius"}
    )
    assert list(result["output_name"]) == ["no", "yes"]
    np.savez(tmp_path / "same.npz", x=X, y=Y)
    other = dv.certify(
        NETWORK, tmp_path / "same.npz", eps=0.01, scale=255, mean=0.5, std=0.5, output=tmp_path / "b.h5", executor="serial",
        compute={"radius"},
    )  # fmt: skip
    assert (result["radius"] == other["radius"]).all()
    assert result.provenance["run_id"] == other.provenance["run_id"]
    assert dv.audit(output, NETWORK, folder, points=8, executor="serial").violations == 0
