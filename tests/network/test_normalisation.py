"""The network of raw inputs, and the description of networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distverify.errors import SettingsError
from distverify.network.describe import describe
from distverify.network.graph import Network, NetworkBuilder
from distverify.network.linear.dense import Dense
from distverify.network.linear.diagonal import Diagonal
from distverify.network.normalisation import apply_normalisation

RNG = np.random.default_rng(5)


def image_network(shape: tuple[int, ...] = (3, 2, 2)) -> Network:
    builder = NetworkBuilder(shape)
    size = int(np.prod(shape))
    a = builder.linear("first", [(0, Dense(RNG.normal(size=(5, size))))], RNG.normal(size=5))
    b = builder.activation("relu", a, "relu")
    return builder.build(builder.linear("last", [(b, Dense(RNG.normal(size=(2, 5))))]))


PER_CHANNEL = np.array([0.1, -0.2, 0.3])
PER_FEATURE = RNG.normal(size=12)


@pytest.mark.parametrize(
    ("shape", "layout", "mean", "std"),
    [
        ((3, 2, 2), "chw", 0.5, 0.25),
        ((3, 2, 2), "chw", PER_CHANNEL, 0.25),
        ((3, 2, 2), "chw", PER_CHANNEL, PER_CHANNEL**2),
        ((2, 2, 3), "hwc", PER_CHANNEL, PER_CHANNEL**2),
        ((12,), "chw", PER_FEATURE, PER_FEATURE**2),
        ((3, 2, 2), "chw", PER_FEATURE, [0.5]),
    ],
)
def test_equals_the_network_of_normalised_inputs(shape: tuple[int, ...], layout: Any, mean: Any, std: Any) -> None:
    network = image_network(shape)
    raw = apply_normalisation(network, mean, std, layout=layout)
    x = RNG.normal(size=(7, *shape))

    def spread(values: Any) -> np.ndarray:
        array = np.asarray(values, dtype=float)
        if array.size == 12:
            return array.reshape(shape)
        return array[:, None, None] if layout == "chw" and array.size == 3 else array

    assert raw(x) == pytest.approx(network((x - spread(mean)) / spread(std)), rel=1e-11, abs=1e-11)
    assert [n.name for n in raw.nodes] == ["input", "first", "relu", "last"]
    assert raw.input_shape == shape


def test_an_activation_at_the_input_gets_a_scaling_before_it() -> None:
    builder = NetworkBuilder((3,))
    network = builder.build(builder.activation("tanh", 0, "tanh"))
    raw = apply_normalisation(network, 1.0, 2.0)
    assert [n.name for n in raw.nodes] == ["input", "tanh (input)", "tanh"]
    assert raw([[1.0, 3.0, 5.0]])[0] == pytest.approx(np.tanh([0.0, 1.0, 2.0]))


def test_a_skip_from_the_input_is_normalised_too() -> None:
    builder = NetworkBuilder((3,))
    a = builder.activation("tanh", builder.linear("a", [(0, Dense(RNG.normal(size=(3, 3))))]), "tanh")
    network = builder.build(builder.linear("sum", [builder.skip(a), builder.skip(0)]))
    x = RNG.normal(size=(5, 3))
    assert apply_normalisation(network, 0.5, 0.1)(x) == pytest.approx(network((x - 0.5) / 0.1))


def test_the_original_is_left_alone() -> None:
    network = image_network()
    before = network.digest
    apply_normalisation(network, 0.5, 0.25)
    assert network.digest == before


@pytest.mark.parametrize(
    ("mean", "std", "layout", "message"),
    [
        (0.0, 0.0, "chw", "std: got 0; every value must be positive"),
        (0.0, [1.0, -1.0, 1.0], "chw", "std: got -1; every value must be positive"),
        (0.0, 1e-320, "chw", "std: got .* too small or large to divide by"),
        (np.nan, 1.0, "chw", "mean: got nan; every value must be finite"),
        (0.0, np.inf, "chw", "std: got inf; every value must be finite"),
        ("a", 1.0, "chw", "mean: got 'a'; give a number"),
        (
            [0.1, 0.2],
            1.0,
            "chw",
            r"mean: got 2 values; the network's input has shape \(3, 2, 2\) \(chw\), so give 1",
        ),
        ([0.1, 0.2, 0.3], 1.0, "hwc", r"mean: got 3 values; .* \(hwc\), so give 1 value, 2 or 12"),
        ([0.1, 0.2, 0.3], 1.0, "whc", "layout: got 'whc'; choose chw or hwc"),
    ],
)
def test_refused(mean: Any, std: Any, layout: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        apply_normalisation(image_network(), mean, std, layout=layout)


def test_channels_of_an_input_without_any() -> None:
    with pytest.raises(SettingsError, match=r"shape \(12,\) \(no channels\), so give 1 value or 12"):
        apply_normalisation(image_network((12,)), PER_CHANNEL, 1.0)


def test_describe() -> None:
    builder = NetworkBuilder((3,))
    a = builder.linear("fc", [(0, Dense(RNG.normal(size=(3, 3))))])
    b = builder.activation("act", a, "leaky_relu", {"slope": 0.2})
    c = builder.linear("sum", [(b, Diagonal(np.ones(3))), builder.skip(0)])
    d = builder.activation("own", c, "leaky_relu", {"slope": [0.1, 0.2, 0.3]})
    assert describe(builder.build(builder.activation("out", d, "relu"))) == [
        ("input", "input", 3, "", 0),
        ("fc", "dense", 3, "", 12),
        ("act", "activation", 3, "leaky_relu(slope=0.2)", 0),
        ("sum", "diagonal + identity", 3, "", 6),
        ("own", "activation", 3, "leaky_relu(slope=0.1..0.3)", 3),
        ("out (input)", "identity", 3, "", 3),
        ("out", "activation", 3, "relu", 0),
    ]
