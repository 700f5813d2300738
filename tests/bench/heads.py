"""Print into how many parts a large run goes: ``python -m tests.bench.heads [--samples N] [--cores C]``, the table of docs/SCALE.md.

Nothing is run: units are those that the plan makes, and what a driver manages was measured by ``python -m tests.bench.scale``. Time is
that of the analysis alone, all cores busy to the end.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from distverify.runtime.plan import make_plan

COMMITS = 270.0  # a second, of one driver on a local disk (3.65 ms each): measured with 64 workers
SHARE = 0.5  # of that, at most: a driver also continues, tells, and merges its files


@dataclass(frozen=True)
class Heads:
    """A run in parts, each with a driver and its share of the cores."""

    seconds: float
    parts: int
    workers: int
    samples: int
    unit: int
    units: int

    @property
    def commits(self) -> float:
        """A second, of one driver."""
        return self.workers / (self.unit * self.seconds)

    @property
    def analysis(self) -> float:
        """Seconds, from the first sample to the last."""
        return self.samples * self.seconds / self.workers

    def __str__(self) -> str:
        return (
            f"| {self.seconds:g} | {self.parts} | {self.workers:,} | {self.unit} of {self.unit * self.seconds:.3g} s | {self.units:,} "
            f"| {self.commits:.3g} | {self.commits / COMMITS:.0%} | {length(self.analysis)} |"
        )


def length(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h"
        if seconds >= 3600
        else f"{seconds / 60:.0f} min"
        if seconds >= 120
        else f"{seconds:.0f} s"
    )


def heads(samples: int, cores: int, seconds: float, parts: int) -> Heads:
    """The run in ``parts``."""
    each, workers = -(-samples // parts), cores // parts
    plan = make_plan(each, workers=workers, bytes_per_sample=500, seconds_per_sample=seconds)
    return Heads(seconds, parts, workers, each, plan.unit_samples, plan.count)


def fewest(samples: int, cores: int, seconds: float) -> Heads:
    """The fewest parts, a power of two, whose drivers commit at most half as often as they can."""
    parts = 1
    while (found := heads(samples, cores, seconds, parts)).commits > SHARE * COMMITS:
        parts *= 2
    return found


def table(samples: int = 10**6, cores: int = 10**4) -> Iterator[str]:
    yield (
        "| seconds per sample | parts | workers of each | samples of a unit | units of each "
        "| commits a second of each | of what it can | analysis |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for seconds in (0.01, 0.1, 1.0, 4.0, 20.0):
        yield str(fewest(samples, cores, seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=10**6)
    parser.add_argument("--cores", type=int, default=10**4)
    chosen = parser.parse_args()
    print("\n".join(table(chosen.samples, chosen.cores)))


if __name__ == "__main__":
    main()
