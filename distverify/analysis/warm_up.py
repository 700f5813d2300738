"""Compile or load every kernel before the first sample is timed."""

from __future__ import annotations

import numpy as np

from distverify.analysis.sample import analyse_sample
from distverify.network.graph import Network
from distverify.settings import Settings
from distverify.work import Sample


def warm_up() -> None:
    """Run a tiny network through every analysis; kernels are shared by all networks, so this is once per process."""
    rng = np.random.default_rng(0)
    layers = [(rng.standard_normal((3, 2)), np.zeros(3)), (rng.standard_normal((2, 3)), np.zeros(2))]
    network = Network.from_layers(layers, "relu")
    for norm in (np.inf, 2.0, 1.0):
        settings = Settings(norm=norm, eps=(0.1,), compute=("jacobian", "lipschitz", "radius"), clip=(-1.0, 1.0))
        analyse_sample(network, Sample(np.full(2, 0.1)), settings)
