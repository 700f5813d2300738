"""Facts about a data set, by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from distverify.quantities.lipschitz import LIPSCHITZ
from distverify.results.facts import Quantiles, certified_accuracy, per_class, radii_of, samples_of, shares_of
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
    assert (zero.label, zero.samples, zero.correct) == (0, 1, 1)
    assert (one.label, one.samples, one.correct) == (1, 3, 2)
    assert [(c.spreads["radius"][None].median, c.spreads["radius"][None].least) for c in (zero, one)] == [
        (0.3, 0.3),
        (0.1, 0.0),
    ]
    constants = one.spreads["lipschitz_vector"]
    assert {eps: (q.median, q.most, q.count) for eps, q in constants.items()} == {
        0.1: (5.0, 7.0, 3),
        0.2: (5.0, 6.0, 2),
    }


def test_per_class_without_radii_constants_or_labels() -> None:
    bare = {name: ARRAYS[name] for name in ("status", "label", "predicted")}
    assert [c.spreads for c in per_class(bare)] == [{}, {}]
    assert per_class({**bare, "label": np.full(7, -1)}) == ()


def test_numbers_without_values_are_left_out() -> None:
    constants = LIPSCHITZ.spreads[0]
    found = samples_of(constants, ARRAYS, ARRAYS["label"] == -1)
    assert list(found) == [0.1]
    assert found[0.1] == pytest.approx([9.0])


def test_shares_need_the_dimensions_that_they_are_about() -> None:
    verified = np.array([1, 0, 2, -1, 0, 0, 1], dtype=np.int8)
    assert shares_of({**ARRAYS, "verified": verified}) == {"properties": {None: 3}, "falsified": {None: 0}}
    both = np.stack([verified, np.zeros(7, dtype=np.int8)], axis=1)
    assert shares_of({**ARRAYS, "verified": both}) == {"certified": {0.1: 3, 0.2: 0}}


def test_quantiles_of_infinite_numbers() -> None:
    q = Quantiles.of(np.array([1.0, np.inf, np.inf]))
    assert (q.count, q.least, q.most, q.mean) == (3, 1.0, math.inf, math.inf)
