"""Machines that share no network but a switch: killed, and cut off, in the middle of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.multinode.conftest import ADMITTED
from tests.multinode.hosts import Machine, Switch, why_not
from tests.multinode.nodes import Run, environment, head_command, node_command, on_node

pytest.importorskip("ray")
REASON = why_not()
pytestmark = [
    pytest.mark.xdist_group("machines"),
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(bool(REASON), reason=REASON),
]

ADDRESS = "10.77.0.1:6379"
ENVIRONMENT = environment(**ADMITTED)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[list[Machine]]:
    """Three: the head of a Ray cluster, a node, and one without CPUs for Ray, as a login node is."""
    switch = Switch(tmp_path)
    try:
        head, node, login = (switch.machine(n, f"10.77.0.{i}") for i, n in enumerate(("head", "node", "login"), 1))
        head.start(head_command(ADDRESS, switch.temporary), ENVIRONMENT | on_node("head")).wait_until_started()
        trees = [
            node.start(node_command(ADDRESS, node.address), ENVIRONMENT | on_node("node")),
            login.start(node_command(ADDRESS, login.address, cpus=0), ENVIRONMENT | on_node("login")),
        ]
        for tree in trees:
            tree.wait_until_started()
        yield [head, node, login]
    finally:
        switch.close()


def started(machine: Machine, folder: Path) -> Run:
    """A run whose driver is on ``machine``."""
    prefix = machine.space.inside()
    return Run(folder, 48, "--address", ADDRESS, "--max-actors", "2", env=ENVIRONMENT, prefix=prefix)


def test_a_machine_that_loses_power_costs_its_unit_in_flight(
    machines: list[Machine], truth: Callable[[int], Path], tmp_path: Path
) -> None:
    head, node, _ = machines
    with started(head, tmp_path) as run:
        run.wait_until_begun("node", 5)
        node.lose_power()
        status, errors = run.end()
    assert status == 0, errors
    run.assert_bits_of(truth(48))
    run.assert_one_unit_lost_on("node")


def test_a_machine_that_is_cut_off_costs_its_unit_in_flight(
    machines: list[Machine], truth: Callable[[int], Path], tmp_path: Path
) -> None:
    _, node, login = machines
    with started(login, tmp_path) as run:
        run.wait_until_begun("node", 5)
        node.cut()
        status, errors = run.end()
    assert status == 0, errors
    run.assert_bits_of(truth(48))
    run.assert_one_unit_lost_on("node")


def test_a_driver_that_is_cut_off_from_the_head_ends_with_an_error(machines: list[Machine], tmp_path: Path) -> None:
    _, _, login = machines
    with started(login, tmp_path) as run:
        run.wait_until_committed()
        login.cut()
        status, errors = run.end()
    assert status == 130, errors
    assert f"error: Ray's head node at {ADDRESS} has not answered" in errors
    assert "Traceback" not in errors
    assert run.committed()
