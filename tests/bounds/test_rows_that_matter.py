"""CROWN rows are pulled only for neurons whose line depends on them."""

from __future__ import annotations

import numpy as np
import pytest

from distverify.bounds.enclosure import Enclosure, enclose
from distverify.bounds.layers.crown import Crown
from distverify.bounds.reduced import Affine, Pair, Reduced
from distverify.network.graph import Network
from distverify.region import Ball
from tests.networks import build_chain

NETWORKS = {
    kinds: build_chain([6, 20, 20, 3], list(kinds), np.random.default_rng(4))
    for kinds in (("relu", "relu"), ("leaky_relu", "clip"), ("tanh", "tanh"), ("tanh", "relu"))
}


class Counting(Crown):
    """Notes how many rows it is asked for, node after node."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def rows(self, reduced: Reduced, affine: Affine, **how: bool) -> Pair:
        self.counts.append(affine.constant.size)
        return super().rows(reduced, affine, **how)


def counted(network: Network, eps: float) -> tuple[list[int], Enclosure]:
    layers = Counting()
    return layers.counts, enclose(network, Ball(np.full(6, 0.3), eps), layers)


@pytest.fixture
def no_small_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distverify.bounds.enclosure.SMALL_LAYER", 0)


def test_small_layers_have_all_rows() -> None:
    """Settled neurons with intervals alone would make later intervals worse, by a factor of 4 on a network of 50 neurons a layer."""
    assert counted(NETWORKS["relu", "relu"], 1e-7)[0] == [20, 20, 3]


@pytest.mark.usefixtures("no_small_layers")
@pytest.mark.parametrize("kinds", [("relu", "relu"), ("leaky_relu", "clip")])
def test_settled_neurons_get_no_rows(kinds: tuple[str, str]) -> None:
    counts, _ = counted(NETWORKS[kinds], 1e-7)
    assert counts == [3], "nothing is open in so small a ball: the outputs alone have rows"
    counts, enclosure = counted(NETWORKS[kinds], 0.05)
    opened = [int((glo != ghi).sum()) for glo, ghi in enclosure.slopes.values()]
    # Over a box the first layer's intervals are its rows.
    assert opened[0] > 0
    for rows, still_open in zip(counts, opened[1:], strict=False):
        assert still_open <= rows < 20


@pytest.mark.usefixtures("no_small_layers")
def test_curved_activations_need_all_rows() -> None:
    assert counted(NETWORKS["tanh", "tanh"], 1e-7)[0] == [20, 20, 3]
    assert counted(NETWORKS["tanh", "relu"], 1e-7)[0] == [20, 3]
