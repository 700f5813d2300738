"""What Prometheus reads from a node. Ray exports metrics where the packages of ray[default] are installed."""

from __future__ import annotations

import re
import time
import urllib.request
from typing import Any

import pytest

from distverify.runtime.ray.executor import RayExecutor
from distverify.runtime.ray.metrics import MeteredTally
from tests.runtime import scripted

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.ray


def test_counting_costs_microseconds(local_ray):
    tally = MeteredTally()
    tally.worker_ready(0, "here")
    begin = time.perf_counter()
    for _ in range(1000):
        tally.unit_done(0, 1, 0.5)
    assert (time.perf_counter() - begin) / 1000 < 200e-6  # twenty times what was measured
    assert tally.statistics().units_done == 1000


def exported(port: int) -> dict[str, float]:
    """Our metrics, by name and the tags that matter."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
        lines = page.read().decode().splitlines()
    found: dict[str, float] = {}
    for line in lines:
        match = re.fullmatch(r"ray_distverify_(\w+)\{(.*)\} (\S+)", line)
        if match is not None:
            tags = re.findall(r'(?:status|outcome|node|le)="[^"]*"', match.group(2))
            found[" ".join([match.group(1), *sorted(tags)])] = float(match.group(3))
    return found


@pytest.mark.slow
def test_a_scrape_of_the_node_shows_the_run(monkeypatch):
    for module in ("prometheus_client", "opencensus", "opentelemetry", "aiohttp"):
        pytest.importorskip(module)
    if ray.is_initialized():
        ray.shutdown()
    monkeypatch.setenv("RAY_metrics_report_interval_ms", "500")
    ray.init(address="local", include_dashboard=False, num_cpus=2, log_to_driver=False, logging_level="ERROR")
    try:
        node = ray.nodes()[0]
        found: dict[str, float] = {}
        units: list[Any] = [*scripted.units(4, 20), scripted.units_in_pieces(21)[20]]
        job = scripted.job_in_pieces(scripted.InPieces("raise", (120, "rows", 0)), 21)
        with RayExecutor().open(job, scripted.never) as session:
            session.add(units)
            events = list(session.events())
            deadline = time.monotonic() + 30
            while "workers" not in found or "samples_total" not in " ".join(found):
                assert time.monotonic() < deadline, found
                time.sleep(0.5)
                found = exported(node["MetricsExportPort"])
        statuses = scripted.results(events, 21)["status"].tolist()
        assert found['samples_total status="ok"'] == statuses.count(1)
        assert found['samples_total status="misclassified"'] == statuses.count(2)
        assert found['samples_total status="failed"'] == 1
        assert found['units_total outcome="failed"'] == 1
        assert found['units_total outcome="done"'] == session.statistics().units_done
        assert found["workers"] == 2
        host = node["NodeManagerHostname"]
        assert found[f'unit_seconds_count node="{host}"'] == session.statistics().units_done
        assert found[f'kernel_seconds_total node="{host}"'] > 0
    finally:
        ray.shutdown()
