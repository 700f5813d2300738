"""Where actors go, and in which environment: labels of nodes, a runtime environment from a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

import distverify as dv
from distverify.errors import ExecutorError, SettingsError
from distverify.executors import read_runtime_env
from distverify.options import parse
from distverify.options.run import Workers
from distverify.runtime.ray.cluster import Cluster
from distverify.runtime.ray.executor import RayExecutor
from tests.runtime import scripted


def test_labels_as_they_are_typed() -> None:
    assert parse.labels("pool=cpu, zone=a") == {"pool": "cpu", "zone": "a"}
    for text in ("pool", "=a", "a=", "a=b,a=c"):
        with pytest.raises(ValueError, match="write NAME=VALUE, several with commas between"):
            parse.labels(text)
    with pytest.raises(SettingsError, match="which only the ray executor uses"):
        Workers(executor="serial", label_selector={"a": "b"})


def test_runtime_environments_are_yaml_or_json(tmp_path: Path) -> None:
    (tmp_path / "env.yaml").write_text("env_vars:\n  A: b\n")
    (tmp_path / "env.json").write_text('{"env_vars": {"A": "b"}}')
    expected = {"env_vars": {"A": "b"}}
    assert read_runtime_env(tmp_path / "env.yaml") == read_runtime_env(tmp_path / "env.json") == expected
    assert read_runtime_env(expected) == expected
    assert read_runtime_env(None) is None
    for text, message in (("[a]", "holds list; give names with values"), ("{a: ", "is neither YAML nor JSON")):
        (tmp_path / "env.yaml").write_text(text)
        with pytest.raises(SettingsError, match=message):
            read_runtime_env(tmp_path / "env.yaml")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_runtime_env(tmp_path / "none.yaml")


def test_nodes_without_the_labels_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 4.0}, "Labels": {"pool": "cpu", "zone": "a"}},
        {"Alive": True, "Resources": {"CPU": 8.0}, "Labels": {"pool": "gpu"}},
    ]
    cluster = Cluster.__new__(Cluster)
    cluster._needs, cluster._nodes = {"CPU": 1.0}, nodes
    for labels, slots in (({}, 12), ({"pool": "cpu"}, 4), ({"pool": "cpu", "zone": "b"}, 0), ({"pool": "gpu"}, 8)):
        cluster._labels = labels
        assert sum(cluster._fitting(node) for node in nodes) == slots
    cluster._labels = {"pool": "tpu"}
    with pytest.raises(ExecutorError, match="label_selector: no node of this Ray has pool=tpu; give the address"):
        cluster._refuse()
    assert cluster._described(cluster._needs) == "1 CPUs labelled pool=tpu"


@pytest.fixture
def labelled() -> Iterator[Any]:
    from ray.cluster_utils import Cluster as Nodes

    if ray.is_initialized():
        ray.shutdown()
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1, labels={"pool": "big"})
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.mark.slow
def test_a_run_keeps_to_labelled_nodes_and_its_environment(labelled: Any, tmp_path: Path) -> None:
    (tmp_path / "env.yaml").write_text("env_vars:\n  MARK: '1'\n")
    network = dv.Network.from_layers([(np.eye(2), np.zeros(2))])
    result = dv.certify(
        network, np.zeros((4, 2)), eps=0.1, compute={"lipschitz"}, output=tmp_path / "out.h5", executor="ray",
        address=labelled.address, label_selector={"pool": "big"}, runtime_env=tmp_path / "env.yaml",
    )  # fmt: skip
    assert (result["status"] == 1).all()
    # The other node's CPU is not used.
    assert result.provenance["environment"]["statistics"]["workers"] == 1
    with pytest.raises(ExecutorError, match="label_selector"):
        list(
            scripted.run(
                RayExecutor(None, labels={"pool": "big"}), scripted.job(scripted.slow, samples=1), scripted.units(1, 1)
            )
        )
