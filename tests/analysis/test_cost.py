from __future__ import annotations

from itertools import pairwise

import numpy as np

from distverify.analysis.cost import sample_cost
from distverify.network.graph import Network
from distverify.settings import Settings


def network(*sizes):
    return Network.from_layers([(np.ones((n, m)), np.zeros(n)) for m, n in pairwise(sizes)], activation="relu")


def settings(**changes):
    return Settings(**({"eps": (0.1,), "compute": ("lipschitz",)} | changes))


def test_more_of_anything_costs_more():
    base = sample_cost(network(20, 40, 40, 10), settings())
    assert 0 < base.seconds < 0.1  # milliseconds: it is a small network
    for larger in (
        network(40, 40, 40, 10),
        network(20, 80, 40, 10),
        network(20, 40, 40, 40, 10),
        network(20, 40, 40, 15),
    ):
        assert sample_cost(larger, settings()).seconds > base.seconds
    twice = sample_cost(network(20, 40, 40, 10), settings(eps=(0.1, 0.2)))
    assert twice.seconds == 2 * base.seconds
    assert twice.stages == 2 * base.stages == 4
    searched = sample_cost(network(20, 40, 40, 10), settings(compute=("lipschitz", "radius")))
    assert searched.seconds > 10 * base.seconds


def test_pieces_are_rows_or_neurons_whichever_are_more():
    assert sample_cost(network(20, 160, 10), settings()).pieces == 10
    assert sample_cost(network(20, 40, 320), settings()).pieces == 20
    assert sample_cost(network(3, 4, 2), settings()).pieces == 1


def test_what_has_no_samples_of_its_own_is_not_cut():
    assert sample_cost(network(20, 160, 10), Settings(compute=("global",))).pieces == 1
