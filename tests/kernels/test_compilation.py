"""Kernels are compiled once per installation: not again for another depth, width, activation, dtype or read-only array."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import numpy as np
import pytest

import distverify as dv
import distverify.kernels
from distverify.analysis.sample import analyse_sample
from distverify.kernels.jit import compile_kernels
from distverify.network.graph import Network
from distverify.settings import Settings
from distverify.work import Sample
from tests.networks import ALL_ACTIVATIONS, SPECIAL_CASES

COUNT = """
from distverify.analysis.warm_up import warm_up
from distverify.kernels.jit import compile_kernels
warm_up(on_demand=True)
found = compile_kernels(on_demand=True)
print(sum(sum(d.stats.cache_misses.values()) for d in found), sum(sum(d.stats.cache_hits.values()) for d in found))
"""


def dispatchers() -> list[Any]:
    for module in iter_modules(distverify.kernels.__path__):
        import_module(f"distverify.kernels.{module.name}")
    return compile_kernels()


def network(widths: list[int], kind: str, seed: int) -> Network:
    rng = np.random.default_rng(seed)
    layers = [(rng.standard_normal((o, i)), rng.standard_normal(o)) for i, o in pairwise(widths)]
    return Network.from_layers(layers, kind)


@pytest.mark.slow
def test_nothing_is_compiled_after_the_warm_up() -> None:
    compiled = [len(d.signatures) for d in dispatchers()]
    assert len(compiled) > 10
    assert not any(d._can_compile for d in dispatchers()), "kernels have their signatures fixed when they are defined"
    for seed, kind in enumerate((*ALL_ACTIVATIONS, *SPECIAL_CASES)):
        for widths in ([3, 4, 2], [5, 6, 7, 8, 3]):
            net = network(widths, kind, seed)
            x = np.linspace(0.2, 0.7, widths[0])
            x.flags.writeable = False
            for norm in (np.inf, 2.0, 1.0):
                compute = ("jacobian", "lipschitz", "radius", "landscape")
                settings = Settings(norm=norm, eps=(0.01,), compute=compute, clip=(0.0, 1.0))
                assert np.isfinite(np.asarray(analyse_sample(net, Sample(x), settings)["lipschitz"])).all()
            dv.jacobian_bounds(net, dv.Ball(x.astype(np.float32), 0.1), precision="float32", direction="both")
    assert [len(d.signatures) for d in dispatchers()] == compiled


@pytest.mark.slow
def test_a_second_process_loads_every_kernel(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}

    def run() -> tuple[int, int]:
        done = subprocess.run(
            [sys.executable, "-c", COUNT], capture_output=True, text=True, env=environment, check=True
        )
        misses, hits = done.stdout.split()
        return int(misses), int(hits)

    assert run()[0] > 0
    misses, hits = run()
    assert misses == 0
    assert hits > 0


def test_activations_do_not_leak_from_one_network_to_the_next() -> None:
    first, second = network([3, 5, 2], "relu", 0), network([3, 5, 2], "tanh", 0)
    region = dv.Ball(np.full(3, 0.3), 0.1)
    before = dv.jacobian_bounds(first, region)
    dv.jacobian_bounds(second, region)
    after = dv.jacobian_bounds(first, region)
    np.testing.assert_array_equal(before.lower, after.lower)
    np.testing.assert_array_equal(before.upper, after.upper)


KEPT = """
from distverify.kernels import jit
import sys
sys.path.insert(0, sys.argv[1])
import callers
print(callers.doubled(1.0), sum(callers.doubled.deferred.made.stats.cache_hits.values()))
"""


def test_a_changed_helper_in_another_file_is_noticed(tmp_path: Path) -> None:
    """Numba stamps the file of the function only; what it calls is compiled into it."""
    kernels = tmp_path / "distverify" / "kernels"
    shutil.copytree(
        Path(distverify.kernels.__path__[0]).parent, kernels.parent, ignore=shutil.ignore_patterns("__pycache__")
    )
    (kernels / "helped.py").write_text(
        "from distverify.kernels.jit import helper\n\n@helper\ndef twice(x):\n    return 2.0 * x\n"
    )
    (tmp_path / "callers.py").write_text(
        "from distverify.kernels.helped import twice\nfrom distverify.kernels.jit import f8, kernel\n\n"
        "@kernel(f8(f8))\ndef doubled(x):\n    return twice(x)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def run() -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", KEPT, str(tmp_path)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        return done.stdout.split()

    assert run() == ["2.0", "0"]
    assert run() == ["2.0", "1"]
    helped = kernels / "helped.py"
    helped.write_text(helped.read_text().replace("2.0", "3.0"))
    assert run() == ["3.0", "0"]
