"""The Kubernetes files, by a schema of our own and by what their parts must have in common."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.cluster.files import CLUSTER, KUBERNETES, document, documents

SCHEMA = yaml.safe_load(Path(__file__).with_name("kubernetes.schema.yaml").read_text())
OBJECT_STORE = 0.3  # of the memory: what Ray takes in /dev/shm
UNITS = {"Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
Spec = dict[str, Any]


def cluster() -> Spec:
    spec: Spec = document("raycluster.yaml")["spec"]
    return spec


def pod_specs(spec: Spec) -> list[Spec]:
    return [group["template"]["spec"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]


def in_bytes(quantity: str) -> int:
    return int(quantity[:-2]) * UNITS[quantity[-2:]]


@pytest.mark.parametrize("name", KUBERNETES)
def test_files_fit_the_schema(name):
    for found in documents(name):
        jsonschema.validate(found, SCHEMA)


def rename_replicas(spec: Spec) -> None:
    group = spec["workerGroupSpecs"][0]
    group["replica"] = group.pop("replicas")


def number_as_start_parameter(spec: Spec) -> None:
    spec["headGroupSpec"]["rayStartParams"]["num-cpus"] = 3


def latest_image(spec: Spec) -> None:
    spec["headGroupSpec"]["template"]["spec"]["containers"][0]["image"] = "REGISTRY/distverify:latest"


def no_token(spec: Spec) -> None:
    del spec["authOptions"]


def no_autoscaler(spec: Spec) -> None:
    del spec["enableInTreeAutoscaling"]


def containers_too_high(spec: Spec) -> None:
    template = spec["headGroupSpec"]["template"]
    template["containers"] = template["spec"].pop("containers")


@pytest.mark.parametrize(
    "spoil", [rename_replicas, number_as_start_parameter, latest_image, no_token, no_autoscaler, containers_too_high]
)
def test_the_schema_finds_mistakes(spoil: Callable[[Spec], None]):
    wrong = copy.deepcopy(document("raycluster.yaml"))
    spoil(wrong["spec"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SCHEMA["$defs"]["rayCluster"] | {"$defs": SCHEMA["$defs"]})


def test_a_run_and_a_standing_cluster_have_the_same_nodes():
    assert document("rayjob.yaml")["spec"]["rayClusterSpec"] == cluster()


def test_workers_can_be_added_and_taken_away():
    (group,) = cluster()["workerGroupSpecs"]
    assert group["minReplicas"] <= group["replicas"] < group["maxReplicas"]


def test_the_readme_waits_for_a_pod_before_it_is_asked_for():
    text = (CLUSTER / "README.md").read_text()
    assert text.index("kubectl wait --for=condition=HeadPodReady raycluster/distverify") < text.index("kubectl get pod")


def test_requests_are_limits_so_that_ray_counts_what_it_gets():
    for pod in pod_specs(cluster()):
        resources = pod["containers"][0]["resources"]
        assert resources["requests"] == resources["limits"]


def test_shared_memory_holds_rays_object_store():
    for pod in pod_specs(cluster()):
        container = pod["containers"][0]
        (mount,) = (m for m in container["volumeMounts"] if m["mountPath"] == "/dev/shm")
        (volume,) = (v for v in pod["volumes"] if v["name"] == mount["name"])
        memory = in_bytes(container["resources"]["limits"]["memory"])
        assert volume["emptyDir"]["medium"] == "Memory"
        assert OBJECT_STORE < in_bytes(volume["emptyDir"]["sizeLimit"]) / memory < 0.5


def test_every_mounted_volume_is_declared():
    (_, files) = documents("storage.yaml")
    for pod in (*pod_specs(cluster()), files["spec"]):
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_the_driver_writes_to_the_claim_that_outlives_the_cluster():
    claim, files = documents("storage.yaml")
    head = cluster()["headGroupSpec"]["template"]["spec"]
    for pod in (head, files["spec"]):
        (volume,) = (v for v in pod["volumes"] if "persistentVolumeClaim" in v)
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert {"name": volume["name"], "mountPath": "/results"} in pod["containers"][0]["volumeMounts"]
        assert pod["securityContext"] == head["securityContext"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]  # both pods, whatever nodes they are on
    assert document("rayjob.yaml")["spec"]["entrypoint"].endswith("-o /results/out.h5")


def test_a_cpu_of_the_head_is_left_to_the_driver():
    head = cluster()["headGroupSpec"]
    cpus = int(head["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
    assert int(head["rayStartParams"]["num-cpus"]) == cpus - 1
