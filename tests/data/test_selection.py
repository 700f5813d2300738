"""Which samples a run takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distverify.data.selection import select_samples
from distverify.errors import DataError, SettingsError


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (None, list(range(20))),
        ("0:3", [0, 1, 2]),
        (":3", [0, 1, 2]),
        ("17:", [17, 18, 19]),
        ("::10", [0, 10]),
        (":", list(range(20))),
        ("1:8:3", [1, 4, 7]),
        ("5", [5]),
        ("7,3", [7, 3]),
        ("0:3,7", [0, 1, 2, 7]),
        ("9, 0:2", [9, 0, 1]),
        ("0:20", list(range(20))),
    ],
)
def test_order_is_kept(samples: str | None, expected: list[int]) -> None:
    assert select_samples(samples, 20).tolist() == expected


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 5))
def test_ranges_are_python_slices(start: int, stop: int, step: int) -> None:
    expected = list(range(30))[start:stop:step]
    if expected:
        assert select_samples(f"{start}:{stop}:{step}", 30).tolist() == expected
    else:
        with pytest.raises(DataError, match="selects none of 30 samples"):
            select_samples(f"{start}:{stop}:{step}", 30)


@pytest.mark.parametrize("samples", ["", "a", "1,", "-1", "1.5", "::0", "::00", "1:2:3:4", "0..5", "9" * 99])
def test_text_that_is_no_selection(samples: str) -> None:
    with pytest.raises(SettingsError, match=r"samples: got .*; give indices and ranges from 0, such as 0:100, 3,7"):
        select_samples(samples, 20)


@pytest.mark.parametrize(("samples", "twice"), [("3,3", 3), ("0:5,4", 4), ("::2,::3", 0)])
def test_no_sample_twice(samples: str, twice: int) -> None:
    with pytest.raises(SettingsError, match=f"names sample {twice} twice"):
        select_samples(samples, 20)


@pytest.mark.parametrize(
    ("samples", "last"), [("20", 20), ("0:21", 20), ("3,99", 99), ("0:999999999999999", 999999999999998)]
)
def test_samples_that_are_not_there(samples: str, last: int) -> None:
    with pytest.raises(DataError, match=rf"goes up to sample {last}, but x holds 20 \(0 to 19\)"):
        select_samples(samples, 20)


def test_no_samples_at_all() -> None:
    with pytest.raises(DataError, match="x: holds no samples"):
        select_samples(None, 0)
