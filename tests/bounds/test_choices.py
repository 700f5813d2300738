"""Lines that rows choose from: all of them are sound, also between two and after rounding; and what an ascent chooses is tighter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distverify.bounds import crown
from distverify.bounds.enclosure import enclose
from distverify.bounds.fans import Fan
from distverify.kernels.relaxations import lines
from distverify.kernels.rounding import SINGLE, SOUND
from distverify.network.graph import Network
from distverify.region import Ball
from tests import exact
from tests.exact import MP, ExactNetwork, to_mp
from tests.kernels.test_activation_truth import CODES, EVERY_ACTIVATION, PARAMETERS, exists, packed, probes
from tests.networks import ALL_ACTIVATIONS, FEW, balls, build_chain, build_residual, points_in, violations

SPANS = [(-1.5, 2.0), (-6.0, 0.7), (0.25, 3.0), (-0.9, -0.1), (-3.0, 3.0)]


@pytest.mark.parametrize("kind", EVERY_ACTIVATION)
def test_every_line_of_a_fan_is_sound(kind: str) -> None:
    rng = np.random.default_rng(0)
    for parameters in PARAMETERS.get(kind, [()])[:4]:
        p0, p1 = (*parameters, 0.0, 0.0)[:2]
        for low, high in SPANS:
            if not (exists(kind, low, p0) and exists(kind, high, p0)):
                continue
            fan = Fan.of(CODES[kind], np.array([low]), np.array([high]), packed(parameters))
            places = np.concatenate([[0.0, 0.5, 1.0, math.nan, -3.0, 7.0], rng.random(6)]).astype(np.float32)
            su, cu, sl, cl = fan.at(places[:, None])
            for x in probes(low, high, [])[:24]:
                if not exists(kind, x, p0):
                    continue
                truth, z = exact.value(kind, to_mp(x), p0, p1), to_mp(x)
                for k in range(places.size):
                    above = MP.mpf(su[k, 0]) * MP.mpf(x) + MP.mpf(cu[k, 0])
                    below = MP.mpf(sl[k, 0]) * MP.mpf(x) + MP.mpf(cl[k, 0])
                    assert below <= _mp(truth) <= above, (kind, parameters, low, high, x, places[k], z)


def _mp(number):  # type: ignore[no-untyped-def]
    return number if isinstance(number, MP.mpf) else MP.mpf(number.numerator) / MP.mpf(number.denominator)


@pytest.mark.parametrize("kind", ["tanh", "sigmoid", "softplus", "gelu", "relu"])
def test_fans_of_curves_have_tangents_on_either_side_of_the_usual_line(kind: str) -> None:
    fan = Fan.of(CODES[kind], np.array([-2.0]), np.array([1.0]), packed(()))
    su, _, sl, _ = (float(side[0]) for side in lines(CODES[kind], np.array([-2.0]), np.array([1.0]), packed(())))
    below, _, above, _ = fan.lines
    assert fan.opens
    assert below.min() - 1e-12 <= sl <= below.max() + 1e-12
    assert above.min() - 1e-12 <= su <= above.max() + 1e-12
    flat = Fan.of(CODES["relu"], np.array([0.5]), np.array([1.0]), packed(()))
    assert not flat.opens


@FEW
@given(st.data())
def test_any_places_of_any_row_are_sound(data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    kinds = data.draw(st.lists(st.sampled_from(ALL_ACTIVATIONS), min_size=2, max_size=2))
    network = (
        build_residual(4, kinds, rng, final_activation=False)
        if seed % 4 == 0
        else build_chain((4, 6, 5, 3), kinds, rng)
    )
    region = data.draw(balls(network.input_size))
    rounding = data.draw(st.sampled_from([SOUND, SINGLE]))
    enclosure = enclose(network, region, rounding=rounding, fold=data.draw(st.sampled_from([None, True, False])))
    reduced, rows = enclosure.reduced, np.eye(network.output_size)
    affine = crown.combine(reduced, rows)
    chosen = {
        index: group.fan.at(rng.random((2 * len(rows), group.size)).astype(np.float32))
        for index, group in enumerate(reduced.groups)
        if index
    }
    lower, upper = crown.affine_bounds(reduced, affine, chosen)
    truth = ExactNetwork(network)
    for point in points_in(region, 8, rng):
        assert not violations(lower, truth(point), upper)


@pytest.mark.parametrize("kinds", [("tanh", "sigmoid"), ("softplus", "gelu"), ("clip", "relu"), ("leaky_relu", "elu")])
@pytest.mark.parametrize("norm", [math.inf, 2.0, 1.0])
def test_what_is_chosen_is_tighter_and_holds(kinds: tuple[str, str], norm: float) -> None:
    rng = np.random.default_rng(4)
    network = build_chain((5, 9, 8, 3), kinds, rng)
    clip = (-0.2, 1.1) if norm != math.inf else None
    region = Ball(rng.uniform(0, 1, 5), 0.6 if norm == math.inf else 1.0, norm, clip)
    plain, better = (enclose(network, region, layers) for layers in ("crown", "alpha"))
    rows = np.eye(3)
    width, known = (float((high - low).sum()) for low, high in (better.row_bounds(rows), plain.row_bounds(rows)))
    assert width < 0.995 * known
    assert (better.row_minima(rows) == better.row_bounds(rows)[0]).all() or math.isclose(
        float(better.row_minima(rows).sum()), float(better.row_bounds(rows)[0].sum()), rel_tol=0.02
    )
    truth = ExactNetwork(network)
    for point in points_in(region, 20, rng):
        values = truth.values(point)
        assert not violations(better.lower, values, better.upper)
        low, high = better.row_bounds(rows)
        assert not violations(low, values[network.output], high)


def test_slopes_of_huge_networks_stay_sound() -> None:
    """What overflows single precision is no choice: bounds are CROWN's then."""
    rng = np.random.default_rng(0)
    layers = [(rng.standard_normal((6, 3)) * 1e30, np.zeros(6)), (rng.standard_normal((5, 6)) * 1e30, np.zeros(5)),
              (rng.standard_normal((2, 5)), np.zeros(2))]  # fmt: skip
    network = Network.from_layers(layers)
    region = Ball(np.zeros(3), 0.5)
    for rounding in (SOUND, SINGLE):
        plain, chosen = (
            enclose(network, region, layers, rounding).row_bounds(np.eye(2)) for layers in ("crown", "alpha")
        )
        assert (chosen[0] >= plain[0]).all()
        assert (chosen[1] <= plain[1]).all()
