"""Small networks of the reference implementation: never looser, and equal where the layer bounds are equal."""

from __future__ import annotations

import numpy as np
import pytest

from distverify.bounds.enclosure import enclose
from distverify.bounds.methods import bound_rows
from distverify.network.graph import Network
from distverify.region import Ball
from distverify.settings import METHODS
from tests.oracle.files import NORM_OF, Figures, figures, group, hidden_bounds, needs_shared, slack

pytestmark = needs_shared

# Smooth activations have no published lines to agree on, and the reference's are not always valid: it may look tighter.
SMOOTH_LOOSER = 0.01
PIECEWISE = ("relu", "leaky")
ACTIVATIONS = ("relu", "leaky", "tanh", "sigmoid", "arctan")
BACKWARD = "dir-1_shift1"


def network_of(file: Figures, net: str, act: str) -> Network:
    layers = []
    while f"{net}/W{len(layers)}" in file:
        layers.append((file[f"{net}/W{len(layers)}"], file[f"{net}/b{len(layers)}"]))
    if act == "leaky":
        return Network.from_layers(layers, "leaky_relu", slope=float(np.float32(0.1)))
    return Network.from_layers(layers, act)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_against_the_reference(act: str) -> None:
    name = f"recurjac_small_{act}.npz"
    file = figures(name)
    prefixes = sorted(k.removesuffix("/J_l") for k in file if k.endswith(f"{BACKWARD}/J_l"))
    assert len(prefixes) == 60
    same_layers = 0
    for prefix in prefixes:
        net, point, norm, eps, _ = prefix.split("/")
        network, figure = network_of(file, net, act), group(name, prefix)
        region = Ball(file[f"{net}/{point}"], float(eps.removeprefix("eps")), NORM_OF[norm])
        enclosure = enclose(network, region)
        rows = np.eye(network.output_size)
        bounds = bound_rows(enclosure, rows, "recurjac")
        loose = slack(np.maximum(np.abs(figure["J_l"]), np.abs(figure["J_u"])))
        if act in PIECEWISE:
            assert (bounds.lower >= figure["J_l"] - loose).all(), prefix
            assert (bounds.upper <= figure["J_u"] + loose).all(), prefix
        else:
            width = (figure["J_u"] - figure["J_l"]) * (1 + SMOOTH_LOOSER) + 2 * loose
            assert (bounds.upper - bounds.lower <= width).all(), prefix
        equal = True
        for i, (low, high) in enumerate(hidden_bounds(network, enclosure.lower, enclosure.upper)):
            # Of a neuron whose sign is settled the value is of no consequence.
            open_ = (low < 0) & (high > 0)
            equal &= bool((open_ == (figure[f"LB{i}"] < 0) & (figure[f"UB{i}"] > 0)).all())
            off = np.maximum(np.abs(low - figure[f"LB{i}"]) - slack(low), np.abs(high - figure[f"UB{i}"]) - slack(high))
            equal &= bool((off[open_] <= 0).all())
        if equal and act in PIECEWISE:
            same_layers += 1
            np.testing.assert_allclose(bounds.lower, figure["J_l"], rtol=0, atol=10 * loose, err_msg=prefix)
            np.testing.assert_allclose(bounds.upper, figure["J_u"], rtol=0, atol=10 * loose, err_msg=prefix)
        sampled = group(name, prefix.rsplit("/", 1)[0])
        for method in METHODS:
            b = bounds if method == "recurjac" else bound_rows(enclosure, rows, method)
            assert (b.lower <= sampled["sampled_J_min"] + loose).all(), (prefix, method)
            assert (b.upper >= sampled["sampled_J_max"] - loose).all(), (prefix, method)
    if act in PIECEWISE:
        assert same_layers >= 20
