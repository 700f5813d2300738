"""A Ray cluster of several nodes, started as an administrator does, and used by the command line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from tests.multinode.conftest import Nodes
from tests.multinode.nodes import UNIT, Run, environment, on_node

pytest.importorskip("ray")
pytestmark = [pytest.mark.xdist_group("machines"), pytest.mark.ray, pytest.mark.slow]

Truth = Callable[[int], Path]


def test_a_node_that_is_killed_costs_its_unit_in_flight(nodes: Nodes, truth: Truth, tmp_path: Path) -> None:
    victim = nodes.add("killed")
    with Run(tmp_path, 48, "--address", nodes.address, "--max-actors", "2", env=nodes.env) as run:
        run.wait_until_begun("killed", 5)
        victim.kill()
        status, errors = run.end()
    assert status == 0, errors
    run.assert_bits_of(truth(48))
    run.assert_one_unit_lost_on("killed")
    assert set(run.by_node()) == {"first", "killed"}


def test_a_node_that_is_killed_costs_a_piece_of_a_sample(nodes: Nodes, tmp_path: Path) -> None:
    cut = ("--pieces-per-sample", "6")
    alone = tmp_path / "alone"
    alone.mkdir()
    with Run(alone, 4, "--executor", "serial", env=environment(**on_node("alone", 0.0)), cut=cut) as truth:
        status, errors = truth.end()
    assert status == 0, errors
    pieces = Counter(e.what for e in truth.entries())
    assert len(pieces) > 4 * 6 * 2  # several stages of each sample
    victim = nodes.add("killed")
    with Run(tmp_path, 4, "--address", nodes.address, "--max-actors", "2", env=nodes.env, cut=cut) as run:
        run.wait_until_begun("killed", len(pieces) // 8)
        victim.kill()
        status, errors = run.end()
    assert status == 0, errors
    run.assert_bits_of(truth.output)
    again = Counter(e.what for e in run.entries()) - pieces
    assert pieces - Counter(e.what for e in run.entries()) == Counter()
    assert {e.node for e in run.entries()} == {"first", "killed"}
    last = [e.what for e in run.entries() if e.node == "killed"][-1]
    assert again in (Counter(), Counter([last]))  # what was in flight; nothing, if the kill came in between


def test_a_node_that_joins_is_used(nodes: Nodes, truth: Truth, tmp_path: Path) -> None:
    known = nodes.env | {"RAY_ADDRESS": nodes.address}
    with Run(tmp_path, 96, "--max-actors", "2", env=known) as run:
        run.wait_until_begun("first", 4)
        joined = nodes.add("joined")
        run.wait_until_begun("joined", 1)
        status, errors = run.end()
    joined.stop()
    assert status == 0, errors
    run.assert_bits_of(truth(96))
    assert set(run.by_node()) == {"first", "joined"}
    assert run.recomputed() == []


def test_a_slow_node_gets_less_to_do(nodes: Nodes, truth: Truth, tmp_path: Path) -> None:
    slow = nodes.add("slow", seconds=0.45)
    with Run(tmp_path, 96, "--address", nodes.address, "--max-actors", "2", env=nodes.env) as run:
        run.wait_until_begun("slow", 8)
        status, errors = run.end()
    slow.stop()
    assert status == 0, errors
    run.assert_bits_of(truth(96))
    assert run.recomputed() == []
    assert len(run.by_node()["first"]) >= 2 * len(run.by_node()["slow"])
    # Both busy from their first sample on would end together; a unit on the slow node is what that can be missed by.
    begun = {name: [e.time for e in run.entries() if e.node == name] for name in ("first", "slow")}
    each = {name: median(b - a for a, b in pairwise(times)) for name, times in begun.items()}
    samples = sum(len(times) for times in begun.values())
    ideal = (samples + sum(begun[n][0] / each[n] for n in each)) / sum(1 / each[n] for n in each)
    end = max(begun[n][-1] + each[n] for n in each)
    assert end - ideal <= 1.5 * UNIT * each["slow"]


def test_who_does_not_know_the_token_is_told_so(nodes: Nodes, tmp_path: Path) -> None:
    unknown, none, other = tmp_path / "home", tmp_path / "none", tmp_path / "other"
    for folder in (unknown, none, other):
        folder.mkdir()
    without = environment(HOME=str(unknown))
    wrong = without | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "6" * 64}
    with (
        Run(none, 8, "--address", nodes.address, env=without) as first,
        Run(other, 8, "--address", nodes.address, env=wrong) as second,
    ):
        told = "and none is known here; set RAY_AUTH_TOKEN", "and that in RAY_AUTH_TOKEN is not its own"
        for run, cause in zip((first, second), told, strict=True):
            status, errors = run.end()
            assert status == 2, errors
            (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
            assert f"address: the cluster at {nodes.address} demands a token, {cause}" in line
            assert "Traceback" not in errors
            assert run.entries() == []
