"""Real networks against published-method figures of peer tools, and against sampled gradients."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from distverify.analysis.lipschitz import lipschitz_constant
from distverify.analysis.radius import CertifiedRadius, certified_radius
from distverify.bounds.enclosure import enclose
from distverify.bounds.gradient import jacobian_at
from distverify.bounds.jacobian import jacobian_bounds, margin_rows
from distverify.bounds.lipschitz import row_constants
from distverify.bounds.methods import bound_rows
from distverify.kernels.rounding import IGNORED, SOUND
from distverify.region import Ball
from distverify.settings import METHODS
from tests.networks import crown_rows
from tests.oracle.files import (
    MODELS,
    NORM_OF,
    SHARED,
    Figures,
    Floats,
    figures,
    group,
    hidden_bounds,
    image,
    model,
    needs_shared,
    slack,
)

pytestmark = needs_shared

# Constants are sums of hundreds of float32 figures there.
LIPSCHITZ_LOOSER = 1e-4
# Where tighter bounds flip adaptive slopes, what follows is another relaxation: on average it must be about as good.
FLIPPED_LOOSER = 0.05
# Up to this radius the tool's `linear` bounds are ours; at larger ones they are looser (by up to 46 % at 0.03).
SAME_RELAXATION = 0.005
# What soundness in floating point may cost: width of a Jacobian entry, relative to the largest entry.
ROUNDING_COST = 1e-8
# Gradients sampled in float64: the evaluation's own error, relative to the largest entry.
GRADIENT_ERROR = 1e-12
# The lead's figures are given to about four digits.
FIGURE = 2e-4


def cases() -> list[object]:
    quick = {
        ("mnist_256x2", 0, "Linf", "0.005"),
        ("mnist_256x4", 0, "Linf", "0.005"),
        ("mnist_256x2", 1, "L2", "0.1"),
    }
    out: list[object] = []
    for name in MODELS:
        acas = name == "acasxu_1_1"
        radii = [("Linf", e) for e in (("0.001", "0.01", "0.05") if acas else ("0.001", "0.005", "0.01", "0.03"))]
        radii += [("L2", "0.1"), ("L1", "0.1")] if acas else [("L2", "0.1"), ("L2", "0.5"), ("L1", "0.5")]
        for i in range(3):
            for norm, eps in radii:
                fast = acas or (name, i, norm, eps) in quick
                marks = [] if fast else [pytest.mark.slow]
                out.append(pytest.param(name, i, norm, eps, marks=marks, id=f"{name}-{i}-{norm}-{eps}"))
    return out


def assert_not_looser(lower: Floats, upper: Floats, low: Floats, high: Floats, what: str) -> None:
    loose = slack(np.maximum(np.abs(low), np.abs(high)))
    assert (lower >= low - loose).all(), what
    assert (upper <= high + loose).all(), what


def assert_narrower(lower: Floats, upper: Floats, low: Floats, high: Floats, what: str) -> None:
    loose = slack(np.maximum(np.abs(low), np.abs(high)))
    assert float((upper - lower).mean()) <= float((high - low).mean()) * (1 + FLIPPED_LOOSER) + loose, what


@pytest.mark.parametrize(("name", "index", "norm", "eps"), cases())
def test_against_the_reference(name: str, index: int, norm: str, eps: str) -> None:
    file = f"recurjac_{name}.npz"
    figure: Figures = group(file, f"img{index}/{norm}/eps{eps}")
    if not figure:
        pytest.skip("the reference has no figures for this radius")
    network = model(name)
    region = Ball(figures(file)["images"][index], float(eps), NORM_OF[norm])
    label = int(figures(file)["labels"][index])
    enclosure = enclose(network, region)
    compare = assert_not_looser
    for i, (low, high) in enumerate(hidden_bounds(network, enclosure.lower, enclosure.upper)):
        theirs = figure[f"LB{i}"], figure[f"UB{i}"]
        # Of a neuron whose sign is settled no more is asked for.
        unstable = (low < 0) & (high > 0)
        if unstable.any():
            compare(low[unstable], high[unstable], theirs[0][unstable], theirs[1][unstable], f"layer {i}")
        if (unstable & ((high > -low) != (theirs[1] > -theirs[0]))).any():
            # Tighter bounds flipped the adaptive slope of some neuron: single entries after it may go either way.
            compare = assert_narrower
    # Margins are differences of logits: their figures have the logits' float32 error.
    float32 = slack(figure["lip_rows"])
    logits, margins = np.eye(network.output_size), margin_rows(network.output_size, label)
    compare(*crown_rows(enclosure, logits), figure["out_lb"], figure["out_ub"], "logits")
    compare(*crown_rows(enclosure, margins), figure["margin_lb"], figure["margin_ub"], "margins")
    for rows, jacobian, fast, constants in (
        (logits, "J", "FL", "lip_rows"),
        (margins, "Jm", "FLm", "margin_lip"),
    ):
        for method in ("recurjac", "linear"):
            bounds = bound_rows(enclosure, rows, method, "backward")
            compare(bounds.lower, bounds.upper, figure[f"{jacobian}_l"], figure[f"{jacobian}_u"], method)
            ours = row_constants(bounds, region.norm)
            if compare is assert_narrower:
                assert ours.mean() <= figure[constants].mean() * (1 + FLIPPED_LOOSER) + float32
                continue
            assert (ours <= figure[constants] * (1 + LIPSCHITZ_LOOSER) + float32).all(), f"{method} {constants}"
        if f"{fast}_l" in figure:
            bounds = bound_rows(enclosure, rows, "fastlip")
            compare(bounds.lower, bounds.upper, figure[f"{fast}_l"], figure[f"{fast}_u"], "fastlip")
    looser = FLIPPED_LOOSER if compare is assert_narrower else LIPSCHITZ_LOOSER
    vector = lipschitz_constant(network, region, method="recurjac").vector
    assert vector <= float(figure["lip_induced"][0]) * (1 + looser) + float32


@pytest.mark.parametrize("name", MODELS)
def test_rounding_terms_cost_little(name: str) -> None:
    network, region = model(name), Ball(figures(f"recurjac_{name}.npz")["images"][1], 0.001)
    for method in METHODS:
        sound, ignored = (
            bound_rows(enclose(network, region, rounding=r), np.eye(network.output_size), method)
            for r in (SOUND, IGNORED)
        )
        allowed = ROUNDING_COST * ignored.magnitude.max()
        assert float((ignored.lower - sound.lower).max()) <= allowed, method
        assert float((sound.upper - ignored.upper).max()) <= allowed, method


@pytest.mark.parametrize(
    ("name", "index", "eps"),
    [
        ("mnist_256x2", 0, "0.005"),
        ("mnist_256x4", 0, "0.005"),
        *(("acasxu_1_1", i, e) for i in range(3) for e in ("0.001", "0.01", "0.05")),
        *(
            pytest.param(name, i, e, marks=pytest.mark.slow)
            for name in ("mnist_256x2", "mnist_256x4")
            for i in range(3)
            for e in ("0.001", "0.005", "0.01", "0.03")
        ),
    ],
)
def test_linear_against_the_published_relaxation(name: str, index: int, eps: str) -> None:
    file = f"lirpa_{name}.npz"
    figure = group(file, f"img{index}/Linf/eps{eps}/noopt")
    if not figure:
        pytest.skip("the reference has no figures for this radius")
    bounds = jacobian_bounds(model(name), Ball(figures(file)["images"][index], float(eps)), method="linear")
    if name == "acasxu_1_1":
        # Intersection with intervals flips adaptive slopes: single entries may go either way.
        assert_narrower(bounds.lower, bounds.upper, figure["J_l"], figure["J_u"], "linear")
        return
    assert_not_looser(bounds.lower, bounds.upper, figure["J_l"], figure["J_u"], "linear")
    if float(eps) <= SAME_RELAXATION:
        theirs = float((figure["J_u"] - figure["J_l"]).mean())
        assert float((bounds.upper - bounds.lower).mean()) >= 0.98 * theirs - slack(figure["J_u"])


@pytest.mark.parametrize(
    ("eps", "method", "width", "row_sum"),
    [
        (0.005, "recurjac", 0.0071745, 7.1157),
        (0.005, "linear", 0.0047165, 5.2216),
        (0.01, "recurjac", 0.0506, 33.988),
        (0.01, "linear", 0.024221, 19.229),
    ],
)
def test_worked_figures(eps: float, method: str, width: float, row_sum: float) -> None:
    bounds = jacobian_bounds(model("mnist_256x4"), Ball(image(0)[0], eps), method=method)
    # 0.0506 has three digits only.
    assert float((bounds.upper - bounds.lower).mean()) == pytest.approx(width, rel=1e-3 if width == 0.0506 else FIGURE)
    magnitude = np.maximum(np.abs(bounds.lower), np.abs(bounds.upper))
    assert float(magnitude.sum(axis=1).max()) == pytest.approx(row_sum, rel=FIGURE)


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("mnist_256x2", 0),
        *(pytest.param("mnist_256x2", i, marks=pytest.mark.slow) for i in (1, 2)),
        *(pytest.param("mnist_256x4", i, marks=pytest.mark.slow) for i in range(3)),
    ],
)
def test_radii(name: str, index: int) -> None:
    x, label = image(index)
    found: CertifiedRadius = certified_radius(model(name), x, label)
    with (SHARED / "oracle" / "radii.json").open() as stream:
        known = {(r["net"], r["alg"], r["img"]): r["radius"] for r in json.load(stream)}
    # The search ends within its tolerance of 1e-4 of the largest radius.
    assert found.crown >= known[name, "crown (reference)", index] * (1 - 1e-3)
    assert found.jacobian >= known[name, "recurjac", index]
    assert found.radius == max(found.crown, found.jacobian)
    if name == "mnist_256x2":
        assert found.crown >= (0.00994, 0.01695, 0.00949)[index]
        assert found.jacobian >= (0.00813, 0.01471, 0.00836)[index] * (1 - 1e-3)
    else:
        assert found.jacobian >= (0.01647, 0.02073, 0.00952)[index] * (1 - 1e-3)


def sampled(region: Ball, count: int) -> Floats:
    """Points of the region: its centre, corners (for norm inf), its surface and its inside."""
    rng = np.random.default_rng(0)
    n, half = region.size, count // 2
    if region.norm == math.inf:
        d = np.concatenate([rng.choice([-1.0, 1.0], (half, n)), rng.uniform(-1, 1, (count - half, n))])
    elif region.norm == 1.0:
        d = np.concatenate([np.eye(n)[rng.integers(n, size=half)], rng.dirichlet(np.ones(n), count - half)])
        d *= rng.choice([-1.0, 1.0], (count, n))
    else:
        d = rng.standard_normal((count, n))
        d /= np.linalg.norm(d, axis=1, keepdims=True)
        d[half:] *= rng.random((count - half, 1))
    d[0] = 0.0
    # A hair inside: float64 points must not leave the ball.
    return region.x0 + float(region.eps) * (1 - 1e-12) * d


@pytest.mark.parametrize(
    ("name", "norm", "eps"),
    [
        ("mnist_256x2", math.inf, 0.01),
        ("acasxu_1_1", math.inf, 0.05),
        ("acasxu_1_1", 2.0, 0.1),
        ("acasxu_1_1", 1.0, 0.1),
        pytest.param("mnist_256x2", 2.0, 0.3, marks=pytest.mark.slow),
        pytest.param("mnist_256x2", 1.0, 0.5, marks=pytest.mark.slow),
        pytest.param("mnist_256x4", math.inf, 1e-6, marks=pytest.mark.slow),
        pytest.param("mnist_256x4", math.inf, 0.005, marks=pytest.mark.slow),
        pytest.param("mnist_256x4", math.inf, 0.02, marks=pytest.mark.slow),
        pytest.param("mnist_256x4", 2.0, 0.3, marks=pytest.mark.slow),
    ],
)
def test_two_thousand_gradients_lie_inside(name: str, norm: float, eps: float) -> None:
    network = model(name)
    x0 = figures(f"recurjac_{name}.npz")["images"][1]
    region = Ball(x0, eps, norm)
    enclosure = enclose(network, region)
    bounds = [bound_rows(enclosure, np.eye(network.output_size), method) for method in METHODS]
    points = sampled(region, 2000)
    constants = [lipschitz_constant(network, region, method=method).rows for method in METHODS]
    centre = network(x0)[0]
    for block in np.array_split(points, 10):
        gradients = jacobian_at(network, block)
        error = GRADIENT_ERROR * np.abs(gradients).max()
        for b in bounds:
            assert (gradients >= b.lower - error).all()
            assert (gradients <= b.upper + error).all()
        distance = np.linalg.norm(block - x0, ord=norm, axis=1)[:, None]
        change = np.abs(network(block) - centre) - 1e-12 * np.abs(centre).max()
        for rows in constants:
            assert (change <= rows * distance).all()
