"""Random networks, regions and points for tests, and helpers that say whether a bound holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from distverify.bounds import pulled_reduction
from distverify.bounds.enclosure import Enclosure, enclose
from distverify.kernels.activations import ACTIVATIONS
from distverify.network.graph import Network, NetworkBuilder
from distverify.network.linear.dense import Dense
from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.operator import LinearOperator
from distverify.region import Ball

Floats = NDArray[np.float64]
# Names of special cases of others, with parameters of their own.
SPECIAL_CASES = ("prelu", "identity", "hardtanh", "relu6")
# Functions that exist on a part of the line, outgrow all numbers, or jump.
PARTIAL = ("exp", "log", "reciprocal", "power", "positive_power", "signum", "heaviside", "floor", "nearest")
ALL_ACTIVATIONS = tuple(kind for kind in ACTIVATIONS if kind not in (*SPECIAL_CASES, *PARTIAL))
NORMS = (math.inf, 2.0, 1.0)

# The same examples on every machine: a failure in continuous integration can be repeated anywhere.
FEW = settings(max_examples=25, deadline=None, derandomize=True)
MORE = settings(max_examples=80, deadline=None, derandomize=True)


def random_parameters(kind: str, size: int, rng: np.random.Generator) -> dict[str, Floats]:
    """One value per neuron for each of the activation's parameters."""
    if kind == "leaky_relu":
        return {"slope": rng.choice([0.01, 0.1, 0.5, 1.0, 1.3, -0.2], size)}
    if kind == "clip":
        lo = rng.uniform(-1.0, 0.5, size)
        return {"lo": lo, "hi": lo + rng.uniform(0.1, 2.0, size)}
    if kind == "hard_sigmoid":
        return {"alpha": rng.choice([0.2, 1 / 6, 1.0, -0.3], size), "beta": rng.uniform(0.0, 1.0, size)}
    if kind == "elu":
        return {"alpha": rng.uniform(0.1, 2.0, size), "gamma": rng.uniform(0.5, 1.5, size)}
    return {}


def build_chain(widths: Sequence[int], kinds: Sequence[str], rng: np.random.Generator, scale: float = 1.3) -> Network:
    """A fully connected network with per-neuron parameters: ``widths`` input first; one kind per activation."""
    builder = NetworkBuilder((widths[0],))
    node = 0
    for i, (n, m) in enumerate(pairwise(widths)):
        weight = rng.standard_normal((m, n)) * scale / math.sqrt(n)
        node = builder.linear(f"layer{i}", [(node, Dense(weight))], 0.5 * rng.standard_normal(m))
        if i < len(kinds):
            node = builder.activation(f"act{i}", node, kinds[i], random_parameters(kinds[i], m, rng))
    return builder.build(node)


def build_residual(size: int, kinds: Sequence[str], rng: np.random.Generator, *, final_activation: bool) -> Network:
    """An activation on the input (through an identity, as importers write it), then residual blocks.

    Each block has two branches, linear nodes that read linear nodes, a diagonal and identities.
    """
    builder = NetworkBuilder((size,))

    def weight(m: int, n: int) -> Floats:
        return rng.standard_normal((m, n)) / math.sqrt(n)

    def activation(node: int, kind: str) -> int:
        if node == 0:
            node = builder.linear("pass", [builder.skip(0)])
        return builder.activation(f"{kind}{node}", node, kind, random_parameters(kind, builder.size(node), rng))

    node = activation(0, kinds[0])
    for i, kind in enumerate(kinds):
        inner = activation(
            builder.linear(f"in{i}", [(node, Dense(weight(size + 1, size)))], rng.standard_normal(size + 1)),
            kind,
        )
        side = builder.linear(f"side{i}", [(node, Diagonal(rng.standard_normal(size)))])
        branch = builder.linear(f"branch{i}", [(inner, Dense(weight(size, size + 1)))], rng.standard_normal(size))
        terms: list[tuple[int, LinearOperator]] = [
            builder.skip(branch),
            builder.skip(side),
            builder.skip(node),
        ]
        node = builder.linear(f"join{i}", [*terms, (0, Dense(weight(size, size)))])
        if i + 1 < len(kinds):
            node = activation(node, kinds[i + 1])
    node = builder.linear("out", [(node, Dense(weight(3, size))), (0, Dense(weight(3, size)))], rng.standard_normal(3))
    return builder.build(activation(node, kinds[-1]) if final_activation else node)


@st.composite
def chains(draw: st.DrawFn, kinds: Sequence[str] = ALL_ACTIVATIONS, max_hidden: int = 4, max_width: int = 8) -> Network:
    """Fully connected networks: 1 to ``max_hidden`` hidden layers, mixed activations, sometimes one at the end."""
    hidden = draw(st.integers(1, max_hidden))
    widths = draw(st.lists(st.integers(1, max_width), min_size=hidden + 2, max_size=hidden + 2))
    count = hidden + draw(st.booleans())
    chosen = draw(st.lists(st.sampled_from(list(kinds)), min_size=count, max_size=count))
    return build_chain(widths, chosen, np.random.default_rng(draw(st.integers(0, 2**32 - 1))))


@st.composite
def residuals(draw: st.DrawFn, kinds: Sequence[str] = ALL_ACTIVATIONS) -> Network:
    """Residual networks; see :func:`build_residual`."""
    chosen = draw(st.lists(st.sampled_from(list(kinds)), min_size=1, max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return build_residual(draw(st.integers(1, 4)), chosen, rng, final_activation=draw(st.booleans()))


@st.composite
def balls(draw: st.DrawFn, size: int, eps: Sequence[float] = (1e-12, 1e-6, 1e-3, 0.05, 0.3, 1.0)) -> Ball:
    """Regions of every norm, half of them clipped to a box that some faces of the ball leave."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x0 = rng.uniform(0.0, 1.0, size)
    radius = draw(st.sampled_from(list(eps)))
    norm = draw(st.sampled_from(NORMS))
    clip = (np.maximum(x0 - 0.4 * radius, 0.0), np.minimum(x0 + 0.7 * radius, 1.0)) if draw(st.booleans()) else None
    if norm == math.inf and draw(st.booleans()):
        return Ball(x0, radius * rng.uniform(0.2, 1.0, size), norm, clip)
    return Ball(x0, radius, norm, clip)


# How stable neurons are multiplied out: not at all, in whole maps, or in the rows that are asked for.
WAYS = ("plain", "maps", "rows")


def enclose_by(way: str, *arguments: Any, **options: Any) -> Enclosure:
    """:func:`enclose`, with the reduced network made in one of :data:`WAYS`."""
    least = pulled_reduction.LEAST_ENTRIES
    try:
        pulled_reduction.LEAST_ENTRIES = 0 if way == "rows" else least
        return enclose(*arguments, **options, fold=way != "plain")
    finally:
        pulled_reduction.LEAST_ENTRIES = least


def crown_rows(enclosure: Enclosure, rows: Floats) -> tuple[Floats, Floats]:
    """CROWN bounds of ``rows @ f`` over the enclosure's region."""
    return enclosure.row_bounds(rows)


def points_in(region: Ball, count: int, rng: np.random.Generator) -> list[list[Fraction]]:
    """Rational points that lie in the region exactly: its centre, extreme points, and ``count`` random ones."""
    n = region.size
    eps = np.broadcast_to(np.asarray(region.eps, dtype=np.float64), (n,))
    offsets = [np.zeros(n)]
    for i in range(count):
        if region.norm == math.inf:
            direction = rng.choice([-1.0, 1.0], n) if i % 2 == 0 else rng.uniform(-1.0, 1.0, n)
        elif region.norm == 1.0:
            direction = (
                np.eye(n)[rng.integers(n)] * rng.choice([-1.0, 1.0]) if i % 2 == 0 else rng.dirichlet(np.ones(n))
            )
            direction = direction * rng.choice([-1.0, 1.0], n)
        else:
            direction = rng.standard_normal(n)
            direction /= np.linalg.norm(direction)
            direction *= 1.0 if i % 2 == 0 else rng.random()
        offsets.append(direction * eps)
    lo, hi = region.clip_box
    return [_inside(region, d, lo, hi) for d in offsets]


def _inside(region: Ball, offset: Floats, lo: Floats, hi: Floats) -> list[Fraction]:
    """x0 + offset, shrunk until its norm is at most eps in exact arithmetic, then moved into the box."""
    d = [Fraction(float(v)) for v in offset]
    if region.norm != math.inf:
        eps = Fraction(float(region.eps))
        size = sum(abs(v) for v in d) if region.norm == 1.0 else sum(v * v for v in d)
        if size > (eps if region.norm == 1.0 else eps * eps):
            d = [v * (1 - Fraction(1, 2**48)) for v in d]
    x = [Fraction(float(c)) + v for c, v in zip(region.x0, d, strict=True)]
    return [
        max(min(v, Fraction(float(h))) if math.isfinite(h) else v, Fraction(float(low))) if math.isfinite(low) else v
        for v, low, h in zip(x, lo, hi, strict=True)
    ]


def violations(lower: Any, truth: Any, upper: Any) -> list[str]:
    """Entries of ``truth`` (exact numbers, nested like the arrays) outside [lower, upper]; compared exactly."""
    found = []
    for i, (lo, t, up) in enumerate(zip(lower, truth, upper, strict=True)):
        if np.ndim(lo) > 0:
            found += [f"{i},{v}" for v in violations(lo, t, up)]
        elif not (lo <= t <= up):
            found.append(f"{i}: {_shown(t)} outside [{_shown(lo)}, {_shown(up)}]")
    return found


def _shown(number: Any) -> str:
    try:
        return repr(float(number))
    except OverflowError:
        return "a number past float64"
