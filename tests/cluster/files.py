"""The files under test, and the commands in them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "cluster"
LAUNCHERS = ("local.yaml", "aws.yaml")
KUBERNETES = ("storage.yaml", "raycluster.yaml", "rayjob.yaml")


def text(name: str) -> str:
    return (CLUSTER / name).read_text()


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text(name)))


def document(name: str) -> dict[str, Any]:
    (only,) = documents(name)
    return only


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def strings(value: Any) -> Iterator[str]:
    """Every string in a YAML document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def shell_texts() -> dict[str, str]:
    """What a shell gets to see out of each file."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text("README.md"), re.M | re.S)
    texts = {"README.md": "\n".join(blocks)}
    for name in ("slurm.sh", "environment.sh", "Dockerfile"):
        texts[name] = re.sub(r"^#.*\n", "", text(name), flags=re.M)
    for name in (*LAUNCHERS, *KUBERNETES):
        texts[name] = "\n".join(strings(documents(name)))
    return texts


def commands(program: str) -> list[tuple[str, str]]:
    """(file, arguments) of every call of ``program`` with a sub-command."""
    found = []
    for name, content in shell_texts().items():
        if name == "Dockerfile":  # calls none, and names folders alike
            continue
        joined = re.sub(r"\\\n\s*", " ", content)
        for match in re.finditer(rf"(?:^|[\s'\"])(?:{program}) ([a-z][^\n;'|&#>]*)", joined):
            found.append((name, match.group(1).strip(' "')))
    return found
