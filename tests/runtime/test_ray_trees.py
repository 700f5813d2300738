"""Trees and boxes of Lipschitz constants, signs and outputs by workers of a real Ray: the same bits as by this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import distverify as dv
from tests.networks import build_chain

pytest.importorskip("ray")


@pytest.mark.ray
@pytest.mark.slow
def test_trees_have_the_same_bits_by_ray(local_ray: str, tmp_path: Path) -> None:
    """Of samples in pieces, by trees over neurons and by boxes, and of a domain; with one start of Ray."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-0.3, 0.3, (1, 3))
    for kinds in (["relu", "relu"], ["tanh", "sigmoid"]):
        net = build_chain([3, 10, 8, 2], kinds, rng)
        options: dict = {
            "eps": [0.3], "compute": {"lipschitz", "jacobian", "monotone", "outputs"}, "nodes": 20, "domain": (-0.5, 0.5),
        }  # fmt: skip
        here = dv.certify(net, x, output=tmp_path / f"{kinds[0]}.serial.h5", executor="serial", **options)
        there = dv.certify(
            net,
            x,
            output=tmp_path / f"{kinds[0]}.ray.h5",
            executor="ray",
            address=local_ray,
            max_actors=2,
            pieces_per_sample=4,
            **options,
        )
        for name in here:
            if name != "seconds":
                np.testing.assert_array_equal(here[name], there[name], err_msg=f"{kinds[0]}: {name}")
