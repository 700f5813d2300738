"""Audits attack the margins that are stored where verdicts are open."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

import distverify as dv
from distverify.attacks.open_margins import least_margins
from distverify.settings import Settings
from distverify.work import Sample
from tests.networks import build_chain

# f = x: the margin of class 0 over class 1 is x0 - x1.
PLAIN = dv.Network.from_layers([(np.eye(2), np.zeros(2))])


@pytest.mark.parametrize(("norm", "least"), [(np.inf, -0.4), (2.0, 0.2 - 0.3 * np.sqrt(2.0)), (1.0, -0.1)])
def test_the_smallest_margin_of_a_linear_network_is_found(norm: float, least: float) -> None:
    settings = Settings(eps=(0.3, 0.4), norm=norm, compute=("verified",))
    found = least_margins(PLAIN, Sample(np.array([0.6, 0.4]), 0, 0), settings, np.array([-9.0, np.nan]), 8, 0)
    assert found[0] == pytest.approx(least, abs=1e-8)
    assert np.isnan(found[1])


def test_a_margin_that_is_too_large_is_caught(tmp_path: Path) -> None:
    network = build_chain((4, 12, 10, 3), ("relu", "relu"), np.random.default_rng(2))
    x = np.random.default_rng(3).uniform(0.2, 0.8, (3, 4))
    y = network(x).argmax(axis=1)
    path = tmp_path / "out.h5"
    dv.certify(network, x, y, eps=(0.01, 0.5), compute={"verified"}, output=path, executor="serial")
    stored = dv.open_result(path)["verified_margin"]
    told = dv.audit(path, network, x, y, executor="serial", points=16)
    (finding,) = (f for f in told.findings if f.variable == "verified_margin")
    assert told.violations == 0
    assert finding.checked == (~np.isnan(stored)).sum() > 0
    false = Path(shutil.copy(path, tmp_path / "false.h5"))
    with h5py.File(false, "r+") as file:
        file["verified_margin"][...] = np.where(np.isnan(stored), np.nan, 5.0)
    told = dv.audit(false, network, x, y, executor="serial", points=16)
    assert {f.variable for f in told.findings if f.broken} == {"verified_margin"}
    (finding,) = (f for f in told.findings if f.broken)
    assert (finding.worst[0].bound, finding.worst[0].place["eps"]) == (5.0, 1)
