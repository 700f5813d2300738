"""Peak memory of large layers: columns pass in blocks, whatever their number."""

from __future__ import annotations

import resource
import subprocess
import sys

import numpy as np
import pytest

from distverify.bounds.chain import backward_chain
from distverify.bounds.columns import ColumnPush
from distverify.bounds.enclosure import enclose
from distverify.kernels.rounding import SOUND
from distverify.network.graph import Network
from distverify.region import Ball

LIMIT = 2e9
LARGE = """
import numpy as np
from tests.memory import peak_bytes
from distverify.bounds.enclosure import enclose
from distverify.bounds.methods import bound_rows
from distverify.network.graph import Network
from distverify.region import Ball

rng = np.random.default_rng(0)
widths = [3072, *[2048] * 10, 10]
network = Network.from_layers(
    [(rng.standard_normal((o, i)) * np.sqrt(2 / i), np.zeros(o)) for i, o in zip(widths, widths[1:])]
)
bounds = bound_rows(enclose(network, Ball(rng.random(3072), 1e-4)), np.eye(10), "linear")
assert np.isfinite(bounds.lower).all() and (bounds.lower <= bounds.upper).all()
print(peak_bytes())
"""


@pytest.mark.slow
def test_ten_layers_of_2048_neurons_in_two_gigabytes() -> None:
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, timeout=500, check=True)
    assert int(done.stdout) < LIMIT


def test_blocks_do_not_change_the_bounds_and_bound_the_memory() -> None:
    rng = np.random.default_rng(0)
    network = Network.from_layers(
        [(rng.standard_normal((300, 400)), np.zeros(300)), (rng.standard_normal((300, 300)) / 17, np.zeros(300)),
         (rng.standard_normal((5, 300)), np.zeros(5))], "tanh"
    )  # fmt: skip
    chain = backward_chain(enclose(network, Ball(rng.random(400), 1e-3)), np.eye(5))
    whole = ColumnPush(chain, SOUND, chord=True).bound()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    blocks = ColumnPush(chain, SOUND, chord=True, block_bytes=2**20).bound()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 16 * 2**20
    for left, right in zip(whole, blocks, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-12 * np.abs(left).max())
