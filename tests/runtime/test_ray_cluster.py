"""Nodes that join and leave in the middle of a run."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from distverify.errors import ExecutorError
from distverify.runtime.job import PieceDone, UnitDone, UnitLost, WorkersChanged
from distverify.runtime.ray import cluster as ray_cluster
from distverify.runtime.ray.executor import RayExecutor
from distverify.runtime.serial import SerialExecutor
from tests.runtime import scripted

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.ray

# Ray notices a lost node in 14-38 s by default; with these in 1.5 s.
HEALTH_CHECK = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


@pytest.fixture(params=[1])
def cluster(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    if ray.is_initialized():
        ray.shutdown()
    for name, value in HEALTH_CHECK.items():
        monkeypatch.setenv(name, value)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": request.param, "include_dashboard": False})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.slow
def test_a_node_that_joins_is_used_and_one_that_is_lost_costs_one_unit(cluster):
    samples = 64
    job, units = scripted.job(scripted.slow, samples=samples), scripted.units(2, samples)
    events: list[Any] = []
    node, most_alive, seen = None, 0, 0
    for event in scripted.run(RayExecutor(cluster.address), job, units):
        events.append(event)
        done = sum(isinstance(e, UnitDone) for e in events)
        if isinstance(event, WorkersChanged):
            most_alive = max(most_alive, event.alive)
        if done == 2 and node is None:
            assert most_alive == 1
            node = cluster.add_node(num_cpus=1)
        if most_alive == 1:
            seen = done
        elif done == seen + 6 and node in cluster.worker_nodes:
            cluster.remove_node(node, allow_graceful=False)
    assert most_alive == 2
    assert node not in cluster.worker_nodes
    payload = scripted.results(events, samples)
    job = scripted.job(scripted.logits, samples=samples)
    truth = scripted.results(list(scripted.run(SerialExecutor(), job, units)), samples)
    assert payload["logits"].tobytes() == truth["logits"].tobytes()
    assert payload["status"].tolist() == truth["status"].tolist()
    lost = [e.unit for e in events if isinstance(e, UnitLost)]
    assert len(lost) == 1
    assert lost[0] in [e.unit for e in events if isinstance(e, UnitDone)]  # whole: the unit was not to blame


@pytest.mark.slow
def test_a_node_that_is_lost_costs_pieces_but_no_sample(cluster, tmp_path):
    analysis = scripted.InPieces(path=tmp_path, seconds=0.1, ballast=10**5)  # too large to be sent along with the call
    samples = 8
    job, units = scripted.job_in_pieces(analysis, samples), scripted.units_in_pieces(samples)
    node = cluster.add_node(num_cpus=2)
    events: list[Any] = []
    for event in scripted.run(RayExecutor(cluster.address, max_actors=3), job, units):
        events.append(event)
        if sum(isinstance(e, PieceDone) for e in events) == 15 and node in cluster.worker_nodes:
            cluster.remove_node(node, allow_graceful=False)
    payload = scripted.results(events, samples)
    job = scripted.job_in_pieces(scripted.InPieces(), samples)
    truth = scripted.results(list(scripted.run(SerialExecutor(), job, units)), samples)
    assert payload["logits"].tobytes() == truth["logits"].tobytes()
    assert payload["status"].tolist() == truth["status"].tolist()
    lost = [e for e in events if isinstance(e, UnitLost)]
    assert 1 <= len(lost) <= 4  # in flight, or done and not fetched
    assert all("its machine is gone" in e.reason or "cannot be fetched" in e.reason for e in lost)
    assert samples * 7 <= len(analysis.computed()) <= samples * 7 + len(lost)
    told = [(e.position, e.key) for e in events if isinstance(e, PieceDone)]
    assert len(told) == len(set(told)) == samples * 7


def requested() -> list[dict[str, float]]:
    """What an autoscaler was last asked for."""
    text = ray.experimental.internal_kv._internal_kv_get(b"autoscaler_resource_request")
    return [] if text is None else json.loads(text)


@pytest.mark.slow
@pytest.mark.parametrize("cluster", [0], indirect=True)
def test_a_cluster_without_room_is_waited_for_and_asked_to_grow(cluster, monkeypatch, caplog):
    monkeypatch.setattr(ray_cluster, "WAIT_LINE_SECONDS", 1.0)
    polls, demands = 0, []

    def should_stop() -> bool:
        nonlocal polls
        polls += 1
        if polls == 8:  # 2 s
            demands.append(requested())
            cluster.add_node(num_cpus=4, memory=2_500_000_000)
        return False

    executor = RayExecutor(cluster.address, max_actors=5, memory_per_actor=10**9)
    most_alive = 0
    with (
        caplog.at_level(logging.WARNING, "distverify.runtime"),
        executor.open(scripted.job(scripted.slow), should_stop) as session,
    ):
        assert session.slots == 1
        session.add(scripted.units(2))
        events = []
        for event in session.events():
            events.append(event)
            if isinstance(event, WorkersChanged):
                most_alive = max(most_alive, event.alive)
        assert session.slots == 2
        assert most_alive == 2  # four by its CPUs, two by its memory
        assert {w.node for w in session.statistics().workers} == {ray.nodes()[0]["NodeManagerHostname"]}
    scripted.results(events)
    assert demands == [[{"CPU": 1.0, "memory": 1e9}] * 5]
    # Without room a machine is waited for; with room the first worker, for as long as it compiles.
    waiting = [m for m in caplog.messages if m.startswith("waiting for ")]
    lines = [m for m in waiting if m.startswith("waiting for a machine with 1 CPUs and 0.9 GiB of memory: 1 are")]
    assert len(waiting) >= 2
    assert 1 <= len(lines) <= 10
    assert waiting[0] == lines[0]
    assert "the largest with 0 CPUs" in lines[0]


@pytest.mark.slow
@pytest.mark.parametrize("cluster", [0], indirect=True)
def test_a_run_that_waits_for_room_can_be_stopped_and_withdraws_its_request(cluster):
    polls = 0

    def should_stop() -> bool:
        nonlocal polls
        polls += 1
        return polls > 6

    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")  # stays, to be asked afterwards
    assert requested() == []
    with RayExecutor().open(scripted.job(scripted.logits), should_stop) as session:
        session.add(scripted.units(8))
        events = list(session.events())
        assert requested() == [{"CPU": 1.0}] * 3  # as many as there are units
    assert events == [WorkersChanged(alive=0, starting=1)]
    assert requested() == []


class Nodes:
    """Stands for Ray where only its list of nodes is asked for, and whether its head takes connections."""

    def __init__(self, gcs_address: str, resources: tuple[dict[str, float], ...]) -> None:
        self.gcs_address = gcs_address
        self.resources = list(resources)
        self.ports = [0] * len(resources)

    def get_runtime_context(self) -> Nodes:
        return self

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"NodeID": f"id{i}", "NodeManagerHostname": f"host{i}", "Alive": bool(r), "Resources": r}
            | {"NodeManagerAddress": "127.0.0.1", "NodeManagerPort": self.ports[i]}
            for i, r in enumerate(self.resources)
        ]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Nodes]]:
    """Makes a cluster of nodes with the resources given; none: it is not alive."""
    with socket.create_server(("127.0.0.1", 0)) as head:

        def made(*resources: dict[str, float]) -> Nodes:
            nodes = Nodes(f"127.0.0.1:{head.getsockname()[1]}", resources)
            monkeypatch.setattr(ray_cluster, "ray", nodes)
            return nodes

        yield made


def test_what_fits_on_the_nodes(stand_in):
    nodes = stand_in({"CPU": 8.0, "memory": 3.5e9}, {"memory": 9e9}, {"CPU": 3.0, "memory": 9e9}, {})
    assert ray_cluster.Cluster(1, None, own=False).slots == 11
    assert ray_cluster.Cluster(2, None, own=False).slots == 4 + 1
    assert ray_cluster.Cluster(0.5, None, own=False).slots == 16 + 6
    cluster = ray_cluster.Cluster(1, 10**9, own=False)
    assert cluster.slots == 3 + 3
    assert (cluster.met("id2"), cluster.gone("id2"), cluster.gone("id3")) == ("host2", False, True)
    nodes.resources[2] = {}
    assert cluster.gone("id2")
    assert cluster.slots == 3


def test_more_cpus_than_a_ray_of_its_own_has_are_refused(stand_in):
    stand_in({"CPU": 2.0, "memory": 9e9}, {"CPU": 1.0})
    assert ray_cluster.Cluster(64, None, own=False).slots == 0  # a larger machine may join
    with pytest.raises(
        ExecutorError, match=r"cpus_per_actor: got 64, but the largest node of this Ray has 2 CPUs; give at most 2"
    ):
        ray_cluster.Cluster(64, None, own=True)


def test_a_node_that_stops_taking_connections_is_gone_before_the_head_notices(stand_in):
    nodes = stand_in({"CPU": 1.0}, {"CPU": 1.0})
    with socket.create_server(("127.0.0.1", 0)) as raylet:
        nodes.ports = [raylet.getsockname()[1], 1]  # nothing listens at the second: as behind a firewall
        cluster = ray_cluster.Cluster(1, None, own=False)
        assert [cluster.met(node) for node in ("id0", "id1")] == ["host0", "host1"]
        assert not cluster.gone("id0")
    assert cluster.gone("id0")
    assert not cluster.gone("id1")
    with socket.create_server(("127.0.0.1", nodes.ports[0])):
        assert cluster.gone("id0")  # not asked again
        cluster.met("id0")  # until a worker there is ready: its cable was out
        assert not cluster.gone("id0")


def test_an_autoscaler_is_told_once_and_again_when_the_demand_differs_by_much(stand_in, monkeypatch):
    nodes, told = stand_in({"CPU": 4.0}), []
    monkeypatch.setattr("ray.autoscaler.sdk.request_resources", lambda bundles: told.append(bundles))
    cluster = ray_cluster.Cluster(2, 10, own=False)
    nodes.resources[0]["memory"] = 100.0
    cluster.look()
    cluster.withdraw()  # nothing to withdraw
    cluster.request(2)  # fits
    for actors in (10, 12, 9, 6, 13, 5):
        cluster.request(actors)
    cluster.withdraw()
    assert [len(bundles) for bundles in told] == [10, 13, 5, 0]
    assert told[0][0] == {"CPU": 2.0, "memory": 10.0}


def test_what_is_waited_for_is_logged_every_half_minute(stand_in, caplog):
    nodes = stand_in({"CPU": 1.0})
    cluster = ray_cluster.Cluster(2, None, own=False)
    with caplog.at_level(logging.WARNING, "distverify.runtime"):
        for now in range(0, 70, 5):
            cluster.waiting(float(now), workers=0)
        assert [m.split(",")[0] for m in caplog.messages] == [
            "waiting for a machine with 2 CPUs: 1 are there"
        ] * 3  # at 0, 30 and 60 s
        caplog.clear()
        nodes.resources.append({"CPU": 2.0})
        nodes.ports.append(0)
        cluster.look()
        cluster.waiting(70.0, workers=1)
        for now in range(75, 110, 5):  # the worker is lost
            cluster.waiting(float(now), workers=0)
        (line,) = caplog.messages  # at 105 s
        assert line.startswith(
            "waiting for the first worker: 1 fit on the machines (2 CPUs each); it compiles kernels, or"
        )
