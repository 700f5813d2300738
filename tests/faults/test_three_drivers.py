"""Three drivers at once, each with a part of the samples: merged, their results are those of one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import distverify as dv
from distverify.demo import DATA, MODEL

pytestmark = pytest.mark.slow
TOLD = ("--samples", "0:9", "--eps", "0.02", "--compute", "lipschitz,radius", "--executor", "serial", "-q")


def test_parts_that_run_side_by_side_make_the_whole(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "distverify", "certify", str(MODEL), str(DATA), *TOLD]
    parts = [tmp_path / f"part-{k}.h5" for k in (1, 2, 3)]
    drivers = [
        subprocess.Popen([*command, "--part", f"{k}/3", "-o", str(part)]) for k, part in enumerate(parts, start=1)
    ]
    assert [driver.wait(300) for driver in drivers] == [0, 0, 0]
    merged = dv.merge(parts, tmp_path / "merged.h5")
    whole = dv.certify(
        MODEL,
        DATA,
        samples="0:9",
        eps=0.02,
        compute={"lipschitz", "radius"},
        executor="serial",
        output=tmp_path / "whole.h5",
    )
    for name in ("sample", "status", "lipschitz", "radius", "logits"):
        np.testing.assert_array_equal(merged[name], whole[name])
