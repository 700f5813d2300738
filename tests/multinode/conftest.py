from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import distverify as dv
from distverify.demo import DATA, MODEL
from tests.multinode.nodes import Tree, environment, free_port, head_command, node_command, on_node

TOKEN = "5" * 64
ADMITTED = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}


@pytest.fixture(scope="session")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """The result for the first so many samples, without Ray."""
    folder = tmp_path_factory.mktemp("truth")

    def computed(samples: int) -> Path:
        output = folder / f"{samples}.h5"
        if not output.exists():
            dv.certify(
                str(MODEL), str(DATA), output=output, eps=[0.02], compute={"jacobian", "lipschitz"},
                samples=f"0:{samples}", executor="serial",
            ).close()  # fmt: skip
        return output

    return computed


class Nodes:
    """A cluster that grows: a head with one CPU, and nodes; each with a loopback address of its own, 127.0.0.2 and following.

    Only who knows the token may use it.
    """

    def __init__(self, folder: Path, temporary: Path) -> None:
        self.folder = folder
        self.address = f"127.0.0.2:{free_port()}"
        self.env = environment(**ADMITTED)
        self.trees: list[Tree] = []
        self.head = self._start("first", head_command(self.address, temporary))

    def add(self, name: str, **environment_of_node: float) -> Tree:
        """One more node with one CPU, ready when this returns."""
        return self._start(name, node_command(self.address, f"127.0.0.{len(self.trees) + 2}"), **environment_of_node)

    def _start(self, name: str, command: list[str], **environment_of_node: float) -> Tree:
        tree = Tree(command, self.env | on_node(name, **environment_of_node), self.folder / f"{name}.log")
        self.trees.append(tree)
        tree.wait_until_started()
        return tree

    def close(self) -> None:
        for tree in reversed(self.trees):
            if self.head.process.poll() is None:
                tree.stop()
            else:  # without its head a node does not end in order
                tree.kill()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    if sys.platform != "linux":
        pytest.skip("all of 127.0.0.0/8, and /proc, are Linux's")
    temporary = Path(tempfile.mkdtemp(prefix="dv"))  # short, for Ray's sockets
    made = None
    try:
        made = Nodes(tmp_path_factory.mktemp("nodes"), temporary)
        yield made
    finally:
        if made is not None:
            made.close()
        shutil.rmtree(temporary, ignore_errors=True)
