"""How a run is cut into work units. Pure: the same arguments give the same plan."""

from __future__ import annotations

import math
from collections.abc import Iterator

from distverify.analysis.cost import SampleCost
from distverify.errors import SettingsError
from distverify.work import Plan, WorkUnit

SHORTEST_SECONDS = 2.0  # the driver spends 1.5 ms on a unit, a shard's commit 10-20 ms: below 1 % of the work
LONGEST_SECONDS = 20.0  # the most that one death costs, and that an interrupted run waits for
LARGEST_BYTES = 64_000_000
UNITS_PER_WORKER = 8  # several each, so that uneven samples and machines balance out
LARGEST_UNTIMED = 16  # samples of a unit whose duration is not known
PIECES_PER_WORKER = 4  # of each stage of a sample in pieces: the last of a stage keeps the others waiting
SHORTEST_PIECE = 0.25  # seconds; a piece costs its worker what it shares with the others besides
HUGE_SECONDS = 600.0  # a sample expected to take longer is not timed whole first
# Expected, at least, of a sample that is cut without having been timed: what is expected is rather too long, and of short
# samples each worker would repeat too much (what pieces share is computed by every one of them).
LONG_SECONDS = 30.0


def make_plan(
    samples: int, *, workers: int, bytes_per_sample: int = 0, seconds_per_sample: float | None = None,
    cost: SampleCost | None = None, unit_samples: int | None = None, pieces: int | None = None,
) -> Plan:  # fmt: skip
    """Cut ``samples`` positions into work units.

    Parameters
    ----------
    samples : int
        Number of samples.
    workers : int
        Workers that share the units; at least one.
    bytes_per_sample : int
        Size of one sample's results; a unit of several holds at most 64 MB of them.
    seconds_per_sample : float or None
        Measured kernel time; then units take 2 to 20 s. None: not known, units of at most 16 samples.
    cost : SampleCost, optional
        Without it samples are not cut into pieces.
    unit_samples, pieces : int, optional
        What somebody decided: nothing else then counts.

    Returns
    -------
    Plan
        A sample that alone exceeds a limit is a unit of its own; the upper limits win where both cannot be met.

    Raises
    ------
    SettingsError
        A negative count, a time that is not finite, no worker, units of several samples in pieces.
    """
    _check(samples, workers, bytes_per_sample, seconds_per_sample, unit_samples, pieces)
    known = (workers, seconds_per_sample, bytes_per_sample)
    told = (*known, 1 if cost is None else cost.rows)
    if pieces is None and unit_samples is None:
        pieces, reason = _pieces(samples, *known, cost)
        if pieces > 1:
            return Plan(samples, 1, pieces, *told, reason)
    if pieces is not None and pieces > 1:
        return Plan(samples, 1, pieces, *told, "as told")
    if unit_samples is not None:
        return Plan(samples, unit_samples, 1, *told, "as told")
    size, reason = _unit_samples(samples, *known)
    return Plan(samples, size, 1, *told, reason)


def _pieces(samples: int, workers: int, seconds: float | None, size: int, cost: SampleCost | None) -> tuple[int, str]:
    """Into how many pieces each stage of a sample is cut, and why."""
    if cost is None or cost.pieces < 2 or samples == 0:
        return 1, ""
    time = cost.seconds if seconds is None else seconds
    per_stage = time / max(cost.stages, 1)
    wanted: list[tuple[int, str]] = []
    if time > (HUGE_SECONDS if seconds is None else LONGEST_SECONDS):
        wanted.append((math.ceil(2 * per_stage / LONGEST_SECONDS), f"a sample takes longer than {LONGEST_SECONDS:g} s"))
    if samples < workers and time > (LONG_SECONDS if seconds is None else SHORTEST_SECONDS):
        most = max(int(per_stage / SHORTEST_PIECE), 1)
        wanted.append((min(-(-PIECES_PER_WORKER * workers // samples), most), "there are fewer samples than workers"))
    if wanted and size > LARGEST_BYTES:
        wanted.append((-(-size // LARGEST_BYTES), f"a sample's results exceed {LARGEST_BYTES // 10**6} MB"))
    pieces, reason = max(wanted, default=(1, ""))
    return min(pieces, cost.pieces), reason


def _unit_samples(samples: int, workers: int, time: float | None, size: int) -> tuple[int, str]:
    """Most samples of one unit, and which limit decided."""
    if samples == 0:
        return 1, "there are no samples"
    limits = [(max(LARGEST_BYTES // max(size, 1), 1), f"results of a unit within {LARGEST_BYTES // 10**6} MB")]
    smallest = 1
    if time is None:
        limits.append((LARGEST_UNTIMED, "no sample was timed"))
    elif time * samples < SHORTEST_SECONDS:
        smallest = samples
    else:
        limits.append((max(math.floor(LONGEST_SECONDS / time), 1), f"units of at most {LONGEST_SECONDS:g} s"))
        smallest = math.ceil(SHORTEST_SECONDS / time)
    largest, reason = min(limits)
    fewest = -(-samples // largest)
    most = max(samples // smallest, 1)
    units = max(min(workers * UNITS_PER_WORKER, most), fewest)
    if units > fewest:
        reason = f"units of at least {SHORTEST_SECONDS:g} s"
        if units == workers * UNITS_PER_WORKER:
            reason = f"{UNITS_PER_WORKER} units for each worker, so that they end together"
    elif fewest == 1 and time is not None and time * samples < SHORTEST_SECONDS:
        reason = f"all of it takes less than {SHORTEST_SECONDS:g} s"
    return -(-samples // min(units, samples)), reason


def probe_units(pending: Iterator[WorkUnit], samples: int, workers: int) -> list[WorkUnit]:
    """Single samples to time before the plan is made, one for each worker, spread over what is pending.

    Parameters
    ----------
    pending : iterator of WorkUnit
        What is not computed.
    samples : int
        Number of samples in ``pending``.
    workers : int
    """
    count = min(samples, workers)
    wanted = iter([i * samples // count for i in range(count)] if count else [])
    chosen, seen, place = [], 0, next(wanted, None)
    for unit in pending:
        while place is not None and place < seen + unit.size:
            start = unit.start + place - seen
            chosen.append(WorkUnit(start, start + 1))
            place = next(wanted, None)
        seen += unit.size
    return chosen


def _check(
    samples: int, workers: int, size: int, time: float | None, unit_samples: int | None, pieces: int | None
) -> None:
    counts = [
        ("samples", samples, 0),
        ("bytes_per_sample", size, 0),
        ("workers", workers, 1),
        ("samples_per_unit", 1 if unit_samples is None else unit_samples, 1),
        ("pieces_per_sample", 1 if pieces is None else pieces, 1),
    ]
    for name, count, least in counts:
        if count < least:
            raise SettingsError(f"{name}: got {count}; give a whole number of at least {least}")
    if time is not None and not (math.isfinite(time) and time >= 0):
        raise SettingsError(f"seconds_per_sample: got {time}; give a measured time >= 0, or None")
    if (unit_samples or 1) > 1 and (pieces or 1) > 1:
        raise SettingsError(
            f"samples_per_unit, pieces_per_sample: got {unit_samples} and {pieces}; a unit is several samples or a part of one"
        )
