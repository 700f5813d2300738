from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distverify.analysis.cost import SampleCost
from distverify.errors import SettingsError
from distverify.runtime.plan import (
    LARGEST_BYTES,
    LARGEST_UNTIMED,
    LONGEST_SECONDS,
    SHORTEST_PIECE,
    SHORTEST_SECONDS,
    make_plan,
    probe_units,
)
from distverify.work import Plan, WorkUnit

times = st.none() | st.just(0.0) | st.floats(min_value=1e-7, max_value=1e4)


def planned(samples, seconds, size, workers):
    return list(make_plan(samples, workers=workers, bytes_per_sample=size, seconds_per_sample=seconds).units())


@given(st.integers(0, 3000), times, st.integers(0, 10**9), st.integers(1, 300))
def test_every_plan_covers_each_sample_once_in_order(samples, seconds, size, workers):
    units = planned(samples, seconds, size, workers)
    assert [i for u in units for i in range(u.start, u.stop)] == list(range(samples))
    assert all(u.size >= 1 and u.pieces == 1 for u in units)
    assert units == planned(samples, seconds, size, workers)
    assert max((u.size for u in units), default=0) - min((u.size for u in units), default=0) <= 1


@given(st.integers(1, 3000), times, st.integers(0, 10**9), st.integers(1, 300))
def test_upper_limits_hold_for_every_unit_of_several_samples(samples, seconds, size, workers):
    for unit in planned(samples, seconds, size, workers):
        if unit.size > 1:
            assert unit.size * size <= LARGEST_BYTES
            if seconds is None:
                assert unit.size <= LARGEST_UNTIMED
            else:
                assert unit.size * seconds <= LONGEST_SECONDS * (1 + 1e-9)


@given(st.integers(1, 3000), st.floats(min_value=1e-4, max_value=1.0), st.integers(1, 300))
def test_units_are_not_shorter_than_two_seconds_where_the_run_is_longer(samples, seconds, workers):
    units = planned(samples, seconds, 0, workers)
    if len(units) > 1:
        assert min(u.size for u in units) * seconds >= SHORTEST_SECONDS * (1 - 1e-9)


def test_known_plans():
    assert planned(0, 1.0, 8, 2) == []
    assert planned(3, 100.0, 8, 2) == [WorkUnit(0, 1), WorkUnit(1, 2), WorkUnit(2, 3)]
    assert planned(1000, 1e-4, 8, 2) == [WorkUnit(0, 1000)]  # 0.1 s of work in all
    assert [u.size for u in planned(100, 1.0, 8, 1)] == [12, 13, 12, 13, 12, 13, 12, 13]
    assert [u.size for u in planned(4, 0.001, LARGEST_BYTES // 2, 1)] == [2, 2]
    assert [u.size for u in planned(2, 0.001, 3 * LARGEST_BYTES, 1)] == [1, 1]
    assert len(planned(10_000, 1.0, 0, 4)) == 500  # 20 s each, many per worker


def test_a_plan_survives_json():
    plan = make_plan(100, workers=3, seconds_per_sample=0.25, bytes_per_sample=1000)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize(
    ("samples", "known", "reason"),
    [
        (0, {}, "there are no samples"),
        (1000, {"bytes_per_sample": 30_000_000, "seconds_per_sample": 0.1}, "results of a unit within 64 MB"),
        (1000, {}, "no sample was timed"),
        (100, {"seconds_per_sample": 0.001}, "all of it takes less than 2 s"),
        (10_000, {"seconds_per_sample": 1.0}, "units of at most 20 s"),
        (1000, {"seconds_per_sample": 0.5, "workers": 100}, "units of at least 2 s"),
        (100, {"seconds_per_sample": 1.0}, "8 units for each worker, so that they end together"),
    ],
)
def test_the_limit_that_decided_is_told(samples, known, reason):
    assert make_plan(samples, **{"workers": 2} | known).reason == reason


LARGE = SampleCost(seconds=100.0, stages=2, pieces=200)


def test_samples_stay_whole_where_there_are_enough_of_them():
    assert make_plan(100, workers=8, cost=LARGE).pieces == 1
    assert make_plan(100, workers=8, cost=LARGE, seconds_per_sample=5.0).pieces == 1
    assert make_plan(1, workers=8, cost=SampleCost(20.0, 2, 200)).pieces == 1  # done before pieces would be
    assert make_plan(1, workers=1, cost=LARGE, seconds_per_sample=5.0).pieces == 1


def test_fewer_samples_than_workers_are_cut_so_that_all_have_work():
    plan = make_plan(2, workers=8, cost=LARGE)
    assert (plan.pieces, plan.unit_samples, plan.count) == (16, 1, 2)
    assert plan.reason == "there are fewer samples than workers"
    assert list(plan.units()) == [WorkUnit(0, 1, 16), WorkUnit(1, 2, 16)]
    # no piece shorter than makes sense, no more pieces than there are
    assert make_plan(1, workers=1000, cost=SampleCost(40.0, 2, 2000)).pieces == 20.0 / SHORTEST_PIECE
    assert make_plan(1, workers=64, cost=SampleCost(1000.0, 2, 30)).pieces == 30


def test_a_sample_that_takes_long_is_cut_into_parts_that_do_not():
    plan = make_plan(100, workers=8, cost=LARGE, seconds_per_sample=100.0)
    assert plan.pieces == 5  # two stages of 50 s, 10 s a piece
    assert plan.reason == "a sample takes longer than 20 s"
    # What was measured counts, not what was expected; a huge expectation is believed without measuring.
    assert make_plan(100, workers=8, cost=LARGE, seconds_per_sample=1.0).pieces == 1
    assert make_plan(100, workers=8, cost=SampleCost(6000.0, 2, 1000)).pieces == 300


def test_results_of_a_piece_stay_small():
    assert make_plan(1, workers=2, cost=LARGE, bytes_per_sample=40 * LARGEST_BYTES).pieces == 40


def test_what_was_told_counts():
    assert make_plan(100, workers=8, unit_samples=30).count == 4
    assert make_plan(100, workers=8, unit_samples=30, cost=LARGE, seconds_per_sample=100.0).pieces == 1
    plan = make_plan(100, workers=8, pieces=7)
    assert (plan.pieces, plan.unit_samples, plan.reason) == (7, 1, "as told")
    assert make_plan(1, workers=8, pieces=1, cost=LARGE).pieces == 1


def test_probes_are_spread_over_what_is_pending():
    assert probe_units(iter([WorkUnit(0, 100)]), 100, 4) == [WorkUnit(i, i + 1) for i in (0, 25, 50, 75)]
    pending = [WorkUnit(10, 12), WorkUnit(50, 53)]
    assert probe_units(iter(pending), 5, 8) == [WorkUnit(i, i + 1) for i in (10, 11, 50, 51, 52)]
    assert probe_units(iter(pending), 5, 2) == [WorkUnit(10, 11), WorkUnit(50, 51)]
    assert probe_units(iter([]), 0, 2) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": -1}, "samples: got -1"),
        ({"bytes_per_sample": -8}, "bytes_per_sample: got -8"),
        ({"workers": 0}, "workers: got 0; give a whole number of at least 1"),
        ({"seconds_per_sample": float("nan")}, "seconds_per_sample: got nan"),
        ({"seconds_per_sample": -1.0}, "seconds_per_sample: got -1.0"),
        ({"unit_samples": 0}, "samples_per_unit: got 0; give a whole number of at least 1"),
        ({"pieces": 0}, "pieces_per_sample: got 0"),
        ({"unit_samples": 2, "pieces": 3}, "a unit is several samples or a part of one"),
    ],
)
def test_misuse_is_named(arguments, message):
    with pytest.raises(SettingsError, match=message):
        make_plan(**{"samples": 1, "workers": 1, **arguments})
