from __future__ import annotations

import numpy as np
import pytest

from distverify.pages.curves import between, distribution, share_at_least, wide

RADII = np.array([0.0, 0.0, 0.1, 0.3, 0.3])


def test_what_is_open_lies_between_certified_and_attacked() -> None:
    x, low, high = between(np.array([0.0, 1.0, 2.0]), np.array([0.0, 3.0, np.inf]))
    assert x.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert low == pytest.approx([1.0, 2 / 3, 1 / 3, 0.0])
    assert high == pytest.approx([1.0, 2 / 3, 2 / 3, 2 / 3])


def test_share_at_least_is_the_certified_accuracy() -> None:
    x, share = share_at_least(RADII)
    assert x.tolist() == [0.0, 0.1, 0.3]
    assert share == pytest.approx([1.0, 0.6, 0.4])


def test_distribution_ends_at_one() -> None:
    x, share = distribution(RADII)
    assert x.tolist() == [0.0, 0.1, 0.3]
    assert share == pytest.approx([0.4, 0.6, 1.0])


@pytest.mark.parametrize("curve", [share_at_least, distribution])
def test_long_curves_are_thinned_but_exact_where_they_are(curve) -> None:  # type: ignore[no-untyped-def]
    values = np.random.default_rng(0).random(5000)
    x, share = curve(values, 100)
    assert len(x) <= 101
    for point, s in zip(x, share, strict=True):
        assert s == pytest.approx((values >= point).mean() if curve is share_at_least else (values <= point).mean())


def test_wide() -> None:
    assert wide(np.array([1.0, 1.0, 100.0]))
    assert not wide(np.array([0.0, 1.0, 2.0, np.inf, np.nan]))
    assert not wide(np.array([0.0]))
