"""Rows of data in another order than the model's."""

from __future__ import annotations

import numpy as np
import pytest

from distverify.data.dataset import dataset_from_arrays
from distverify.data.image_layout import arrange_images
from distverify.errors import SettingsError

CHW = np.random.default_rng(1).normal(size=(4, 3, 5, 6))
HWC = CHW.transpose(0, 2, 3, 1)


@pytest.mark.parametrize(
    ("stored", "layout", "wanted", "shape"),
    [
        (HWC, "hwc", CHW, (3, 5, 6)),
        (CHW, "chw", CHW, (3, 5, 6)),
        (CHW, "flat", CHW, (3, 5, 6)),
        (CHW, "chw", HWC, (5, 6, 3)),
        (HWC, "hwc", HWC, (5, 6, 3)),
    ],
)
def test_brought_to_the_models_order(
    stored: np.ndarray, layout: str, wanted: np.ndarray, shape: tuple[int, ...]
) -> None:
    data = dataset_from_arrays(stored.reshape(4, -1), [0, 1, 0, 1], input_size=90, output_size=2)
    arranged = arrange_images(data, layout, shape)
    assert (arranged.inputs == wanted.reshape(4, -1)).all()
    assert arranged.inputs.flags.c_contiguous
    assert (arranged.labels == data.labels).all()


@pytest.mark.parametrize(
    ("layout", "shape", "message"),
    [
        ("whc", (3, 5, 6), "layout: got 'whc'; choose flat, chw, hwc"),
        ("hwc", (90,), r"layout: got 'hwc', but the model takes values of shape \(90,\), no image; leave it out"),
    ],
)
def test_refused(layout: str, shape: tuple[int, ...], message: str) -> None:
    data = dataset_from_arrays(CHW, input_size=90, output_size=2)
    with pytest.raises(SettingsError, match=message):
        arrange_images(data, layout, shape)
