"""Small queries about products of inputs and outputs, with answers by construction: a point, or exact bounds over a grid of boxes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path

import numpy as np

from tests.query_cases import Layers, small_layers, write_model

Interval = tuple[Fraction, Fraction]
# A polynomial: a weight for each monomial, which is a sorted tuple of names.
Polynomial = dict[tuple[str, ...], Fraction]
NAMES = {"x0": "X[0,0]", "x1": "X[0,1]", "y0": "Y[0,0]", "y1": "Y[0,1]"}
_CELLS = 12


@dataclass
class ProductCase:
    """A query, and its answer."""

    text: str
    element: str
    layers: Layers
    answer: str

    def write(self, folder: Path) -> tuple[Path, Path]:
        """The query and its model."""
        write_model(folder / "f.onnx", self.layers, [2], "float64" if self.element == "float64" else "float32")
        (folder / "q.vnnlib").write_text(self.text)
        return folder / "q.vnnlib", folder / "f.onnx"


def make_product(rng: np.random.Generator, element: str) -> ProductCase:
    """A random case: sums of products, in one comparison or two that are or-ed or and-ed."""
    layers = small_layers(rng, 2, int(rng.integers(2, 5)), 2)
    conjunction = bool(rng.integers(2))
    answer = ("unsat", "sat")[int(rng.integers(2))]
    point = [Fraction(int(rng.integers(-16, 17)), 16) for _ in range(2)]
    comparisons = []
    for k in range(int(rng.integers(1, 3))):
        p = _polynomial(rng)
        room = Fraction(int(rng.integers(1, 9)), 16)
        # An and is false by one part, an or true by one.
        real = (answer == "sat" and (conjunction or k == 0)) or (answer == "unsat" and conjunction and k > 0)
        limit = _value(p, _at(layers, [(v, v) for v in point]))[0] - room if real else _most(layers, p) + room
        comparisons.append(f"(>= {_told(p)} {_decimal(limit)})")
    joined = comparisons[0] if len(comparisons) == 1 else f"({'and' if conjunction else 'or'} {' '.join(comparisons)})"
    text = (
        "(vnnlib-version <2.0>)\n"
        f"(declare-network f (declare-input X {element} [1,2]) (declare-output Y {element} [1,2]))\n"
        + "".join(f"(assert (and (>= X[0,{i}] -1.0) (<= X[0,{i}] 1.0)))\n" for i in range(2))
        + f"(assert {joined})\n"
    )
    return ProductCase(text, element, layers, answer)


def _polynomial(rng: np.random.Generator) -> Polynomial:
    made: Polynomial = {}
    for _ in range(int(rng.integers(1, 4))):
        chosen = rng.choice(sorted(NAMES), int(rng.integers(1, 4) > 1) + 1)
        made[tuple(sorted(map(str, chosen)))] = Fraction(int(rng.integers(1, 9)) * int(rng.choice([-1, 1])), 4)
    names = tuple(sorted(map(str, rng.choice(sorted(NAMES), 2))))
    made[names] = made.get(names, Fraction(0)) or Fraction(1)
    return made


def _told(p: Polynomial) -> str:
    parts = [f"(* {_decimal(w)} {' '.join(NAMES[n] for n in names)})" for names, w in p.items()]
    return parts[0] if len(parts) == 1 else f"(+ {' '.join(parts)})"


def _decimal(value: Fraction) -> str:
    return f"{float(value):.10f}"


def _times(a: Interval, b: Interval) -> Interval:
    ends = [u * v for u in a for v in b]
    return min(ends), max(ends)


def _at(layers: Layers, x: list[Interval]) -> dict[str, Interval]:
    """Intervals of all elements, from those of the inputs."""
    known, values = {f"x{i}": v for i, v in enumerate(x)}, x
    for k, (weight, bias) in enumerate(layers):
        if k:
            values = [(max(a, Fraction(0)), max(b, Fraction(0))) for a, b in values]
        sums = []
        for row, b in zip(weight.tolist(), bias.tolist(), strict=True):
            parts = [_times((Fraction(w), Fraction(w)), v) for w, v in zip(row, values, strict=True)]
            sums.append((Fraction(b) + sum(p[0] for p in parts), Fraction(b) + sum(p[1] for p in parts)))
        values = sums
    return {**known, **{f"y{i}": v for i, v in enumerate(values)}}


def _value(p: Polynomial, known: dict[str, Interval]) -> Interval:
    low = high = Fraction(0)
    for names, weight in p.items():
        part: Interval = (weight, weight)
        for name in names:
            part = _times(part, known[name])
        low, high = low + part[0], high + part[1]
    return low, high


def _most(layers: Layers, p: Polynomial) -> Fraction:
    """An upper bound over [-1, 1]^2."""
    cuts = [Fraction(2 * i, _CELLS) - 1 for i in range(_CELLS + 1)]
    sides = list(pairwise(cuts))
    most = max(_value(p, _at(layers, [a, b]))[1] for a, b in product(sides, sides))
    # A number that is written in full.
    return Fraction(int(most * 1024) + 1, 1024)
