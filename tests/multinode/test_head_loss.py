"""The head of a cluster dies in the middle of a run: with it goes what Ray knows, but not what was computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.multinode.conftest import Nodes
from tests.multinode.nodes import Run, environment, wait

pytest.importorskip("ray")
pytestmark = [pytest.mark.xdist_group("machines"), pytest.mark.ray, pytest.mark.slow]


def test_without_its_head_a_run_ends_with_an_error_and_goes_on_elsewhere(
    nodes: Nodes, truth: Callable[[int], Path], tmp_path: Path
) -> None:
    nodes.add("second", seconds=0.6)
    with Run(tmp_path, 64, "--address", nodes.address, "--max-actors", "2", env=nodes.env) as run:
        run.wait_until_begun("second", 2)
        wait("two units are committed", lambda: len(run.committed()) >= 2, alive=[run.process])
        before = run.committed()
        nodes.head.kill()
        status, errors = run.end(60)
    assert status == 130, errors
    told = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(told) == 1, errors
    assert f"head node at {nodes.address} has not answered" in told[0]
    assert "what was computed is kept: run the same again" in told[0]
    assert "Traceback" not in errors
    kept = run.committed()
    assert set(before) <= set(kept)

    with Run(tmp_path, 64, "--max-actors", "2", env=environment(), log="continued") as continued:  # on a Ray of its own
        status, errors = continued.end()
    assert status == 0, errors
    samples = {i for start, stop in kept for i in range(start, stop)}
    assert f"{len(samples)} of 64 samples were already done" in errors
    assert sorted(e.index for e in continued.entries()) == sorted(set(range(64)) - samples)
    continued.assert_bits_of(truth(64))
