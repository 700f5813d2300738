"""The executor that a run's options name."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from distverify.errors import SettingsError
from distverify.options.run import Workers
from distverify.runtime.auto import AutoExecutor
from distverify.runtime.job import Executor
from distverify.runtime.serial import SerialExecutor


def choose_executor(workers: Workers) -> Executor:
    """What carries out the work; nothing is started yet."""
    if workers.executor == "serial":
        return SerialExecutor()
    if workers.executor == "auto" and workers == Workers() and not os.environ.get("RAY_ADDRESS"):
        return AutoExecutor(lambda: choose_executor(replace(workers, executor="ray")))
    from distverify.runtime.ray.executor import RayExecutor

    return RayExecutor(
        workers.address, workers.cpus_per_actor, workers.max_actors, workers.time_limit, workers.memory_per_actor,
        workers.label_selector, read_runtime_env(workers.runtime_env),
    )  # fmt: skip


def read_runtime_env(given: str | os.PathLike[str] | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A runtime environment of Ray, from a YAML or JSON file or as it is.

    Raises
    ------
    SettingsError
        A file that cannot be read, or holds something else.
    """
    if given is None or isinstance(given, Mapping):
        return None if given is None else dict(given)
    yaml = importlib.import_module("yaml")  # Ray needs it
    try:
        value = yaml.safe_load(Path(given).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"runtime_env: {given} cannot be read ({error.strerror or error}); check the path"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise SettingsError(
            f"runtime_env: {given} is neither YAML nor JSON ({reason}); write such as env_vars: {{A: b}}"
        ) from None
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise SettingsError(
            f"runtime_env: {given} holds {type(value).__name__}; give names with values, such as env_vars: {{A: b}}"
        )
    return value
