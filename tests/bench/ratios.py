"""Ratios that need no t_mm: ``python -m tests.bench.ratios`` prints what rounding terms cost, how two processes scale, and the
rate of small Jacobians. Needs the public benchmark files beside the checkout.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import numpy as np
from threadpoolctl import threadpool_limits

from distverify.bounds.enclosure import enclose
from distverify.bounds.methods import bound_rows
from distverify.kernels.rounding import IGNORED, SOUND, Rounding
from distverify.network.graph import Network
from distverify.network.onnx.importer import load_onnx
from distverify.region import Ball
from tests.bench.cases import DATA, digits

_SECONDS = 6.0


def jacobian(network: Network, x: np.ndarray, eps: float, rounding: Rounding = SOUND) -> None:
    enclosure = enclose(network, Ball(x, eps), rounding=rounding)
    bound_rows(enclosure, np.eye(network.output_size), "linear")


def seconds(repeats: int, network: Network, x: np.ndarray, eps: float, rounding: Rounding = SOUND) -> float:
    begin = time.perf_counter()
    for _ in range(repeats):
        jacobian(network, x, eps, rounding)
    return time.perf_counter() - begin


def rounding_cost(name: str, network: Network, x: np.ndarray, eps: float) -> str:
    """Median ratio of neighbouring runs with rounding terms and with unit roundoff 0 (in the same kernels)."""
    repeats = max(1, int(0.1 / seconds(2, network, x, eps) * 2))
    pairs = [seconds(repeats, network, x, eps) / seconds(repeats, network, x, eps, IGNORED) for _ in range(9)]
    return f"rounding on / off, {name}, eps {eps:g}: {statistics.median(pairs):.3f}"


def count(start: float) -> int:
    """How many Jacobians one process does from the given time on."""
    network, x = digits("mnist-net_256x4")
    jacobian(network, x, 0.01)
    while time.time() < start:
        time.sleep(0.001)
    done = 0
    while time.time() < start + _SECONDS:
        jacobian(network, x, 0.01)
        done += 1
    return done


def counted(processes: int) -> int:
    start = str(time.time() + 5.0)
    command = [sys.executable, "-m", "tests.bench.ratios", start]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return sum(int(process.communicate()[0]) for process in running)


def main() -> None:
    network, x = digits("mnist-net_256x4")
    for eps in (0.005, 0.01, 0.03):
        print(rounding_cost("mnist-net_256x4", network, x, eps), flush=True)
    acas = load_onnx(DATA / "acasxu_1_1.onnx")
    points = [np.zeros(acas.input_size), *np.random.default_rng(0).uniform(-0.4, 0.4, (3, acas.input_size))]
    print(rounding_cost("acasxu_1_1", acas, points[0], 0.01))
    for x in points:
        rates = [200 / seconds(200, acas, x, 0.01) for _ in range(5)]
        print(f"acasxu_1_1, eps 0.01, CROWN and five rows: {statistics.median(rates):.0f} per second", flush=True)
    for _ in range(3):
        one, two = counted(1), counted(2)
        print(f"two processes of one thread against one: {two / one:.2f} x", flush=True)


if __name__ == "__main__":
    with threadpool_limits(1):
        if len(sys.argv) > 1:
            print(count(float(sys.argv[1])))
        else:
            main()
