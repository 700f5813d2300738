"""Connect to Ray, or start one on this machine, and read its errors. Every file that uses Ray imports it from here."""

from __future__ import annotations

import atexit
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from distverify.errors import ExecutorError, argument
from distverify.runtime.ray.head_watch import HeadLostError
from distverify.runtime.ray.own import on_loopback, private_folder
from distverify.runtime.ray.token import admitted, own_token
from distverify.runtime.worker import describe

# Deaths are events of the run; Ray's own lines about them are noise. Ray reads these variables while it is
# imported.
os.environ.setdefault(
    "RAY_DEDUP_LOGS_SKIP_REGEX",
    "A worker died or was killed|has been marked dead|Raylet is terminated|worker processes have been started on node",
)
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no notice on the terminal, no report to the network
# How long a call waits for a machine that was cut off: two minutes by default, also when this process ends.
os.environ.setdefault("RAY_grpc_client_keepalive_timeout_ms", "20000")

import ray
import ray.util.metrics
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RaySystemError, RayTaskError

__all__ = ["RayError", "RaySystemError", "answers", "connected", "explained", "get_all", "ray", "reason"]

CONNECT_SECONDS = 5.0


@contextmanager
def connected(address: str | None) -> Iterator[bool]:
    """Connect to Ray, or start one on this machine; undo what was done.

    Yields
    ------
    bool
        Whether this Ray was started here, and ends with the context: no machine will ever join it.

    Raises
    ------
    ExecutorError
        No connection.
    """
    if ray.is_initialized():
        here = ray.get_runtime_context().gcs_address
        if address not in (None, "auto", here):
            raise ExecutorError(f"address: got {address!r}, but Ray is connected to {here}; call ray.shutdown() first")
        yield False
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    with _surroundings(address) as (where, options):
        handler = signal.getsignal(signal.SIGTERM)
        try:
            try:
                _connect(where, options)
            except SystemExit:  # from the handler of SIGTERM that Ray has while it connects
                raise KeyboardInterrupt from None
            # Ray installed a handler of its own.
            if callable(handler) and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)
            yield where == "local"
        except HeadLostError:
            # To end in order takes the head, too: Ray would wait for it, and then end this process.
            atexit.unregister(ray.shutdown)
            raise
        except BaseException:
            ray.shutdown()
            raise
        ray.shutdown()


@contextmanager
def _surroundings(address: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a connection needs around it: a private folder and token, or to be admitted. Where to connect, and with which options."""
    if address == "local":
        with private_folder() as folder, own_token(folder), on_loopback():
            yield address, {"_temp_dir": str(folder / "ray")}
        return
    if address == "auto":
        address = _running_here()
    else:
        _check_address(address)
    with admitted(address):
        yield address, {}


def answers(unix_socket: str) -> bool:
    """Whether a process listens there."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(unix_socket)
        except OSError:
            return False
    return True


def reason(error: RayError) -> str:
    """One line for people, out of Ray's paragraphs."""
    if isinstance(error, RayTaskError):
        return describe(error.cause)
    if isinstance(error, OutOfMemoryError):
        return "the worker was ended because its machine ran out of memory"
    if isinstance(error, RayActorError):
        text = str(error)
        detail = re.search(r"Worker exit detail: (.*?)\.?(?= Some common causes|$)", text, re.M)
        if detail is None and "__init__" in text:  # the last line of the constructor's traceback
            return text.strip().splitlines()[-1]
        return "the worker process died" + (f": {detail.group(1)}" if detail else "")
    return describe(error)


@contextmanager
def explained() -> Iterator[None]:
    """What Ray raises in the block becomes an ExecutorError."""
    try:
        yield
    except RayError as error:
        raise ExecutorError(f"Ray failed ({describe(error)}); what was computed is kept: run the same again") from error


def get_all(calls: list[Any]) -> list[Any]:
    """The results of calls that have ended; a RayError for each that failed."""
    with suppress(RayError):
        found: list[Any] = ray.get(calls)
        return found
    return [_get(call) for call in calls]


def _get(call: Any) -> Any:
    try:
        return ray.get(call)
    except RayError as error:
        return error


def _connect(address: str, options: dict[str, Any]) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        try:
            ray.init(address="local", include_dashboard=False, num_cpus=_cpus_allowed(), **quiet, **options)
        except Exception as error:
            raise ExecutorError(
                f"Ray cannot be started on this machine ({describe(error)}); "
                f"the serial executor works without it ({argument('executor', 'serial')})"
            ) from error
        return
    try:
        ray.init(address=address, **quiet)
    except Exception as error:
        raise ExecutorError(
            f"address: cannot connect to Ray at {address!r} ({describe(error)}); check that the cluster "
            "runs, with the same versions of Ray and Python"
        ) from error


def _running_here() -> str:
    """Where the head of the Ray is that runs on this machine."""
    from ray._private.services import canonicalize_bootstrap_address

    try:
        found = canonicalize_bootstrap_address("auto")
    except ConnectionError:
        found = None
    if not found:
        raise ExecutorError(
            'address: "auto" finds no Ray that runs on this machine; start one (`ray start --head`), or give host:port of a head'
        )
    _check_address(str(found))
    return str(found)


def _check_address(address: str) -> None:
    """Ray itself tries for minutes and then ends the process: look first whether anything listens."""
    match = re.fullmatch(r"\[?([^\s/\]]+)\]?:(\d{1,5})", address)
    if match is None:
        raise ExecutorError(
            f'address: got {address!r}; give host:port of the head node (port: 6379), "auto" or "local"'
        )
    try:
        socket.create_connection((match.group(1), int(match.group(2))), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ExecutorError(
            f"address: nothing answers at {address!r} ({describe(error)}); "
            "check the address, that `ray start --head` has run there, and the firewall"
        ) from error


def _cpus_allowed() -> int | None:
    """CPUs that this process may use, where fewer than the machine has (Slurm, taskset); None: Ray counts."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    allowed = len(os.sched_getaffinity(0))
    return allowed if allowed < (os.cpu_count() or 1) else None
