"""Nodes that would be for nothing are refused, and told of where only the outputs have nothing of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import distverify as dv
from distverify.analysis.outputs import without_search
from distverify.cli.main import main
from distverify.errors import SettingsError
from distverify.settings import Settings

FEW = tuple(float(k < 10) for k in range(12))


def network(inputs: int = 12, activation: str = "relu") -> dv.Network:
    generator = np.random.default_rng(0)
    layers = [(generator.normal(size=(5, inputs)), np.zeros(5)), (generator.normal(size=(2, 5)), np.zeros(2))]
    return dv.Network.from_layers(layers, activation=activation)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"eps": (0.1,)}, "over balls, 12 inputs move, and boxes are halved where at most 10 do"),
        ({"eps": (0.1,), "norm": 2, "feature_eps": FEW}, "over balls, balls of the norm 2 are no boxes"),
        ({"domain": (0.0, 1.0)}, "over the domain, 12 inputs move, and boxes are halved where at most 10 do"),
        ({"eps": (0.1,), "domain": (0.0, 1.0)}, "over balls, 12 inputs move.*; over the domain, 12 inputs move"),
    ],
)
def test_nodes_for_nothing_are_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(
        SettingsError, match=f"nodes: got 9, which only outputs would use, and nothing is searched .*: {why}"
    ):
        without_search(network(), Settings(compute=("outputs",), nodes=9, **changes))
    (told,) = without_search(network(), Settings(compute=("outputs", "jacobian"), nodes=9, **changes))
    assert told.startswith("nodes: bounds of outputs are those of one pass: over ")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"eps": (0.1,), "feature_eps": FEW}, False),
        ({"domain": ((0.0,) * 12, (1.0,) * 10 + (0.0,) * 2)}, False),
        ({"eps": (0.1,), "perturbation": "brightness"}, False),
        ({"eps": (0.1,), "feature_eps": FEW, "domain": (0.0, 1.0)}, True),  # one of both places is searched
    ],
)
def test_nodes_that_are_used_are_not(changes: dict[str, Any], told: bool) -> None:
    assert len(without_search(network(), Settings(compute=("outputs",), nodes=9, **changes))) == told


def test_a_run_tells_and_keeps_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    x = np.random.default_rng(1).uniform(size=(2, 12))
    given: dict[str, Any] = {"eps": 0.01, "nodes": 2, "executor": "serial", "output": tmp_path / "out.h5"}
    with pytest.raises(
        SettingsError, match=r"nodes: got 2.*; leave nodes out, or let few inputs move \(feature_eps, domain\)"
    ):
        dv.certify(network(), x, compute={"outputs"}, **given)
    assert not (tmp_path / "out.h5").exists()
    dv.certify(network(), x, compute={"outputs", "lipschitz"}, **given)
    said = "nodes: bounds of outputs are those of one pass: over balls, 12 inputs move"
    assert said in caplog.text
    shown = CliRunner().invoke(main, ["show", str(tmp_path / "out.h5")]).output
    assert "bounds of outputs are those of one pass" in " ".join(shown.split())
