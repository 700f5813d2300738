"""What a worker does with a work unit; both executors call these functions, so results are bit-equal."""

from __future__ import annotations

import fcntl
import math
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distverify.errors import PieceError
from distverify.questions.pieces import Arrays, HandedBack, Piece, PieceWorker, Shared
from distverify.runtime.job import Analyse, Job
from distverify.status import COMPUTED, FAILED, HANDED_BACK, OK
from distverify.work import Payload, SampleResult, WorkUnit

# Set by the worker for every sample, whatever the analysis computes.
RESERVED = ("status", "message", "seconds", "label")
_LONGEST_MESSAGE = 500
_LOCK_PAUSE = 0.05  # seconds
_LONGEST_WARM_UP = 300.0  # seconds that one worker waits for another's


def receive(fetch: Callable[[], Job]) -> Job:
    """Fetch the job and call its ``warm_up``, one worker of a machine at a time: the first compiles, the others load.

    Unpickling a job imports the kernels, which compiles them where no compiled ones are kept yet: so that is in the lock too.
    """
    with _machine_lock():
        job = fetch()
        job.warm_up()
        return job


def run_unit(job: Job, unit: WorkUnit, budget: float = math.inf, *, among_others: bool = False) -> Payload:
    """Analyse the samples of ``unit`` one after the other.

    A sample whose analysis raises, or returns what was not declared, is FAILED, and the next one follows.

    Parameters
    ----------
    job : Job
    unit : WorkUnit
    budget : float
        Seconds; no further sample is begun once they have passed.
    among_others : bool
        Samples that take longer than the job's patience are given back, with status HANDED_BACK.

    Returns
    -------
    Payload
        Every variable of ``job.variables`` [n, ...] and ``status`` int8 [n], ``message`` str [n]
        (object), ``seconds`` float64 [n] (kernel time), ``label`` int64 [n]; n samples from
        ``unit.start`` on: all of them, or at least one where the budget ran out.
    """
    payload = blank_payload(job, unit)
    analyse = job.analyse
    if among_others and job.patience < math.inf and job.analyse_in_pieces is not None:
        analyse = partial(job.analyse, patience=job.patience)  # type: ignore[call-arg]
    begin = time.perf_counter()
    done = 0
    for row, position in enumerate(range(unit.start, unit.stop)):
        run_sample(job, position, payload, row, analyse)
        done = row + 1
        if time.perf_counter() - begin >= budget:
            break
    return payload if done == unit.size else {name: values[:done] for name, values in payload.items()}


def blank_payload(job: Job, unit: WorkUnit, status: int = FAILED, message: str = "") -> Payload:
    """The payload of a unit without results: ``status``, ``message``, and NaN (0 for integers) as values."""
    n = unit.size
    payload: Payload = {}
    for name, (shape, dtype) in job.variables.items():
        if name not in RESERVED:
            kind = np.dtype(dtype)
            payload[name] = np.full((n, *shape), np.nan if kind.kind == "f" else 0, dtype=kind)
    payload["status"] = np.full(n, status, dtype=np.int8)
    payload["message"] = np.full(n, message, dtype=object)
    payload["seconds"] = np.zeros(n)
    payload["label"] = np.array(job.data.labels[unit.start : unit.stop], dtype=np.int64)
    return payload


def describe(error: BaseException) -> str:
    """An exception as one line, "Type: text"; of a PieceError, whose text says everything, the text."""
    text = " ".join(str(error).split())
    if isinstance(error, PieceError):
        line = text
    else:
        line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 3] + "..."


class PieceRunner:
    """Computes pieces of a job's samples in this process, with one piece worker."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._worker: PieceWorker | None = None

    def run(self, piece: Piece, shared: Shared) -> tuple[float, str, Arrays]:
        """Kernel seconds, what went wrong ("" if nothing did), and the results by name (contiguous; none if something did)."""
        begin = time.perf_counter()
        try:
            if self._worker is None:
                assert self._job.piece_worker is not None
                self._worker = self._job.piece_worker(self._job.network)
            arrays = {name: read_only(values) for name, values in self._worker.compute(piece, shared).items()}
        except Exception as error:  # fails the sample, not the run
            return time.perf_counter() - begin, describe(error), {}
        return time.perf_counter() - begin, "", arrays


def read_only(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """``values`` as Ray delivers them, wherever they were computed: contiguous (then nothing is copied on the way) and read-only."""
    view = np.asarray(values, order="C").view()
    view.flags.writeable = False
    return view


def run_sample(job: Job, position: int, payload: Payload, row: int, analyse: Analyse) -> None:
    """Write the outcome of ``analyse`` for the sample at ``position`` into row ``row`` of a blank payload."""
    sample = job.data.sample(position)
    begin = time.perf_counter()
    try:
        result = analyse(job.network, sample, job.settings)
        seconds = time.perf_counter() - begin
        status, message, values = _checked(job, result)
    except HandedBack as error:
        seconds = time.perf_counter() - begin
        status, message, values = HANDED_BACK, describe(error), {}
    except Exception as error:  # a poison sample is a recorded failure, not a stopped run
        seconds = time.perf_counter() - begin
        status, message, values = FAILED, describe(error), {}
    for name, value in values.items():
        payload[name][row] = value
    payload["status"][row] = status
    payload["message"][row] = message
    payload["seconds"][row] = seconds


def _checked(job: Job, result: SampleResult) -> tuple[int, str, dict[str, Any]]:
    """Status, message and values of one analysis, all values checked before any is stored."""
    values: dict[str, Any] = {}
    for name, value in result.items():
        if name in RESERVED:
            continue
        if name not in job.variables:
            raise ValueError(f"the analysis returned {name!r}, which the job does not declare")
        shape, dtype = job.variables[name]
        array = np.asarray(value)
        if array.shape != tuple(shape):
            raise ValueError(f"the analysis returned {name!r} of shape {array.shape}, declared as {shape}")
        if not np.can_cast(array.dtype, dtype, "same_kind"):
            raise ValueError(f"the analysis returned {name!r} of type {array.dtype}, declared as {dtype}")
        values[name] = array
    status = result.get("status", OK)
    if status not in COMPUTED:
        raise ValueError(
            f"the analysis returned status {status!r}; only ok, misclassified and undecided are its to set"
        )
    return int(status), str(result.get("message", "")), values


@contextmanager
def _machine_lock() -> Iterator[None]:
    """A lock that this user's workers on a machine share. It only saves time: not to get it is no error."""
    folder = Path(tempfile.gettempdir()) / f"distverify-{os.getuid()}"
    fd = -1
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():  # not another user's
            fd = os.open(folder / "warm_up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            _wait_for(fd, _LONGEST_WARM_UP)
    except OSError:
        pass
    try:
        yield
    finally:
        if fd >= 0:
            os.close(fd)  # and with it the lock


def _wait_for(fd: int, longest: float) -> None:
    """Lock a file, unless another process has it for too long."""
    end = time.monotonic() + longest
    while time.monotonic() < end:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE)
        else:
            return
