"""`coupled` on networks with curved activations, against the widths that auto_LiRPA reaches there and sampled gradients.

Widths to reach are auto_LiRPA 0.7.1's (float32, whose lines are not valid everywhere); sampled gradients are the truth.
"""

from __future__ import annotations

import numpy as np
import pytest

from distverify.bounds.enclosure import enclose
from distverify.bounds.gradient import jacobian_at
from distverify.bounds.jacobian import jacobian_bounds
from distverify.bounds.methods import bound_rows
from distverify.network.graph import Network
from distverify.region import Ball
from tests.oracle.files import Figures, figures, needs_shared

KINDS = {"digits_tanh": "tanh", "digits_sigmoid": "sigmoid", "he4_tanh": "tanh", "xavier4_sigmoid": "sigmoid"}


def network(stored: Figures, kind: str) -> Network:
    weights = sorted(name for name in stored if name.startswith("W") and "/" not in name)
    layers = [(stored[w].astype(np.float64), stored["b" + w[1:]].astype(np.float64)) for w in weights]
    return Network.from_layers(layers, activation=kind)


@needs_shared
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("image", [0, 1, 2])
@pytest.mark.parametrize("eps", [0.002, 0.01, 0.05])
def test_narrower_than_the_peer_and_never_wider_than_linear(name: str, image: int, eps: float) -> None:
    stored = figures(f"lirpa_smooth_{name}.npz")
    net, x = network(stored, KINDS[name]), stored["x"][image].reshape(-1).astype(np.float64)
    enclosure = enclose(net, Ball(x, eps))
    rows = np.eye(net.output_size)
    both = bound_rows(enclosure, rows, "coupled", "both")
    backward = bound_rows(enclosure, rows, "coupled", "backward")
    linear = bound_rows(enclosure, rows, "linear", "both")
    prefix = f"img{image}/Linf/eps{eps:g}"
    if f"{prefix}/J_u" in stored:
        peer = (stored[f"{prefix}/J_u"] - stored[f"{prefix}/J_l"]).mean()
        assert (both.upper - both.lower).mean() < peer
        assert (backward.upper - backward.lower).mean() < 1.002 * peer
    assert (both.lower >= linear.lower).all()
    assert (both.upper <= linear.upper).all()
    rng = np.random.default_rng(image)
    points = x + eps * np.concatenate([rng.uniform(-1, 1, (150, x.size)), rng.choice([-1.0, 1.0], (150, x.size))])
    gradients = jacobian_at(net, points)
    assert (gradients >= both.lower).all()
    assert (gradients <= both.upper).all()


@needs_shared
def test_single_precision_is_a_little_wider() -> None:
    stored = figures("lirpa_smooth_digits_tanh.npz")
    net, x = network(stored, "tanh"), stored["x"][0].reshape(-1).astype(np.float64)
    double, single = (
        jacobian_bounds(net, Ball(x, 0.01), method="coupled", precision=p) for p in ("float64", "float32")
    )
    assert (single.lower <= double.upper).all()
    assert (single.upper >= double.lower).all()
    ratio = (single.upper - single.lower).mean() / (double.upper - double.lower).mean()
    assert 1.0 <= ratio < 1.01
