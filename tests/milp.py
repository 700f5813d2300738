"""The exact minimum of a row of a ReLU network over a box, by mixed-integer programming: what verdicts are measured against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

Floats = NDArray[np.float64]


def smallest(
    layers: Sequence[tuple[Floats, Floats]], row: Floats, lower: Floats, upper: Floats, at_most: Sequence[tuple[Floats, float]] = ()
) -> float:  # fmt: skip
    """min row @ f(x) over the box where the outputs y satisfy ``a @ y <= b`` for all (a, b); inf where no x does.

    Variables: x, and for every hidden neuron z, a and a switch.
    """
    sizes = [w.shape[0] for w, _ in layers]
    n = lower.size
    hidden = sum(sizes[:-1])
    total = n + 3 * hidden
    rows: list[Floats] = []
    least: list[float] = []
    most: list[float] = []
    low, high = np.full(total, -np.inf), np.full(total, np.inf)
    low[:n], high[:n] = lower, upper
    integral = np.zeros(total)
    before = np.arange(n)
    span_low, span_high = lower, upper
    start = n
    for weight, bias in layers[:-1]:
        m = weight.shape[0]
        z, a, s = (np.arange(start + k * m, start + (k + 1) * m) for k in range(3))
        start += 3 * m
        middle, reach = 0.5 * (span_low + span_high), 0.5 * (span_high - span_low)
        zl, zu = (
            weight @ middle + bias - np.abs(weight) @ reach - 1e-6,
            weight @ middle + bias + np.abs(weight) @ reach + 1e-6,
        )
        low[z], high[z], low[a], high[a], low[s], high[s] = zl, zu, 0.0, np.maximum(zu, 0.0), 0.0, 1.0
        integral[s] = 1
        for i in range(m):
            line = np.zeros(total)
            line[z[i]], line[before] = 1.0, -weight[i]
            rows.append(line)
            least.append(bias[i])
            most.append(bias[i])
            for over_z, over_switch, lo, hi in (
                (1.0, 0.0, 0.0, np.inf),  # a >= z
                (1.0, min(zl[i], 0.0), -np.inf, -min(zl[i], 0.0)),  # a <= z - zl (1 - s)
                (0.0, max(zu[i], 0.0), -np.inf, 0.0),  # a <= zu s
            ):
                line = np.zeros(total)
                line[a[i]], line[z[i]], line[s[i]] = 1.0, -over_z, -over_switch
                rows.append(line)
                least.append(lo)
                most.append(hi)
        before, span_low, span_high = a, np.maximum(zl, 0.0), np.maximum(zu, 0.0)
    weight, bias = layers[-1]
    for a_row, b in at_most:
        line = np.zeros(total)
        line[before] = a_row @ weight
        rows.append(line)
        least.append(-np.inf)
        most.append(b - float(a_row @ bias))
    cost = np.zeros(total)
    cost[before] = row @ weight
    constraints = LinearConstraint(np.array(rows), np.array(least), np.array(most)) if rows else ()
    solved = milp(cost, constraints=constraints, integrality=integral, bounds=Bounds(low, high))
    return float(solved.fun) + float(row @ bias) if solved.status == 0 else np.inf
