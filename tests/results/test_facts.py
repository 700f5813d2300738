"""Facts about a data set, by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from distverify.results.facts import certified_accuracy, constants_of, per_class, radii_of
from distverify.status import FAILED, MISCLASSIFIED, OK, PENDING

ARRAYS: dict[str, NDArray[Any]] = {
    "status": np.array([OK, OK, MISCLASSIFIED, OK, FAILED, PENDING, OK], dtype=np.int8),
    "label": np.array([0, 1, 1, 1, 0, 0, -1]),
    "predicted": np.array([0, 1, 0, 1, -1, -1, 2]),
    "radius": np.array([0.3, 0.1, 9.0, 0.2, np.nan, np.nan, np.nan]),
    "eps": np.array([0.1, 0.2]),
    "lipschitz_vector": np.array([[1.0, 2], [3, 4], [5, 6], [7, np.nan], [np.nan] * 2, [np.nan] * 2, [9, np.nan]]),
}


def test_radii_count_as_zero_where_there_is_no_certificate() -> None:
    assert radii_of(ARRAYS).tolist() == [0.3, 0.1, 0.0, 0.2, 0.0]


def test_certified_accuracy_is_exact_at_the_radii() -> None:
    asked = [0.0, 0.05, 0.1, math.nextafter(0.1, 1.0), 0.2, 0.3, 0.31]
    assert certified_accuracy(ARRAYS, asked).tolist() == [0.6, 0.6, 0.6, 0.4, 0.4, 0.2, 0.0]


def test_certified_accuracy_of_nothing_is_nan() -> None:
    none = {**ARRAYS, "status": np.full(7, PENDING, dtype=np.int8)}
    assert np.isnan(certified_accuracy(none, [0.1, 0.2])).all()


def test_per_class() -> None:
    zero, one = per_class(ARRAYS)
    assert (zero.label, zero.samples, zero.correct, zero.radius_median, zero.radius_min) == (0, 1, 1, 0.3, 0.3)
    assert (one.label, one.samples, one.correct, one.radius_median, one.radius_min) == (1, 3, 2, 0.1, 0.0)
    assert one.lipschitz_median == {0.1: 5.0, 0.2: 5.0}
    assert one.lipschitz_max == {0.1: 7.0, 0.2: 6.0}


def test_per_class_without_radii_constants_or_labels() -> None:
    bare = {name: ARRAYS[name] for name in ("status", "label", "predicted")}
    assert [c.radius_median for c in per_class(bare)] == [None, None]
    assert per_class(bare)[0].lipschitz_max == {}
    assert per_class({**bare, "label": np.full(7, -1)}) == ()


def test_constants_without_values_are_left_out() -> None:
    found = constants_of(ARRAYS, ARRAYS["label"] == -1)
    assert list(found) == [0.1]
    assert found[0.1] == pytest.approx([9.0])
