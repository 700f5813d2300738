"""Compile or load every kernel before the first sample is timed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pkgutil import iter_modules

import numpy as np

from distverify import kernels
from distverify.analysis.sample import analyse_sample
from distverify.bounds.windows import has_windows
from distverify.kernels.jit import compile_kernels
from distverify.network.graph import Network
from distverify.network.nodes import LinearNode
from distverify.settings import Settings
from distverify.work import Sample


def warm_up_for(network: Network, settings: Settings) -> Callable[[], None]:
    """The warm-up of a run: with kernels on demand where it searches or meets convolutions."""
    on_demand = settings.nodes > 0 or any(
        has_windows(t.operator) for n in network.nodes if isinstance(n, LinearNode) for t in n.terms
    )
    return partial(warm_up, on_demand)


def warm_up(on_demand: bool = False) -> None:
    """Run a tiny network through every analysis; kernels are shared by all networks, so this is once per process.

    With ``on_demand`` also the kernels that are compiled at their first call.
    """
    if on_demand:
        for module in iter_modules(kernels.__path__):
            import_module(f"{kernels.__name__}.{module.name}")
    compile_kernels(on_demand)
    rng = np.random.default_rng(0)
    layers = [(rng.standard_normal((3, 2)), np.zeros(3)), (rng.standard_normal((2, 3)), np.zeros(2))]
    network = Network.from_layers(layers, "relu")
    for norm in (np.inf, 2.0, 1.0):
        settings = Settings(norm=norm, eps=(0.1,), compute=("jacobian", "lipschitz", "radius"), clip=(-1.0, 1.0))
        analyse_sample(network, Sample(np.full(2, 0.1)), settings)
