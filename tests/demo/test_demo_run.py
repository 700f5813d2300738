from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from distverify.results.reader import open_result

CHECKOUT = Path(__file__).resolve().parents[2]


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
    assert [path.name for path in tmp_path.iterdir()] == ["distverify-demo.h5"]
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
    assert (lower <= upper).all()
    assert (lower[:, 1] <= lower[:, 0]).mean() > 0.99, "a larger ball has wider bounds"
    assert np.isfinite(result["lipschitz"]).all()
