"""Machines of our own on one: Linux namespaces with their own network, processes, host name and shared memory, on one switch.

Nothing of it is seen from outside, nor outlives the process that made it: each machine is the child of one that the kernel ends
with its parent, and its interfaces go with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.multinode.nodes import ROOT, Tree, environment, wait

_TOOLS = ("ip", "mount", "nsenter", "setpriv", "unshare")
_SLEEP = ["bash", "-c", "sleep infinity & wait"]  # bash, for it reaps what is left to it


def why_not() -> str:
    """Why machines cannot be made here; empty where they can."""
    if sys.platform != "linux":
        return "namespaces are Linux's"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (packages iproute2 and util-linux)"
    if os.geteuid() != 0:
        return "namespaces of a network need root"
    probe = ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--mount-proc"]
    bridge = "ip link add probe type bridge && ip link add probe-a type veth peer name probe-b && mount -t tmpfs tmpfs /dev/shm"
    tried = subprocess.run([*probe, "sh", "-c", bridge], capture_output=True, text=True, check=False, timeout=30)
    return "" if tried.returncode == 0 else f"namespaces are not permitted here ({tried.stderr.strip()})"


class Namespace:
    """A process in namespaces of its own, which live as long as it does."""

    def __init__(self, kinds: Sequence[str], log: Path) -> None:
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", *kinds, "--fork", "--kill-child", *_SLEEP]
        self.tree = Tree(command, environment(), log)
        wait("the namespace is made", lambda: len(self.tree.pids()) == 3, 10, [self.tree.process])
        self.pid = self.tree.pids()[1]

    def inside(self, *command: str, kinds: str = "--all") -> list[str]:
        """``command``, to be run from outside in these namespaces."""
        prefix = ["nsenter", f"--target={self.pid}", kinds, "sh", "-c", 'cd "$0" && exec "$@"', str(ROOT)]
        return [*prefix, *command]

    def do(self, *command: str, kinds: str = "--all") -> None:
        subprocess.run(self.inside(*command, kinds=kinds), check=True, capture_output=True, timeout=30)

    def kill(self) -> None:
        """Everything in it, at once; again is harmless."""
        with suppress(ProcessLookupError):
            self.tree.kill()


class Switch:
    """What connects machines, in a namespace of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.machines: list[Machine] = []
        # One place for Ray's files on all machines, as Ray wants it; each has another disk mounted there.
        self.temporary = Path(tempfile.mkdtemp(prefix="dv"))
        self.space = Namespace(["--net"], folder / "switch.log")
        self.ip("link", "add", "switch", "type", "bridge")
        self.ip("link", "set", "switch", "up")

    def ip(self, *arguments: str) -> None:
        self.space.do("ip", *arguments, kinds="--net")

    def machine(self, name: str, address: str) -> Machine:
        made = Machine(self, name, address)
        self.machines.append(made)
        return made

    def close(self) -> None:
        for machine in self.machines:
            machine.kill()
        self.space.kill()
        self.temporary.rmdir()


class Machine:
    """One with its own address, processes, /dev/shm and folder for Ray's files; the rest of the disk is shared."""

    def __init__(self, switch: Switch, name: str, address: str) -> None:
        self.switch, self.name, self.address = switch, name, address
        self.trees: list[Tree] = []
        kinds = ["--net", "--mount", "--uts", "--ipc", "--pid", "--mount-proc"]
        self.space = Namespace(kinds, switch.folder / f"{name}.log")
        switch.ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(self.space.pid))
        switch.ip("link", "set", name, "master", "switch", "up")
        self.space.do("hostname", name)
        self.space.do("mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", "/dev/shm")
        self.space.do("mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(switch.temporary))
        self.space.do("ip", "link", "set", "lo", "up")
        self.space.do("ip", "address", "add", f"{address}/24", "dev", "eth0")
        self.space.do("ip", "link", "set", "eth0", "up")

    def start(self, command: list[str], env: dict[str, str]) -> Tree:
        tree = Tree(self.space.inside(*command), env, self.switch.folder / f"{self.name}.log")
        self.trees.append(tree)
        return tree

    def cut(self) -> None:
        """Pull the cable: the machine goes on, alone."""
        self.switch.ip("link", "set", self.name, "down")

    def lose_power(self) -> None:
        """Without a word: what a process that is killed would still send does not get out."""
        self.cut()
        self.kill()

    def kill(self) -> None:
        """End everything on it; again is harmless."""
        self.space.kill()
        for tree in self.trees:
            tree.kill()
