from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distverify.errors import SettingsError
from distverify.runtime.plan import (
    LARGEST_BYTES,
    LARGEST_UNTIMED,
    LONGEST_SECONDS,
    SHORTEST_SECONDS,
    plan_units,
)
from distverify.runtime.work import WorkUnit

times = st.none() | st.just(0.0) | st.floats(min_value=1e-7, max_value=1e4)


@given(st.integers(0, 3000), times, st.integers(0, 10**9), st.integers(1, 300))
def test_every_plan_covers_each_sample_once_in_order(samples, seconds, size, workers):
    units = plan_units(samples, seconds, size, workers)
    assert [i for u in units for i in range(u.start, u.stop)] == list(range(samples))
    assert all(u.size >= 1 for u in units)
    assert units == plan_units(samples, seconds, size, workers)
    assert max((u.size for u in units), default=0) - min((u.size for u in units), default=0) <= 1


@given(st.integers(1, 3000), times, st.integers(0, 10**9), st.integers(1, 300))
def test_upper_limits_hold_for_every_unit_of_several_samples(samples, seconds, size, workers):
    for unit in plan_units(samples, seconds, size, workers):
        if unit.size > 1:
            assert unit.size * size <= LARGEST_BYTES
            if seconds is None:
                assert unit.size <= LARGEST_UNTIMED
            else:
                assert unit.size * seconds <= LONGEST_SECONDS * (1 + 1e-9)


@given(st.integers(1, 3000), st.floats(min_value=1e-4, max_value=1.0), st.integers(1, 300))
def test_units_are_not_shorter_than_two_seconds_where_the_run_is_longer(samples, seconds, workers):
    units = plan_units(samples, seconds, 0, workers)
    if len(units) > 1:
        assert min(u.size for u in units) * seconds >= SHORTEST_SECONDS * (1 - 1e-9)


def test_known_plans():
    assert plan_units(0, 1.0, 8, 2) == []
    assert plan_units(3, 100.0, 8, 2) == [WorkUnit(0, 1), WorkUnit(1, 2), WorkUnit(2, 3)]
    assert plan_units(1000, 1e-4, 8, 2) == [WorkUnit(0, 1000)]  # 0.1 s of work in all
    assert plan_units(100, 0.5, 8, 2) == plan_units(100, 0.5, 8, 2)
    assert [u.size for u in plan_units(100, 1.0, 8, 1)] == [12, 13, 12, 13, 12, 13, 12, 13]
    assert [u.size for u in plan_units(4, 0.001, LARGEST_BYTES // 2, 1)] == [2, 2]
    assert [u.size for u in plan_units(2, 0.001, 3 * LARGEST_BYTES, 1)] == [1, 1]
    assert len(plan_units(10_000, 1.0, 0, 4)) == 500  # 20 s each, many per worker


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, None, 8, 1), "samples: got -1"),
        ((1, None, -8, 1), "bytes_per_sample: got -8"),
        ((1, None, 8, 0), "workers: got 0; give a whole number of at least 1"),
        ((1, float("nan"), 8, 1), "seconds_per_sample: got nan"),
        ((1, -1.0, 8, 1), "seconds_per_sample: got -1.0"),
    ],
)
def test_misuse_is_named(arguments, message):
    with pytest.raises(SettingsError, match=message):
        plan_units(*arguments)
