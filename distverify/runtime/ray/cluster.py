"""The machines of a Ray cluster: how many actors fit on them, which are gone, and what an autoscaler is asked for."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from distverify.errors import ExecutorError
from distverify.runtime.failures import log
from distverify.runtime.ray.connection import ray
from distverify.runtime.ray.head_watch import HeadWatch, accepts
from distverify.runtime.worker import describe

WAIT_LINE_SECONDS = 30.0  # between log lines about what a run without workers waits for
_CONNECT_SECONDS = 2.0


class Cluster:
    """What is known of the nodes alive.

    Parameters
    ----------
    cpus : float
        That each actor reserves.
    memory : int, optional
        Bytes that each actor reserves.
    own : bool
        It was started for this run: no machine will join, and no autoscaler listens.
    labels : dict, optional
        Names and values of labels that a node must have.
    """

    def __init__(self, cpus: float, memory: int | None, own: bool, labels: Mapping[str, str] | None = None) -> None:
        self.slots = 0
        self.own = own
        self._needs = {"CPU": float(cpus)} | ({} if memory is None else {"memory": float(memory)})
        self._labels = dict(labels or {})
        self._nodes: list[dict[str, Any]] = []
        self._head = HeadWatch(str(ray.get_runtime_context().gcs_address))
        self._reached: dict[str, str] = {}  # node -> where its Ray process took a connection
        self._silent: set[str] = set()  # those that did not, later
        self._requested = 0
        self._next_line = math.inf
        self.look()
        if own and not self.slots:
            self._refuse()

    @property
    def reachable(self) -> bool:
        """Whether the head answered when it was last asked."""
        return self._head.reachable

    def look(self) -> int | None:
        """Count the nodes, and the actors that fit on them; None where the head does not tell.

        Raises
        ------
        ExecutorError
            The head has been silent for too long.
        """
        if not self._head.answers(time.monotonic()):
            return None
        nodes = self._head.ask(ray.nodes)
        if nodes is None:
            return None
        self._nodes = [node for node in nodes if node["Alive"]]
        self.slots = sum(self._fitting(node) for node in self._nodes)
        return self.slots

    def met(self, node: str) -> str:
        """The machine's name, of the node of that id: a worker is ready there."""
        if self._alive(node) is None:
            self.look()
        found = self._alive(node)
        if found is None:
            return node
        address = f"{found['NodeManagerAddress']}:{found['NodeManagerPort']}"
        if (node not in self._reached or node in self._silent) and accepts(address, _CONNECT_SECONDS):
            self._reached[node] = address
            self._silent.discard(node)
        return str(found["NodeManagerHostname"])

    def gone(self, node: str) -> bool:
        """Whether the node of that id is not alive any more; or may be not, while the head is silent.

        The head notices a lost node late, by its silence, and the death of a worker there may be known before. So the node is
        asked, too, where that has worked once: a firewall is no death.
        """
        if self.look() is None:
            return True
        if self._alive(node) is None or node in self._silent:
            return True
        if node in self._reached and not accepts(self._reached[node], _CONNECT_SECONDS):
            self._silent.add(node)  # not asked for each of its workers
        return node in self._silent

    def raylet_here(self) -> str:
        """Socket of the Ray process on this machine."""
        here = ray.get_runtime_context().get_node_id()
        return next(str(node["RayletSocketName"]) for node in self._nodes if node["NodeID"] == here)

    def request(self, actors: int) -> None:
        """Tell an autoscaler how many actors are wanted in all, so that it starts the nodes at once and not one by one.

        Without an autoscaler this is an entry in a table that nobody reads. The first call that wants more than there is
        counts, then those that differ by much: the request stands until it is replaced.
        """
        if self.own or (not self._requested and actors <= self.slots):
            return
        if self._requested / 2 < actors <= self._requested * 1.25:
            return
        self._tell(actors)

    def withdraw(self) -> None:
        """The nodes are not needed any more."""
        if self._requested and self._head.reachable:
            self._tell(0)

    def waiting(self, now: float, workers: int) -> None:
        """Log what is waited for where no worker is alive: at once where none fits, and every 30 s."""
        if workers:
            self._next_line = math.inf
            return
        if self._next_line == math.inf:
            self._next_line = now if not self.slots else now + WAIT_LINE_SECONDS
        if now < self._next_line:
            return
        self._next_line = now + WAIT_LINE_SECONDS
        if self.slots:
            log.warning(
                "waiting for the first worker: %d fit on the machines (%s each); it compiles kernels, or waits for what other "
                "work holds (`ray status` tells)", self.slots, self._described(self._needs),
            )  # fmt: skip
        else:
            log.warning(
                "waiting for a machine with %s: %d are there, the largest with %s; add one (`ray start --address ...`), let "
                "the autoscaler do so, or stop the run and ask for less per actor",
                self._described(self._needs), len(self._nodes), self._described(self._largest()),
            )  # fmt: skip

    def _alive(self, node: str) -> dict[str, Any] | None:
        return next((alive for alive in self._nodes if alive["NodeID"] == node), None)

    def _fitting(self, node: dict[str, Any]) -> int:
        if not self._labelled(node):
            return 0
        return min(int(node["Resources"].get(name, 0.0) / need + 1e-9) for name, need in self._needs.items())

    def _labelled(self, node: dict[str, Any]) -> bool:
        held = node.get("Labels") or {}
        return all(held.get(name) == value for name, value in self._labels.items())

    def _largest(self) -> dict[str, float]:
        return {name: max((n["Resources"].get(name, 0.0) for n in self._nodes), default=0.0) for name in self._needs}

    def _refuse(self) -> None:
        if not any(self._labelled(node) for node in self._nodes):
            raise ExecutorError(
                f"label_selector: no node of this Ray has {self._told_labels()}; give the address of a cluster that has such nodes"
            )
        most = self._largest()
        cpus, memory = self._needs["CPU"], self._needs.get("memory", 0.0)
        if most["CPU"] < cpus:
            raise ExecutorError(
                f"cpus_per_actor: got {cpus:g}, but the largest node of this Ray has {most['CPU']:g} CPUs; "
                f"give at most {most['CPU']:g}, or add a larger node"
            )
        raise ExecutorError(
            f"memory_per_actor: got {memory:.0f}, but the largest node of this Ray has {most['memory']:.0f} bytes for "
            f"actors; give at most {most['memory']:.0f}, or add a larger node"
        )

    def _described(self, resources: dict[str, float]) -> str:
        memory = f" and {resources['memory'] / 2**30:.1f} GiB of memory" if "memory" in resources else ""
        labels = f" labelled {self._told_labels()}" if self._labels and resources is self._needs else ""
        return f"{resources['CPU']:g} CPUs{memory}{labels}"

    def _told_labels(self) -> str:
        return ",".join(f"{name}={value}" for name, value in self._labels.items())

    def _tell(self, actors: int) -> None:
        from ray.autoscaler.sdk import request_resources

        self._requested = actors
        try:
            selectors = {"bundle_label_selectors": [self._labels] * actors} if self._labels and actors else {}
            request_resources(bundles=[dict(self._needs) for _ in range(actors)], **selectors)
        except Exception as error:  # only a hint: actors that wait ask for nodes too, later
            log.warning("the autoscaler could not be told of %d actors: %s", actors, describe(error))
