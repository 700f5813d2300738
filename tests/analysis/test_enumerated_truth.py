"""Radii and Lipschitz constants of tiny networks against the truth: every activation pattern, each settled by a linear program."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linprog

import distverify as dv
from distverify.network.graph import Network
from distverify.region import Ball

Floats = NDArray[np.float64]
# The linear programs' tolerance.
SOLVER = 1e-6


class Pattern:
    """One linear piece: f = A x + c where G x <= h."""

    def __init__(self, layers: list[tuple[Floats, Floats]], slope: float, signs: tuple[bool, ...]) -> None:
        inputs = layers[0][0].shape[1]
        matrix, constant = np.eye(inputs), np.zeros(inputs)
        sides, limits, place = [], [], 0
        for weight, bias in layers[:-1]:
            matrix, constant = weight @ matrix, weight @ constant + bias
            on = np.array(signs[place : place + bias.size])
            place += bias.size
            sign = np.where(on, -1.0, 1.0)
            sides.append(sign[:, None] * matrix)
            limits.append(-sign * constant)
            steep = np.where(on, 1.0, slope)
            matrix, constant = steep[:, None] * matrix, steep * constant
        weight, bias = layers[-1]
        self.matrix, self.constant = weight @ matrix, weight @ constant + bias
        self.sides, self.limits = np.concatenate(sides), np.concatenate(limits)


def patterns(layers: list[tuple[Floats, Floats]], slope: float) -> Iterator[Pattern]:
    neurons = sum(bias.size for _, bias in layers[:-1])
    for signs in itertools.product((False, True), repeat=neurons):
        yield Pattern(layers, slope, signs)


def within(x0: Floats, norm: float, columns: int) -> tuple[Floats, Floats]:
    """Rows G, h with G (x, t, s) <= h iff ||x - x0|| <= t; s are the coordinates' distances of norm 1."""
    n = x0.size
    eye, one = np.eye(n), np.ones((n, 1))
    if norm == math.inf:
        rows = np.concatenate([np.hstack([eye, -one]), np.hstack([-eye, -one])])
        return np.hstack([rows, np.zeros((2 * n, columns - n - 1))]), np.concatenate([x0, -x0])
    zero = np.zeros((n, 1))
    rows = np.concatenate([np.hstack([eye, zero, -eye]), np.hstack([-eye, zero, -eye])])
    total = np.hstack([np.zeros((1, n)), [[-1.0]], np.ones((1, n))])
    return np.concatenate([rows, total]), np.concatenate([x0, -x0, [0.0]])


def true_radius(all_patterns: list[Pattern], x0: Floats, label: int, norm: float) -> float:
    """The distance of the nearest point at which another class is at least as large."""
    n = x0.size
    columns = n + 1 + (n if norm == 1.0 else 0)
    ball, ends = within(x0, norm, columns)
    cost = np.zeros(columns)
    cost[n] = 1.0
    best = math.inf
    for p in all_patterns:
        pad = np.zeros((p.sides.shape[0], columns - n))
        for j in range(p.constant.size):
            if j == label:
                continue
            margin = np.concatenate([p.matrix[label] - p.matrix[j], np.zeros(columns - n)])
            rows = np.concatenate([np.hstack([p.sides, pad]), margin[None], ball])
            limits = np.concatenate([p.limits, [p.constant[j] - p.constant[label]], ends])
            found = linprog(cost, rows, limits, bounds=[(None, None)] * columns, method="highs")
            if found.status == 0:
                best = min(best, float(found.fun))
    return best


def true_constants(all_patterns: list[Pattern], region: Ball) -> Floats:
    """The largest dual norm of every row's gradient over the pieces that have an inner point in the ball (norm inf)."""
    n = region.size
    best = np.zeros(all_patterns[0].constant.size)
    lo, hi = region.x0 - region.eps, region.x0 + region.eps
    for p in all_patterns:
        # The largest ball inside: its radius is the last variable.
        lengths = np.linalg.norm(p.sides, axis=1)
        if (p.limits[lengths == 0.0] < 0.0).any():
            continue
        rows = np.hstack([p.sides, lengths[:, None]])
        box = np.concatenate([np.hstack([np.eye(n), np.ones((n, 1))]), np.hstack([-np.eye(n), np.ones((n, 1))])])
        found = linprog(
            np.append(np.zeros(n), -1.0), np.concatenate([rows, box]), np.concatenate([p.limits, hi, -lo]),
            bounds=[(None, None)] * n + [(0.0, None)], method="highs",
        )  # fmt: skip
        if found.status == 0 and found.x[-1] > 1e-9 * float(region.eps):
            dual = {math.inf: 1, 2.0: 2, 1.0: np.inf}[region.norm]
            best = np.maximum(best, np.linalg.norm(p.matrix, ord=dual, axis=1))
    return best


def tiny(seed: int, widths: list[int]) -> tuple[list[tuple[Floats, Floats]], Floats]:
    rng = np.random.default_rng(seed)
    layers = [(rng.standard_normal((m, n)), 0.5 * rng.standard_normal(m)) for n, m in pairwise(widths)]
    return layers, rng.standard_normal(widths[0])


CASES = [(0, [2, 4, 2]), (1, [2, 4, 3, 2]), (2, [3, 5, 3]), (3, [2, 3, 3, 3]), (4, [4, 6, 2])]


@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize(("seed", "widths"), CASES)
def test_radii_are_below_the_truth_and_near_it(seed: int, widths: list[int], slope: float) -> None:
    layers, x0 = tiny(seed, widths)
    network = Network.from_layers(layers, "leaky_relu", slope=slope)
    every = list(patterns(layers, slope))
    label = int(np.argmax(network(x0)[0]))
    for norm in (math.inf, 1.0):
        truth = true_radius(every, x0, label, norm)
        for arithmetic in ("exact", "float32"):
            radius = dv.certified_radius(network, x0, norm=norm, arithmetic=arithmetic)
            assert radius.crown <= truth * (1.0 + SOLVER)
            assert radius.jacobian <= truth * (1.0 + SOLVER)
            if math.isfinite(truth):
                assert radius.radius >= 0.05 * truth


@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize(("seed", "widths"), CASES)
def test_lipschitz_constants_are_above_the_truth_and_near_it(seed: int, widths: list[int], slope: float) -> None:
    layers, x0 = tiny(seed, widths)
    network = Network.from_layers(layers, "leaky_relu", slope=slope)
    every = list(patterns(layers, slope))
    for eps in (0.01, 0.3, 2.0):
        region = Ball(x0, eps)
        truth = true_constants(every, region)
        for method in ("linear", "recurjac", "interval"):
            constants = dv.lipschitz_constant(network, region, method=method)
            assert (constants.rows >= truth * (1.0 - SOLVER)).all()
            assert constants.vector >= truth.max() * (1.0 - SOLVER)
            if method == "linear":
                assert (constants.rows <= 6.0 * truth + 1e-9).all()
