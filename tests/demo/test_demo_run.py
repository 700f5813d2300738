from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from distverify.demo import DATA, MODEL
from distverify.results.reader import open_result

CHECKOUT = Path(__file__).resolve().parents[2]


def true_gradients() -> NDArray[np.float64]:
    """Jacobian of the shipped network at every shipped image, float64 [200, 10, 64], by the chain rule in NumPy."""
    arrays = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in onnx.load(MODEL).graph.initializer}
    with np.load(DATA, allow_pickle=False) as data:
        values = data["x"].astype(np.float64)
    gradients = np.broadcast_to(np.eye(64), (len(values), 64, 64))
    for layer in range(3):
        values = values @ arrays[f"W{layer}"].T + arrays[f"b{layer}"]
        gradients = arrays[f"W{layer}"] @ gradients
        if layer < 2:
            gradients = gradients * (values > 0)[:, :, None]
            values = np.maximum(values, 0)
    return gradients


@pytest.mark.slow
@pytest.mark.ray
def test_demo_certifies_the_shipped_digits_within_a_minute(tmp_path: Path) -> None:
    environment = dict(os.environ) | {"PYTHONPATH": str(CHECKOUT)}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "distverify", "demo"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    seconds = time.perf_counter() - start
    assert done.returncode == 0, done.stderr
    assert seconds < 60
    assert sorted(path.name for path in tmp_path.iterdir()) == ["distverify-demo.h5", "distverify-demo.html"]
    assert "Jacobian maps" in (tmp_path / "distverify-demo.html").read_text(encoding="utf-8")
    assert "200/200 samples" in done.stderr
    for expected in ("Clean accuracy", "Certified", "Next steps:", "distverify show distverify-demo.h5"):
        assert expected in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    result = open_result(tmp_path / "distverify-demo.h5")
    assert result.complete
    summary = result.summary()
    assert summary.failures == ()
    assert summary.accuracy is not None
    assert summary.accuracy > 0.93
    assert summary.certified[0.02] > 170, "the network was trained to have large radii"
    lower, upper = result["jacobian_lower"], result["jacobian_upper"]
    assert lower.shape == (200, 2, 10, 64)
    gradients = true_gradients()
    assert (lower <= gradients[:, None]).all()
    assert (gradients[:, None] <= upper).all()
    assert np.isfinite(result["lipschitz"]).all()
