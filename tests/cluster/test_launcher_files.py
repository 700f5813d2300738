"""The Ray cluster launcher's files, by the validation that ``ray up`` itself begins with; without a network."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import pytest
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.cluster.files import LAUNCHERS, ROOT, document

BUILT = "dist"  # made by `pip wheel`, before `ray up`


@pytest.fixture(params=LAUNCHERS)
def launcher(request: pytest.FixtureRequest) -> dict[str, Any]:
    return document(request.param)


def test_ray_accepts_the_file(launcher):
    validate_config(prepare_config(launcher))


def test_ray_refuses_a_misspelt_field(launcher):
    wrong = copy.deepcopy(launcher)
    wrong["setup_comands"] = wrong.pop("setup_commands")
    with pytest.raises(jsonschema.ValidationError, match="setup_comands"):
        validate_config(prepare_config(wrong))


def test_the_head_starts_the_autoscaler_and_workers_join_it(launcher):
    prepared = prepare_config(launcher)
    head, worker = prepared["head_start_ray_commands"][-1], prepared["worker_start_ray_commands"][-1]
    assert "ray start --head --port=6379" in head
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in head  # where the launcher puts it
    assert "ray start --address=$RAY_HEAD_IP:6379" in worker


def test_every_node_gets_the_token_where_ray_looks_for_it(launcher):
    assert launcher["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def test_what_is_copied_to_the_nodes_exists(launcher):
    relative = [path for path in launcher["file_mounts"].values() if not path.startswith("~")]
    assert [path for path in relative if path != BUILT and not (ROOT / path).exists()] == []


def test_on_premise_nodes_set_the_environment_before_every_ray_command():
    launcher = document("local.yaml")
    starts = launcher["head_start_ray_commands"] + launcher["worker_start_ray_commands"]
    assert all(command.startswith(". ~/distverify-cluster/environment.sh; ") for command in starts)
    assert launcher["file_mounts"]["~/distverify-cluster"] == "cluster"


def test_on_premise_every_machine_of_the_list_is_used():
    prepared = prepare_config(document("local.yaml"))
    (node,) = prepared["available_node_types"].values()
    assert node["min_workers"] == node["max_workers"] == len(prepared["provider"]["worker_ips"])


def test_on_aws_only_workers_may_be_taken_away():
    prepared = prepare_config(document("aws.yaml"))
    types = prepared["available_node_types"]
    assert "InstanceMarketOptions" not in types[prepared["head_node_type"]]["node_config"]
    assert types["worker"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert 0 == types["worker"]["min_workers"] < types["worker"]["max_workers"] <= prepared["max_workers"]


def test_on_aws_results_survive_the_container_and_the_end_of_the_cluster():
    prepared = prepare_config(document("aws.yaml"))
    assert "--volume /home/ubuntu/results:/results" in prepared["docker"]["run_options"]
    assert prepared["initialization_commands"] == ["mkdir -p /home/ubuntu/results"]
    assert prepared["provider"]["cache_stopped_nodes"] is True


def test_on_aws_shared_memory_is_left_to_ray():
    docker = prepare_config(document("aws.yaml"))["docker"]
    assert not any("--shm-size" in option for option in docker["run_options"])
    assert not docker.get("disable_shm_size_detection")


def test_on_aws_nothing_of_rays_default_setup_remains():
    prepared = prepare_config(document("aws.yaml"))
    assert prepared["setup_commands"] == prepared["worker_setup_commands"] == []
    assert not any("ray" in command for command in prepared["head_setup_commands"])
