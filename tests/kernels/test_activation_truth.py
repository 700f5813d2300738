"""Lines, slope ranges and value ranges of every activation, against 240-bit arithmetic: no tolerances."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distverify.kernels.activations import ACTIVATIONS, PARAMETER_ROWS, activate, slopes
from distverify.kernels.relaxations import lines, slope_range, value_range
from distverify.network.graph import Network
from tests import exact
from tests.exact import MP, to_mp
from tests.networks import ALL_ACTIVATIONS, MORE, PARTIAL, Floats

CODES = {name: entry.code for name, entry in ACTIVATIONS.items()}
# Values and slopes in float64: units of roundoff, relative to the terms that enter (at most |x| + 1 times the slope).
EVALUATION_ERROR = 1e-14
# How far the line may be from the tightest one at the midpoint, for S-shaped functions.
HULL_GAP = 1e-6

KINKS = [
    0.0,
    1.0,
    -1.0,
    0.5,
    math.sqrt(2.0),
    2.3993572805154677,
    1.4185040087908284,
    -2.5,
    2.5,
    math.pi,
    -3 * math.pi,
]
PARAMETERS = {
    "relu": [()],
    "leaky_relu": [(0.01,), (0.5,), (1.0,), (1.7,), (-0.3,), (0.0,), (-1.0,), (-30.0,), (-1e9,), (1e9,)],
    "clip": [(-1.0, 1.0), (0.0, 6.0), (0.25, 0.5), (-1e9, 1e-9)],
    "hard_sigmoid": [
        (0.2, 0.5),
        (1 / 6, 0.5),
        (-0.4, 0.3),
        (0.0, 0.7),
        (0.0, 3.0),
        (0.2, 1e5),
        (-3.0, 1e7),
        (7e4, -3e4),
        (1e-9, 0.3),
    ],
    "elu": [(1.0, 1.0), (0.3, 1.2), (5.0, 0.5)],
    "selu": [(1.67326319217681884765625, 1.05070102214813232421875)],
    "gelu_cubic": [(0.7978845834732056, 0.03567740941216254), (0.79, 0.0), (3.0, 20.0), (1e-3, 1e-9), (0.2, 5.0)],
    "power": [(2.0,), (3.0,), (4.0,), (7.0,)],
    "positive_power": [(0.5,), (-0.5,), (1.5,), (-2.0,), (0.1,), (2.25,), (0.015625,)],
}
EVERY_ACTIVATION = (*ALL_ACTIVATIONS, *PARTIAL)


def exists(kind: str, x: float, p0: float) -> bool:
    """Whether the function is a number there, and its derivative one too."""
    if kind in ("log", "positive_power"):
        return x > 0.0
    return x != 0.0 if kind == "reciprocal" else True


def packed(parameters: tuple[float, ...], count: int = 1) -> Floats:
    rows = np.zeros((PARAMETER_ROWS, count))
    for i, p in enumerate(parameters):
        rows[i] = p
    return rows


def finite_number() -> st.SearchStrategy[float]:
    ordinary = st.floats(-20, 20)
    near_kink = st.builds(
        lambda k, e: k + e, st.sampled_from(KINKS), st.sampled_from([0.0, 1e-16, -1e-16, 1e-9, -1e-9, 1e-3])
    )
    wild = st.builds(lambda m, e: m * 10.0**e, st.floats(-9, 9), st.integers(-300, 299))
    return st.one_of(ordinary, near_kink, wild)


def intervals(*, unbounded: bool = True) -> st.SearchStrategy[tuple[float, float]]:
    number = st.one_of(finite_number(), st.sampled_from([-math.inf, math.inf])) if unbounded else finite_number()
    pair = st.tuples(number, number).map(lambda p: (min(p), max(p)))
    near = st.tuples(finite_number(), st.integers(0, 3)).map(lambda p: (p[0], _later(p[0], p[1])))
    return st.one_of(pair, near).filter(lambda p: p[0] < math.inf and p[1] > -math.inf)


def _later(x: float, steps: int) -> float:
    for _ in range(steps):
        x = math.nextafter(x, math.inf)
    return x


def own_kinks(kind: str, parameters: tuple[float, ...]) -> list[float]:
    """Kinks that depend on the parameters, and their neighbours."""
    if kind == "clip":
        kinks = list(parameters)
    elif kind == "hard_sigmoid" and parameters[0] != 0.0:
        kinks = [-parameters[1] / parameters[0], (1.0 - parameters[1]) / parameters[0]]
    else:
        return []
    return [_later(k, n) if n >= 0 else -_later(-k, -n) for k in kinks for n in range(-3, 4)]


def probes(left: float, right: float, kinks: list[float], seed: int = 0) -> list[float]:
    """End points, kinks, and points spread over [left, right] on linear and logarithmic scales."""
    lo, hi = max(left, -1.7e308), min(right, 1.7e308)
    rng = np.random.default_rng(seed)
    mid = 0.5 * lo + 0.5 * hi
    points = [
        lo,
        hi,
        mid,
        *KINKS,
        *[-k for k in KINKS],
        *kinks,
        *(10.0 ** rng.uniform(-20, 3, 4)),
        *(-(10.0 ** rng.uniform(-20, 3, 4))),
    ]
    points += [lo * (1 - t) + hi * t for t in [*rng.random(6), 1e-12, 1e-6, 1 - 1e-6]]
    points += [math.nextafter(lo, math.inf), math.nextafter(hi, -math.inf)]
    return sorted({p for p in points if lo <= p <= hi})


def closest(code: int, parameters: Floats, left: float, right: float, s: float, sign: float) -> list[float]:
    """Where sign (s x - value) is smallest by a float64 grid: the point that would break the line first."""
    if not (math.isfinite(left) and math.isfinite(right)) or max(-left, right) > 1e150:
        return []
    grid = np.unique(
        np.concatenate([np.linspace(left, right, 101), np.sinh(np.linspace(math.asinh(left), math.asinh(right), 101))])
    )
    grid = grid[(grid >= left) & (grid <= right)]
    for _ in range(3):
        gap = sign * (s * grid - activate(code, grid[:, None], parameters)[:, 0])
        i = int(np.argmin(gap))
        grid = np.unique(np.clip(np.linspace(grid[max(i - 1, 0)], grid[min(i + 1, grid.size - 1)], 41), left, right))
    return [float(grid[grid.size // 2]), *(float(v) for v in grid[::10])]


def check_all(kind: str, given_parameters: tuple[float, ...], left: float, right: float) -> None:
    code, parameters = CODES[kind], packed(given_parameters)
    p0, p1 = parameters[:, 0]
    low, high = np.array([left]), np.array([right])
    su, cu, sl, cl = (float(v[0]) for v in lines(code, low, high, parameters))
    glo, ghi = (float(v[0]) for v in slope_range(code, low, high, parameters))
    alo, ahi = (float(v[0]) for v in value_range(code, low, high, parameters))
    assert not any(math.isnan(v) for v in (su, cu, sl, cl, glo, ghi, alo, ahi))
    points = probes(left, right, own_kinks(kind, given_parameters))
    if kind not in PARTIAL:
        points += closest(code, parameters, left, right, su, 1.0) + closest(code, parameters, left, right, sl, -1.0)
    points = [x for x in points if exists(kind, x, p0)]
    for x in points:
        z = to_mp(x)
        s, g = exact.value(kind, z, p0, p1), exact.slope(kind, z, p0, p1)
        assert alo <= s <= ahi, f"value at {x!r}"
        assert glo <= g <= ghi, f"slope at {x!r}"
        assert to_mp(su) * z + to_mp(cu) >= s, f"line above at {x!r}"
        assert to_mp(sl) * z + to_mp(cl) <= s, f"line below at {x!r}"


@pytest.mark.parametrize("kind", EVERY_ACTIVATION)
@MORE
@given(data=st.data())
def test_valid_on_every_interval(kind: str, data: st.DataObject) -> None:
    parameters = data.draw(st.sampled_from(PARAMETERS.get(kind, [()])))
    check_all(kind, parameters, *data.draw(intervals()))


EDGE_INTERVALS = [
    (0.0, 0.0), (-0.0, 0.0), (1.0, 1.0), (-1.0, 1.0), (-1.0, 0.0), (0.0, 1.0), (-1e-300, 1e-300), (-5e-324, 5e-324),
    (-5e-324, 0.0), (0.0, 5e-324), (-1e200, 1e200), (-1e300, 1e300), (-1e300, 1e-300), (-1e-300, 1e300),
    (-1e308, 1e308),
    (-1.7e308, -1e308), (1e308, 1.7e308), (-math.inf, math.inf), (-math.inf, 0.0), (0.0, math.inf), (-math.inf, -700.0),
    (700.0, math.inf), (-800.0, -700.0), (700.0, 800.0), (-40.0, 40.0), (-1000.0, 1.0), (-1.0, 1000.0), (-6.0, 6.001),
    (1e8, 1e8 + 3), (1e16, 1e16 + 2), (-1e10, -1e5), (1e5, 1e10), (-1e154, 1.0), (-1.0, 1e154), (1e160, 1e170),
]  # fmt: skip


@pytest.mark.parametrize("kind", EVERY_ACTIVATION)
@pytest.mark.parametrize("interval", EDGE_INTERVALS)
def test_valid_on_edge_intervals(kind: str, interval: tuple[float, float]) -> None:
    for parameters in PARAMETERS.get(kind, [()]):
        check_all(kind, parameters, *interval)


@pytest.mark.parametrize("kind", PARTIAL)
def test_tight_where_the_function_exists(kind: str) -> None:
    rng = np.random.default_rng(3)
    for given_parameters in PARAMETERS.get(kind, [()]):
        for scale in (1.0, 1e-6, 1e3, 1e-100 if kind != "reciprocal" else 0.1):
            a, b = np.sort(rng.uniform(0.2, 0.6, 2) * scale).tolist()
            for left, right in ((a, b), (a, a), (-b, -a), (-a, b)):
                if exists(kind, left, given_parameters[0] if given_parameters else 0.0) and (
                    kind != "reciprocal" or left * right > 0.0
                ):
                    check_all(kind, given_parameters, left, right)
                    _check_tight(kind, given_parameters, left, right)


def _check_tight(kind: str, given_parameters: tuple[float, ...], left: float, right: float) -> None:
    """Bounds are finite, and ranges no wider than rounding makes them: between these ends every function is monotone but even powers."""
    code, parameters = CODES[kind], packed(given_parameters)
    low, high = np.array([left]), np.array([right])
    p0, p1 = parameters[:, 0]
    assert all(math.isfinite(float(v[0])) for v in lines(code, low, high, parameters))
    alo, ahi = (float(v[0]) for v in value_range(code, low, high, parameters))
    ends = [exact.value(kind, to_mp(x), p0, p1) for x in (left, right)]
    if kind == "power" and p0 % 2 == 0 and left < 0.0 < right:
        ends.append(to_mp(0.0))
    room = 1e-13 * max(abs(e) for e in ends) + MP.mpf(10) ** -298
    assert min(ends) - room <= alo
    assert ahi <= max(ends) + room


def test_jumps_have_no_slope() -> None:
    for kind, at in (("signum", 0.0), ("heaviside", 0.0), ("floor", 2.0), ("nearest", 0.5)):
        assert slope_range(CODES[kind], np.array([at]), np.array([at]), packed(()))[1].tolist() == [math.inf]
        beside = np.array([at + 0.25])
        assert [v.tolist() for v in slope_range(CODES[kind], beside, beside, packed(()))] == [[0.0], [0.0]]


@pytest.mark.parametrize("kind", ["clip", "hard_sigmoid"])
def test_valid_next_to_kinks_that_depend_on_parameters(kind: str) -> None:
    for parameters in PARAMETERS[kind]:
        near = own_kinks(kind, parameters)
        width = max(abs(k) for k in near) if near else 1.0
        for a in near[::2]:
            for b in (a, *near[1::3], a + 1e-9 * width, a - 0.3 * width, a + 2.0 * width, -math.inf, math.inf):
                check_all(kind, parameters, min(a, b), max(a, b))


@pytest.mark.parametrize("kind", ALL_ACTIVATIONS)
def test_values_and_slopes(kind: str) -> None:
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.uniform(-6, 6, 60), [0.0, 1e-30, -1e-30, 50.0, -50.0]])
    for given_parameters in PARAMETERS.get(kind, [()]):
        parameters = packed(given_parameters)
        found = activate(CODES[kind], x[:, None], parameters)[:, 0]
        derivative = slopes(CODES[kind], x[:, None], parameters)[:, 0]
        p0, p1 = parameters[:, 0]
        error = EVALUATION_ERROR * max(1.0, abs(p0), abs(p1))
        for z, s, g in zip(x, found, derivative, strict=True):
            assert abs(exact.value(kind, to_mp(z), p0, p1) - to_mp(s)) <= error * (1 + abs(z))
            assert abs(exact.slope(kind, to_mp(z), p0, p1) - to_mp(g)) <= error * (1 + abs(z))


@MORE
@given(interval=intervals(unbounded=False), slope=st.sampled_from([0.0, 0.01, 0.3, 1.0]))
def test_relu_lines_are_the_published_ones(interval: tuple[float, float], slope: float) -> None:
    left, right = interval
    if max(-left, right) > 1e299:
        return
    su, cu, sl, cl = (
        float(v[0]) for v in lines(CODES["leaky_relu"], np.array([left]), np.array([right]), packed((slope,)))
    )
    if left >= 0.0 and right > 0.0:
        assert (su, cu, sl, cl) == (1.0, 0.0, 1.0, 0.0)
    elif right <= 0.0 and left < 0.0:
        assert (su, cu, sl, cl) == (slope, 0.0, slope, 0.0)
    elif left < 0.0 < right:
        assert (sl, cl) == (1.0 if right > -left else slope, 0.0)
        chord = (to_mp(right) - slope * to_mp(left)) / (to_mp(right) - to_mp(left))
        if right - left > 1e-290:
            assert abs(su - chord) <= 1e-15 * chord
            for end, truth in ((left, slope * to_mp(left)), (right, to_mp(right))):
                assert (
                    to_mp(su) * to_mp(end) + to_mp(cu) - truth <= 1e-14 * (abs(left) + abs(right)) + MP.mpf(10) ** -299
                )


@pytest.mark.parametrize("kind", ["sigmoid", "tanh", "arctan"])
@pytest.mark.parametrize(
    "interval",
    [
        (-1.0, 1.0),
        (-3.0, 0.5),
        (-0.5, 4.0),
        (-8.0, 8.0),
        (-20.0, 3.0),
        (1.0, 5.0),
        (-6.0, -0.1),
        (-0.01, 12.0),
    ],
)
def test_s_shaped_lines_touch_the_hull_at_the_midpoint(kind: str, interval: tuple[float, float]) -> None:
    left, right = interval
    code, parameters = CODES[kind], packed(())
    x = np.linspace(left, right, 20001)
    y = activate(code, x[:, None], parameters)[:, 0]
    su, cu, sl, cl = (float(v[0]) for v in lines(code, np.array([left]), np.array([right]), parameters))
    m = 0.5 * (left + right)
    assert su * m + cu - _hull_at(x, y, m) <= HULL_GAP
    assert -_hull_at(x, -y, m) - (sl * m + cl) <= HULL_GAP


def _hull_at(x: Floats, y: Floats, m: float) -> float:
    """The upper concave hull of the points at m: the highest chord over it."""
    left, right = x < m, x > m
    # For any slope s, max(y - s x) + s m bounds the hull; it is smallest at the hull's own slope.
    lo, hi = -2.0, 2.0
    for _ in range(80):
        s = 0.5 * (lo + hi)
        h = y - s * x
        if h[left].max() > h[right].max():
            hi = s
        else:
            lo = s
    return float((y - s * x).max() + s * m)


def test_stable_piecewise_neurons_are_exact() -> None:
    low, high = np.array([0.0, 1e-300, 3.0, -2.0, -1e300]), np.array([1.0, 2e-300, 9.0, -1e-9, 0.0])
    su, cu, sl, cl = lines(CODES["relu"], low, high, packed((), 5))
    expected = [1.0, 1.0, 1.0, 0.0, 0.0]
    assert su.tolist() == sl.tolist() == expected
    assert cu.tolist() == cl.tolist() == [0.0] * 5
    glo, ghi = slope_range(CODES["relu"], low, high, packed((), 5))
    assert glo.tolist() == [0.0, 1.0, 1.0, 0.0, 0.0]
    assert ghi.tolist() == [1.0, 1.0, 1.0, 0.0, 1.0]


def test_parameters_are_per_neuron() -> None:
    parameters = packed((), 3)
    parameters[0] = [0.1, 0.5, -0.25]
    low, high = np.full(3, -2.0), np.full(3, -1.0)
    assert slope_range(CODES["leaky_relu"], low, high, parameters)[0].tolist() == [0.1, 0.5, -0.25]
    assert lines(CODES["leaky_relu"], low, high, parameters)[0].tolist() == [0.1, 0.5, -0.25]
    alo, ahi = value_range(CODES["leaky_relu"], low, high, parameters)
    assert (alo <= [-0.2, -1.0, 0.25]).all()
    assert (ahi >= [-0.1, -0.5, 0.5]).all()
    np.testing.assert_allclose(alo, [-0.2, -1.0, 0.25], rtol=1e-14)
    np.testing.assert_allclose(ahi, [-0.1, -0.5, 0.5], rtol=1e-14)


@pytest.mark.parametrize("kind", ALL_ACTIVATIONS)
def test_read_only_arrays_are_accepted(kind: str) -> None:
    arrays = [np.array([-1.0]), np.array([2.0]), packed(PARAMETERS.get(kind, [()])[0])]
    expected = lines(CODES[kind], *arrays)
    for a in arrays:
        a.flags.writeable = False
    for a, b in zip(lines(CODES[kind], *arrays), expected, strict=True):
        assert a.tolist() == b.tolist()


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("prelu", [-0.5, 0.0, 2.0, 7.0]),
        ("identity", [-2.0, 0.0, 2.0, 7.0]),
        ("hardtanh", [-1.0, 0.0, 1.0, 1.0]),
        ("relu6", [0.0, 0.0, 2.0, 6.0]),
    ],
)
def test_special_cases_by_their_own_names(kind: str, values: list[float]) -> None:
    network = Network.from_layers([(np.eye(4), np.zeros(4)), (np.eye(4), np.zeros(4))], kind)
    np.testing.assert_array_equal(network(np.array([-2.0, 0.0, 2.0, 7.0]))[0], values)
