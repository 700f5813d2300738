"""Samples whose searches take long: the same bits by one process, by workers that share them, and after kills."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import distverify as dv
from distverify import api
from distverify.network.onnx.importer import load_onnx
from tests.network import onnx_models
from tests.same_bits import differences

SEARCH = {"eps": [0.3], "compute": ("radius", "attack", "verified"), "nodes": 400}
# Another process certifies in pieces, whose subtrees are kept from the first one on.
RUN = """
import sys
import distverify as dv
from distverify.results.journal import journal
journal.KEEP_SECONDS = 0.0
dv.certify(sys.argv[1], sys.argv[2], output=sys.argv[3], executor="serial", pieces_per_sample=8, eps=[0.3],
           compute=("radius", "attack", "verified"), nodes=400)
"""


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A network and two samples of it, with the results of one process."""
    folder = tmp_path_factory.mktemp("hard")
    rng = np.random.default_rng(5)
    constants, nodes, name = {}, [], "x"
    for i, (n, m) in enumerate([(20, 24), (24, 24), (24, 4)]):
        constants |= {f"w{i}": 2.0 * rng.normal(size=(n, m)) / np.sqrt(n), f"b{i}": 0.4 * rng.normal(size=m)}
        nodes.append(onnx_models.node("Gemm", f"{name} w{i} b{i}", f"h{i}"))
        name = f"h{i}"
        if i < 2:
            nodes.append(onnx_models.node("Relu", name, f"a{i}"))
            name = f"a{i}"
    model = onnx_models.save(onnx_models.model(nodes, constants, shape=(1, 20), output=name), folder)
    x = rng.normal(size=(2, 20))
    y = np.argmax(load_onnx(model)(x), axis=1)
    np.savez(folder / "data.npz", x=x, y=y)
    dv.certify(model, folder / "data.npz", output=folder / "truth.h5", executor="serial", **SEARCH)
    return model, folder / "data.npz", folder / "truth.h5"


def test_in_pieces_the_bits_are_the_same(case, tmp_path):
    model, data, truth = case
    dv.certify(model, data, output=tmp_path / "out.h5", executor="serial", pieces_per_sample=8, **SEARCH)
    assert not differences(str(truth), str(tmp_path / "out.h5"))


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_that_share_a_sample_find_the_same_bits(case, tmp_path, monkeypatch, workers):
    pytest.importorskip("ray")
    monkeypatch.setattr(api, "_PATIENCE", 0.0)
    model, data, truth = case
    pieces = []
    dv.certify(
        model, data, output=tmp_path / "out.h5", executor="ray", max_actors=workers,
        progress=lambda p: pieces.append(p.pieces), **SEARCH,
    )  # fmt: skip
    assert max(pieces) > 20
    assert not differences(str(truth), str(tmp_path / "out.h5"))


@pytest.mark.slow
def test_killed_twice_and_continued_the_bits_are_the_same(case, tmp_path):
    model, data, truth = case
    out = tmp_path / "out.h5"
    command = [sys.executable, "-c", RUN, str(model), str(data), str(out)]
    kept = 0
    for _ in range(2):
        process = subprocess.Popen(command)
        until = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < until:
            now = len(list((tmp_path / "out.h5.parts").glob("*.piece")))
            if now >= kept + 5:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        kept = len(list((tmp_path / "out.h5.parts").glob("*.piece")))
        assert kept
    subprocess.run(command, check=True, timeout=300)
    assert not differences(str(truth), str(out))
