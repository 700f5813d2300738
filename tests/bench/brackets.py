"""What second order costs and gains: `coupled` beside `linear`, and boxes of few dimensions beside trees over neurons.

``python -m tests.bench.brackets`` prints tables in Markdown: processor time in ms, medians of runs that take turns.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np

from distverify.analysis.brackets import BoxSearch, ConstantSearch
from distverify.analysis.signs import monotonicity
from distverify.bounds.enclosure import enclose
from distverify.bounds.methods import RowBounds, bound_rows
from distverify.network.graph import Network
from distverify.region import Ball, Box
from tests.networks import build_chain
from tests.oracle.files import figures

T = TypeVar("T")
_RUNS = 5
KINDS = {"digits_tanh": "tanh", "digits_sigmoid": "sigmoid", "he4_tanh": "tanh", "xavier4_sigmoid": "sigmoid"}
_WAYS = (("linear", "backward"), ("linear", "both"), ("coupled", "backward"), ("coupled", "both"))


def timed(run: Callable[[], T]) -> tuple[T, float]:
    """What it returns, and its processor time in ms."""
    begin = time.process_time()
    value = run()
    return value, 1e3 * (time.process_time() - begin)


def smooth() -> None:
    """The networks of the oracle, image 0."""
    print("| network, eps | " + " | ".join(f"{m}, {d}: ms, mean width" for m, d in _WAYS) + " |")
    print("|---" * 5 + "|")
    for name, kind in KINDS.items():
        stored = figures(f"lirpa_smooth_{name}.npz")
        weights = sorted(key for key in stored if key.startswith("W") and "/" not in key)
        layers = [(stored[w].astype(np.float64), stored["b" + w[1:]].astype(np.float64)) for w in weights]
        net, x = Network.from_layers(layers, activation=kind), stored["x"][0].reshape(-1).astype(np.float64)
        for eps in (0.002, 0.01, 0.05):
            enclosure, rows = enclose(net, Ball(x, eps)), np.eye(net.output_size)
            times: dict[tuple[str, str], list[float]] = {way: [] for way in _WAYS}
            found: dict[tuple[str, str], RowBounds] = {}
            for _ in range(_RUNS):
                for way in _WAYS:
                    found[way], ms = timed(partial(bound_rows, enclosure, rows, *way))
                    times[way].append(ms)
            cells = [f"{np.median(times[w]):.1f}, {(found[w].upper - found[w].lower).mean():.4g}" for w in _WAYS]
            print(f"| {name}, {eps:g} | " + " | ".join(cells) + " |")


def boxes() -> None:
    """A random tanh network 6-32-32-2 over a box of width 1: the constant of its first output, and all signs."""
    net, box = (
        build_chain([6, 32, 32, 2], ["tanh", "tanh"], np.random.default_rng(0)),
        Box(-0.5 * np.ones(6), 0.5 * np.ones(6)),
    )
    row = np.eye(2)[:1]
    print("\n| search | nodes | bound | attained | ms |\n|---|---|---|---|---|")
    for name, search in (("neurons", ConstantSearch(net, box, math.inf)), ("boxes", BoxSearch(net, box, math.inf))):
        for nodes in (200,) if name == "neurons" else (200, 2000, 20000):
            found, ms = timed(partial(search.bracket, row, nodes))
            print(f"| {name} | {found.nodes} | {found.bound:.4g} | {found.attained:.4g} | {ms:.0f} |")
    signs, ms = timed(lambda: monotonicity(net, box, nodes=20_000))
    print(f"\nSigns of 12: {int((signs.signs != 0).sum())} proved or refuted, {signs.nodes} boxes, {ms:.0f} ms")


if __name__ == "__main__":
    smooth()
    boxes()
