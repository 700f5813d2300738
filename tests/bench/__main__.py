"""Print the benchmark table: ``python -m tests.bench [--quick] [--repeats N]``.

Times are of one thread, in units of t_mm: one 1024 x 1024 x 1024 float64 matrix product, timed in the same run between the
cases, so that the noise of a shared machine cancels. Each figure is a ratio of medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from tests.bench.cases import all_cases

_FACTOR = np.random.default_rng(0).random((1024, 1024))


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def matrix_product() -> object:
    return _FACTOR @ _FACTOR


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small cases, each once: whether they run, not how fast")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each part (default 5)")
    chosen = parser.parse_args()
    repeats = 1 if chosen.quick else chosen.repeats
    with threadpool_limits(1):
        matrix_product()
        products: list[float] = []
        print("| case | time / t_mm | in parts | result |")
        print("|---|---|---|---|")
        for case in all_cases(chosen.quick):
            times: dict[str, list[float]] = {name: [] for name in case.parts}
            unit: list[float] = []
            for _ in range(repeats):
                unit.append(seconds(matrix_product))
                for name, work in case.parts.items():
                    times[name].append(seconds(work))
            t_mm = statistics.median(unit)
            products += unit
            ratios = {name: statistics.median(values) / t_mm for name, values in times.items()}
            parts = ", ".join(f"{name} {ratio:.3g}" for name, ratio in ratios.items()) if len(ratios) > 1 else ""
            print(f"| {case.name} | {sum(ratios.values()):.3g} | {parts} | {case.figures()} |", flush=True)
        print(f"\nt_mm: median {statistics.median(products) * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
