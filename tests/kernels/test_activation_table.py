"""The activation table: a function that nobody knew of is a row more, whatever its turns; rows say what they lack."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import distverify as dv
from distverify.kernels import piecewise, relaxations
from distverify.kernels.activation import Curved, Function, Parameter, PiecewiseLinear, register
from distverify.kernels.activations import ACTIVATIONS, Activation, activate, slopes
from distverify.kernels.relaxations import relax
from tests.exact import MP, to_mp

Floats = NDArray[np.float64]


def _ripple(x, p0, p1):
    return math.sin(3.0 * x)


def _ripple_slope(x, side, p0, p1):
    return 3.0 * math.cos(3.0 * x)


def _climb(x, p0, p1):
    return x + math.sin(x)


def _climb_slope(x, side, p0, p1):
    return 1.0 + math.cos(x)


def _sink(x, p0, p1):
    return math.cos(x) - 0.5 * x


def _sink_slope(x, side, p0, p1):
    return -math.sin(x) - 0.5


def _bump(x, p0, p1):
    return math.exp(-x * x)


def _bump_slope(x, side, p0, p1):
    return -2.0 * x * math.exp(-x * x)


def _tent(x, p0, p1):
    return max(0.0, p0 - abs(x))


def _tent_slope(x, side, p0, p1):
    left, right = x < 0.0 or (x == 0.0 and side < 0), -p0 < x or (x == -p0 and side > 0)
    if left:
        return 1.0 if right else 0.0
    return -1.0 if x < p0 or (x == p0 and side < 0) else 0.0


def _minus_first(p0, p1):
    return -p0


_BUMP_TURN = math.sqrt(0.5)
ROWS: dict[str, Function] = {
    "ripple": Curved(
        value=_ripple, slope=_ripple_slope, period=math.pi / 3.0, steepness=(-3.0, 3.0), band=(0.0, -1.0, 1.0),
        noise=(0.0, 3.0), slope_noise=(3.0, 9.0),
    ),
    "climb": Curved(
        value=_climb, slope=_climb_slope, period=math.pi, steepness=(0.0, 2.0), band=(1.0, -1.0, 1.0), slope_noise=(2.0, 0.0)
    ),
    # Its slope turns at odd multiples of pi / 2: multiples of pi / 2 are turns enough.
    "sink": Curved(
        value=_sink, slope=_sink_slope, period=math.pi / 2.0, steepness=(-1.5, 0.5), band=(-0.5, -1.0, 1.0),
        slope_noise=(2.0, 0.0),
    ),
    "bump": Curved(value=_bump, slope=_bump_slope, turns=(-_BUMP_TURN, _BUMP_TURN), slope_noise=(1.0, 0.0)),
    "tent": PiecewiseLinear(
        value=_tent, slope=_tent_slope, turns=(_minus_first, 0.0, Parameter.FIRST),
        pieces=((0.0, 0.0), (1.0, Parameter.FIRST), (-1.0, Parameter.FIRST), (0.0, 0.0)),
    ),
}  # fmt: skip
VALUES: dict[str, Callable[[Any], Any]] = {
    "ripple": lambda z: MP.sin(3 * z),
    "climb": lambda z: z + MP.sin(z),
    "sink": lambda z: MP.cos(z) - z / 2,
    "bump": lambda z: MP.exp(-min(z * z, MP.mpf(10) ** 9)),
    "tent": lambda z: max(MP.mpf(0), MP.mpf(HEIGHT) - abs(z)),
}
SLOPES: dict[str, Callable[[Any], Any]] = {
    "ripple": lambda z: 3 * MP.cos(3 * z),
    "climb": lambda z: 1 + MP.cos(z),
    "sink": lambda z: -MP.sin(z) - MP.mpf("0.5"),
    "bump": lambda z: -2 * z * MP.exp(-min(z * z, MP.mpf(10) ** 9)),
    "tent": lambda z: MP.mpf(0) if abs(z) > HEIGHT else MP.mpf(1 if z < 0 else -1),
}
HEIGHT = 1.7
CODES = {name: Activation(register(row)).code for name, row in ROWS.items()}
INTERVALS = [
    (-0.1, 0.1), (0.0, 0.0), (-1.0, 1.0), (-3.0, 3.0), (-40.0, 40.0), (0.2, 0.9), (-7.0, -1.0), (1.0, 1.0 + 1e-9), (-1e4, 3.0),
    (100.0, 104.0), (1e7, 1e7 + 2.0), (1e9, 1e9 + 1.0), (-math.inf, 2.0), (-2.0, math.inf), (-math.inf, math.inf),
    (-1e300, 1e300), (-1.7, 0.3), (-0.4, 1.7), (0.0, 1.7), (-1.7, 1.7), (-5.0, 0.0), (1.7, 9.0),
]  # fmt: skip


@pytest.fixture(params=list(ROWS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def parameters(count: int = 1) -> Floats:
    return np.full((2, count), HEIGHT)


def points(left: float, right: float, rng: np.random.Generator) -> list[float]:
    lo, hi = max(left, -1e9), min(right, 1e9)
    inner = lo + (hi - lo) * rng.random(25)
    near = rng.uniform(-8.0, 8.0, 25)
    turns = np.array([k * math.pi / 12 for k in range(-12, 13)] + [_BUMP_TURN, -_BUMP_TURN, HEIGHT, -HEIGHT])
    candidates = np.concatenate([[lo, hi], inner, near, turns])
    return [float(x) for x in candidates if left <= x <= right]


def test_lines_slopes_and_values_contain_the_function(kind: str) -> None:
    rng = np.random.default_rng(3)
    extra = [tuple(sorted(rng.uniform(-6.0, 6.0, 2))) for _ in range(60)]
    for left, right in INTERVALS + extra:
        su, cu, sl, cl, glo, ghi, alo, ahi = (
            float(v) for v in relax(CODES[kind], np.array([left]), np.array([right]), parameters())[:, 0]
        )
        for x in points(left, right, rng):
            z = to_mp(x)
            s, g = VALUES[kind](z), SLOPES[kind](z)
            where = f"at {x!r} on [{left!r}, {right!r}]"
            assert alo <= s <= ahi, f"value {where}"
            assert glo <= g <= ghi, f"slope {where}"
            assert to_mp(su) * z + to_mp(cu) >= s, f"line above {where}"
            assert to_mp(sl) * z + to_mp(cl) <= s, f"line below {where}"


def test_narrow_intervals_are_tight(kind: str) -> None:
    """Between its turns a function is followed closely: no row falls back on what holds on the whole line."""
    for left in (-5.3, -1.2, 0.1, 2.5):
        right = left + 1e-3
        su, cu, sl, cl, glo, ghi, alo, ahi = relax(CODES[kind], np.array([left]), np.array([right]), parameters())[:, 0]
        gap = max(su * x + cu - (sl * x + cl) for x in (left, right))
        assert gap <= 1e-5
        assert ahi - alo <= 4e-3
        assert ghi - glo <= 1e-2


def test_the_whole_line_has_the_limits_of_the_row() -> None:
    whole = np.array([-1e3]), np.array([1e3])
    su, cu, sl, cl, glo, ghi, alo, ahi = relax(CODES["climb"], *whole, parameters())[:, 0]
    assert (su, cu, sl, cl, glo, ghi) == (1.0, 1.0, 1.0, -1.0, 0.0, 2.0)
    assert (alo, ahi) == pytest.approx((-1001.0, 1001.0), rel=1e-14)
    assert alo <= -1001.0
    assert ahi >= 1001.0


def test_values_and_slopes_at_points(kind: str) -> None:
    x = np.random.default_rng(0).uniform(-9.0, 9.0, (40, 1))
    for z, s, g in zip(
        x[:, 0], activate(CODES[kind], x, parameters()), slopes(CODES[kind], x, parameters()), strict=True
    ):
        assert abs(VALUES[kind](to_mp(z)) - to_mp(s[0])) <= 1e-14 * 30
        assert abs(SLOPES[kind](to_mp(z)) - to_mp(g[0])) <= 1e-14 * 100


def test_a_network_with_it_is_bounded(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"height": HEIGHT} if kind == "tent" else {}
    monkeypatch.setitem(ACTIVATIONS, kind, Activation(CODES[kind], names))
    rng = np.random.default_rng(5)
    first, second = rng.standard_normal((6, 3)), rng.standard_normal((2, 6))
    network = dv.Network.from_layers([(first, rng.standard_normal(6)), (second, np.zeros(2))], kind)
    x0 = rng.standard_normal(3)
    bounds = dv.jacobian_bounds(network, dv.Ball(x0, 0.2))
    for _ in range(30):
        z = first @ (x0 + rng.uniform(-0.2, 0.2, 3)) + network.nodes[1].bias
        jacobian = (second * np.array([float(SLOPES[kind](to_mp(v))) for v in z])) @ first
        assert (bounds.lower <= jacobian + 1e-12).all()
        assert (jacobian <= bounds.upper + 1e-12).all()


def test_the_rules_know_no_activation_by_name() -> None:
    for module in (relaxations, piecewise):
        tree = ast.parse(Path(module.__file__ or "").read_text())
        names = {node.id.lower() for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {
            alias.name.lower() for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
        }
        assert not names & {"leaky", *ACTIVATIONS}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Curved(value=_bump, slope=_bump_slope, turns=(0.0,) * 5), "turns: got 5; a row has room for 4"),
        (
            lambda: Curved(value=_climb, slope=_climb_slope, period=math.pi, steepness=(0.0, 2.0)),
            r"period: got 3\.14.*steepness \(0\.0, 2\.0\) and band \(0\.0, -inf, inf\); give finite ones",
        ),
        (
            lambda: PiecewiseLinear(value=_tent, slope=_tent_slope, turns=(0.0,), pieces=((1.0, 0.0),)),
            "pieces: got 1 with 1 turns; give one more than turns",
        ),
    ],
)  # fmt: skip
def test_rows_that_lack_something_are_refused(make: Callable[[], Function], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
