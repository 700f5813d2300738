from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distverify.errors import ResultError, SettingsError
from distverify.pages.content import gather, image_shape
from distverify.quantities.radius import RADIUS
from tests.pages.results import write_result


@pytest.mark.parametrize(
    ("size", "told", "expected"),
    [
        (784, [784], (28, 28)),
        (784, [784, 1], (28, 28)),
        (784, [1, 28, 28], (1, 28, 28)),
        (3072, [3, 32, 32], (3, 32, 32)),
        (3072, [32, 32, 3], (32, 32, 3)),
        (3072, [3072], (3, 32, 32)),
        (600, [20, 30], (20, 30)),
        (5, [5], None),
        (25, [25], None),
        (30, [30], None),
    ],
)
def test_image_shapes_are_guessed(size: int, told: list[int], expected: tuple[int, ...] | None) -> None:
    assert image_shape(size, told) == expected


def test_image_shapes_that_are_said() -> None:
    assert image_shape(30, [30], (5, 6)) == (5, 6)
    with pytest.raises(SettingsError, match=r"shape: got 5,5 for 30 values; give H,W or C,H,W"):
        image_shape(30, [30], (5, 5))


def test_maps_are_those_of_the_predicted_class(tmp_path: Path) -> None:
    result = write_result(tmp_path / "out.h5")
    (found,) = gather(result, samples=[105]).maps
    values = result.read_sample(105)
    predicted = int(values["predicted"])
    lower, upper = values["jacobian_lower"][2, predicted], values["jacobian_upper"][2, predicted]
    assert found.eps == [0.01, 0.1]
    np.testing.assert_array_equal(found.magnitude[1].ravel(), np.maximum(abs(lower), abs(upper)))
    np.testing.assert_array_equal(found.sign[1].ravel(), np.where(lower > 0, 1, np.where(upper < 0, -1, 0)))
    np.testing.assert_array_equal(found.image.ravel(), values["x0"])


def test_colours_share_a_sign_only_where_all_agree(tmp_path: Path) -> None:
    result = write_result(tmp_path / "out.h5", input_size=3 * 64)
    (found,) = gather(result, samples=[105]).maps
    values = result.read_sample(105)
    predicted = int(values["predicted"])
    signs = np.sign(
        values["jacobian_lower"][0, predicted].clip(0) + values["jacobian_upper"][0, predicted].clip(None, 0)
    ).reshape(3, 8, 8)
    np.testing.assert_array_equal(found.sign[0], np.where((signs == signs[0]).all(axis=0), signs[0], 0))
    assert found.image.shape == (8, 8, 3)


def test_failed_and_misclassified_samples_count_as_not_certified(tmp_path: Path) -> None:
    content = gather(write_result(tmp_path / "out.h5"))
    (spread,) = RADIUS.spreads
    radii = content.numbers(spread)
    assert radii.size == 23
    assert (radii == 0).sum() == 1
    hardest, easiest = content.extremes()
    assert content.arrays["radius"][hardest[0]] == np.nanmin(np.delete(content.arrays["radius"], [1]))
    assert not {1, 2} & {*hardest, *easiest}


def test_samples_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="samples: the result has no sample 3"):
        gather(write_result(tmp_path / "out.h5"), samples=[3])
    with pytest.raises(ResultError, match="has no Jacobians of images to draw for samples"):
        gather(write_result(tmp_path / "r.h5", compute=("radius",)), samples=[105])
