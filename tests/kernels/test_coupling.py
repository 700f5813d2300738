"""Parallel lines around activations and their derivatives, against 240-bit arithmetic: no tolerances."""

from __future__ import annotations

import numpy as np
import pytest

from distverify.kernels.activations import ACTIVATIONS
from distverify.kernels.coupling import parallel_lines
from distverify.kernels.relaxations import slope_range
from tests import exact
from tests.exact import MP, to_mp
from tests.kernels.test_activation_truth import PARAMETERS, packed
from tests.networks import ALL_ACTIVATIONS

# Inflection points of the slopes of tanh and sigmoid (where other tools' lines are wrong), turns, kinks, and places far out.
PLACES = (-30.0, -8.0, -3.0, -2.3993572805154677, -1.3169578969248166, -0.6584789484624083, 0.0, 0.25, 0.6584789484624083,
          1.0, 1.3169578969248166, 1.4142135623730951, 2.0, 5.0, 700.0)  # fmt: skip
WIDTHS = (0.0, 1e-13, 1e-6, 0.01, 0.3, 1.0, 3.0, 20.0)


@pytest.mark.parametrize("kind", ALL_ACTIVATIONS)
def test_lines_hold_on_the_whole_interval(kind: str) -> None:
    code = ACTIVATIONS[kind].code
    for parameters in PARAMETERS.get(kind, [()]):
        lower = np.array([place - share * width for place in PLACES for width in WIDTHS for share in (0.0, 0.5, 1.0)])
        upper = np.array(
            [place + (1.0 - share) * width for place in PLACES for width in WIDTHS for share in (0.0, 0.5, 1.0)]
        )
        rows = packed(parameters, lower.size)
        p, r, d, lam, mu, nu = parallel_lines(code, lower, upper, rows, slope_range(code, lower, upper, rows))
        arguments = [*parameters, 0.0, 0.0][:2]
        for i in range(lower.size):
            for t in np.linspace(0.0, 1.0, 9):
                z = min(max(lower[i] + t * (upper[i] - lower[i]), lower[i]), upper[i])
                x = to_mp(z)
                off = exact.slope(kind, x, *arguments) - (to_mp(p[i]) * x + to_mp(r[i]))
                assert abs(off) <= to_mp(d[i]), (kind, parameters, lower[i], upper[i], z)
                off = exact.value(kind, x, *arguments) - (to_mp(lam[i]) * x + to_mp(mu[i]))
                assert abs(off) <= to_mp(nu[i]), (kind, parameters, lower[i], upper[i], z)


@pytest.mark.parametrize("kind", ["tanh", "sigmoid", "arctan", "softplus", "silu", "gelu", "sin", "erf"])
def test_slopes_are_known_to_second_order(kind: str) -> None:
    """Halving a narrow interval divides what the lines leave open by about four, and the slope range by two."""
    code = ACTIVATIONS[kind].code
    width = np.array([0.02, 0.01])
    lower, upper = 0.37 - width, 0.37 + width
    rows = packed((), 2)
    _, _, d, _, _, nu = parallel_lines(code, lower, upper, rows, slope_range(code, lower, upper, rows))
    assert 3.5 < d[0] / d[1] < 4.5
    assert 3.5 < nu[0] / nu[1] < 4.5


@pytest.mark.parametrize("kind", ALL_ACTIVATIONS)
def test_the_third_derivative_is_bounded(kind: str) -> None:
    """What the cells rest on: the lines' error on one narrow cell is no smaller than the derivative's own bend there."""
    code = ACTIVATIONS[kind].code
    for parameters in PARAMETERS.get(kind, [()]):
        arguments = [*parameters, 0.0, 0.0][:2]
        step = MP.mpf("1e-12")
        for x in np.linspace(-6.0, 6.0, 241) + 1e-3:
            a, b, c = (exact.slope(kind, to_mp(x) + k * step, *arguments) for k in (-1, 0, 1))
            lower, upper = np.array([x - 0.05]), np.array([x + 0.05])
            rows = packed(parameters)
            _, _, d, *_ = parallel_lines(code, lower, upper, rows, slope_range(code, lower, upper, rows))
            # On an interval of half width w, any line leaves at least |s'''| w^2 / 4 less what it varies there.
            third = abs(a - 2 * b + c) / step**2
            assert third < MP.mpf("0.02") or to_mp(d[0]) >= third * MP.mpf("0.0005")
