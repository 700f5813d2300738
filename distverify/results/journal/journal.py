"""The journal of a run: what is committed, what is pending, and how the one result file comes about.

While a run goes on, ``OUT.h5`` is a virtual master over the shards in ``OUT.h5.parts/``; at the end one
consolidated file takes its place and the folder goes. At every moment a killed driver leaves one of the two,
and every shard that was committed.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType

from distverify.errors import ResultError
from distverify.results.files import write_text_atomically, writing_failed
from distverify.results.identify import Existing, identify
from distverify.results.journal.consolidate import Facts, write_finished
from distverify.results.journal.coverage import Coverage, Segment
from distverify.results.journal.lock import LOCK_NAME, DriverLock
from distverify.results.journal.master import mapping_seconds, write_master
from distverify.results.journal.pieces import SUFFIX, PieceStore
from distverify.results.journal.shards import BASE_NAME, Shard, find_shards, shard_name, write_shard
from distverify.results.manifest import Manifest, difference
from distverify.status import FAILED, PENDING, STATUS_MEANINGS
from distverify.work import Payload, Plan, WorkUnit

_log = logging.getLogger(__name__)
_MANIFEST_NAME = "manifest.json"
_OURS = ("*.tmp", f"*{SUFFIX}.bad", f"*{SUFFIX}", "*.h5.bad", "*.h5", _MANIFEST_NAME, LOCK_NAME)
# The master is rewritten when shards come that it does not map yet; at most this share of the time goes into it.
_MASTER_SHARE = 0.05
# Shards to come that the master maps ahead, so that readers see them at once: within a second of writing. A run of more
# units maps what is committed, and lags.
_FORESEEN = 2000
# A piece is kept if it took so long in kernels, or longer if it is large: to write it and to read it back takes 1 ms
# and 2 ms per MB, so up to about a tenth of its own time.
KEEP_SECONDS = 0.2
_KEEP_BYTES = 8_000_000  # per KEEP_SECONDS


class Journal:
    """The results of one run on disk; only the driver has one. Make it with :meth:`open`.

    Attributes
    ----------
    output, parts : Path
        The result file and the folder of the shards.
    manifest : Manifest
        Of the run: on a resumed one with the time at which it first started, and with its plan.
    finished : bool
        The result is complete, and nothing is to be done.
    problems : tuple of str
        Shards and pieces that were found damaged or foreign and moved aside.
    """

    def __init__(self, output: Path, parts: Path, lock: DriverLock, manifest: Manifest, coverage: Coverage) -> None:
        self.output = output
        self.parts = parts
        self.manifest = manifest
        self.finished = False
        self.problems: tuple[str, ...] = ()
        self._lock = lock
        self._coverage = coverage
        self._pieces = PieceStore(parts, manifest.run_id)
        self._foreseen: set[str] = set()  # shards to come that the master on disk shows already
        self._unmapped = 0  # shards that it does not show
        self._master_written = 0.0  # when, time.monotonic()
        self._master_cost = 0.0  # seconds

    @classmethod
    def open(
        cls,
        output: str | os.PathLike[str],
        manifest: Manifest,
        *,
        overwrite: bool = False,
        retry_failed: bool = False,
    ) -> Journal:
        """Start a run, or continue an interrupted one of the same identity.

        Parameters
        ----------
        output : path
            The result file; missing folders are made, a symbolic link is followed.
        manifest : Manifest
        overwrite : bool
            Start afresh, whatever is there.
        retry_failed : bool
            Failed and timed-out samples are pending again; also of a finished result.

        Raises
        ------
        ResultError
            If another driver holds the output, if something else is there, if it was computed with other
            settings (the message names the differences), or if the folder cannot be written.
        """
        path = Path(os.path.realpath(output))
        lock = _lock_place(path)
        try:
            return cls._open_locked(path, lock, manifest, overwrite, retry_failed)
        except BaseException:
            parts = _parts_of(path)
            if [p.name for p in parts.iterdir()] == [LOCK_NAME]:
                _clear(parts)
            lock.release()
            raise

    @classmethod
    def _open_locked(
        cls, output: Path, lock: DriverLock, manifest: Manifest, overwrite: bool, retry_failed: bool
    ) -> Journal:
        parts = _parts_of(output)
        existing = None if overwrite else identify(output)
        if existing is not None and existing.finished:
            _refuse_difference(manifest, existing.manifest, output, "the finished result")
            manifest = replace(manifest, created=existing.manifest.created)
            _clear(parts, keep_lock=True)  # left by a crash after the last step, or before the first of a retry
            if not (retry_failed and existing.failed):
                return cls._of_finished(output, parts, lock, manifest, existing)
        elif overwrite:
            _clear(parts, keep_lock=True)
        elif (parts / _MANIFEST_NAME).exists():
            interrupted = Manifest.read(parts / _MANIFEST_NAME)
            _refuse_difference(manifest, interrupted, output, "the interrupted run")
            manifest = replace(manifest, created=interrupted.created, plan=interrupted.plan or manifest.plan)
        elif existing is not None:  # a master whose folder is gone: nothing to continue, but not to be lost unseen
            _refuse_difference(manifest, existing.manifest, output, "the interrupted run")
        write_text_atomically(parts / _MANIFEST_NAME, manifest.to_json())
        if existing is not None and existing.finished:
            _link(output, parts / BASE_NAME)
        return cls._resumed(output, parts, lock, manifest, retry_failed)

    @classmethod
    def _of_finished(
        cls, output: Path, parts: Path, lock: DriverLock, manifest: Manifest, existing: Existing
    ) -> Journal:
        journal = cls(output, parts, lock, manifest, Coverage(manifest.samples, parts))
        journal._coverage.add(Shard(output, WorkUnit(0, manifest.samples), 0), existing.status)
        journal.finished = True
        return journal

    @classmethod
    def _resumed(cls, output: Path, parts: Path, lock: DriverLock, manifest: Manifest, retry_failed: bool) -> Journal:
        journal = cls(output, parts, lock, manifest, Coverage(manifest.samples, parts))
        for stale in parts.glob("*.tmp"):
            stale.unlink()
        problems: list[str] = []
        for shard, status in find_shards(parts, manifest, problems):
            journal._coverage.add(shard, status)
        for problem in problems:
            _log.warning("%s", problem)
        journal.problems = tuple(problems)
        journal._forget_pieces()  # left by a crash between a commit and their removal
        if retry_failed:
            journal._coverage.reopen_failed()
        journal._write_master()
        return journal

    def record_plan(self, plan: Plan) -> None:
        """Write down how the run is cut, for whoever continues it; readers then see shards as they come.

        Raises
        ------
        ResultError
            If the plan is of another number of samples, or the disk does not take it.
        """
        self._check_open()
        if plan.samples != self.manifest.samples:
            raise ResultError(f"plan: is for {plan.samples} samples; the run has {self.manifest.samples}")
        manifest = replace(self.manifest, plan=plan)
        write_text_atomically(self.parts / _MANIFEST_NAME, manifest.to_json())
        self.manifest = manifest
        if self._to_come():
            self._write_master()

    def pending(self, units: Iterable[WorkUnit]) -> Iterator[WorkUnit]:
        """What of ``units`` is not committed when it is asked for, in order; of one committed in part the missing
        blocks.
        """
        return self._coverage.missing(units)

    def status_counts(self) -> dict[str, int]:
        """Number of samples by status ("pending", "ok", "misclassified", "failed", "timed_out")."""
        status = self._coverage.status
        return {name: int((status == code).sum()) for code, name in enumerate(STATUS_MEANINGS)}

    def commit(self, unit: WorkUnit, payload: Payload) -> None:
        """Keep the results of ``unit``: after return they survive a kill and a power cut.

        Samples that were committed before are replaced.

        Parameters
        ----------
        unit : WorkUnit
        payload : dict name -> array [unit.size, ...]
            Exactly the variables of the run; ``message`` any text.

        Raises
        ------
        ResultError
            If the payload does not fit, or the disk does not take it; nothing committed before is lost.
        """
        self._check_open()
        shard = write_shard(self.parts, unit, self._coverage.next_attempt(unit), payload, self.manifest)
        self._coverage.add(shard, payload["status"].astype("int8"))
        self._forget_pieces()
        if shard.path.name in self._foreseen:
            self._foreseen.remove(shard.path.name)
        else:
            self._unmapped += 1
            cost = self._master_cost + mapping_seconds(self.manifest, self._unmapped)
            if time.monotonic() - self._master_written >= cost / _MASTER_SHARE:
                self._write_master()

    def commit_piece(self, position: int, key: str, payload: Payload, seconds: float) -> None:
        """Keep a piece of a sample until the sample is committed; one that is computed nearly as fast as written
        is not (KEEP_SECONDS).

        Parameters
        ----------
        position : int
            Of the sample in the run.
        key : str
            Of the piece: equal keys, equal results.
        payload : dict name -> array
            Numbers or text, of any shape.
        seconds : float
            Kernel time that it took.

        Raises
        ------
        ResultError
            If the disk does not take it; nothing kept before is lost.
        """
        self._check_open()
        if not 0 <= position < self.manifest.samples:
            raise ResultError(f"position: got {position}, outside of the run's {self.manifest.samples} samples")
        size = sum(array.nbytes for array in payload.values())
        if seconds >= KEEP_SECONDS * max(1.0, size / _KEEP_BYTES):
            self._pieces.keep(position, key, payload)

    def recall(self, position: int, key: str) -> Payload | None:
        """What :meth:`commit_piece` kept, in this run or in an interrupted one; None where there is nothing.

        A file that is damaged or of another run is moved aside and told of in ``problems``.
        """
        try:
            return self._pieces.recall(position, key)
        except ResultError as error:
            _log.warning("%s", error)
            self.problems += (str(error),)
            return None

    @property
    def pieces_kept(self) -> int:
        """Pieces on the disk, of samples that are not done."""
        return len(self._pieces)

    def _forget_pieces(self) -> None:
        # Those of a sample that failed or timed out stay until the run ends: a retry needs them.
        status = self._coverage.status
        positions = self._pieces.positions()
        self._pieces.forget([p for p in positions if p >= len(status) or PENDING < status[p] < FAILED])

    def consolidate(self, finished: datetime, facts: Facts | None = None) -> None:
        """Replace the master by one file with everything, atomically, and remove the shards.

        Parameters
        ----------
        finished : datetime
        facts : dict name -> array
            The variables of the network alone, if the run has any (:func:`run_variables_for`).

        Raises
        ------
        ResultError
            If samples are pending, a shard cannot be read or the file cannot be written; the journal is as
            before.
        """
        self._check_open()
        pending = self.status_counts()["pending"]
        if pending:
            raise ResultError(
                f"{self.output}: {pending} samples are pending; run the same command to compute them first"
            )
        write_finished(self.output, self.parts, self.manifest, self._coverage.segments(), finished, facts or {})
        self._unmapped = 0
        self.finished = True

    @property
    def removed(self) -> bool:
        """Whether somebody removed the folder, with all that was committed."""
        return not (self.parts / _MANIFEST_NAME).exists()

    @property
    def kept(self) -> bool:
        """Whether a run that continues this one finds anything: samples, or pieces of one."""
        committed = self.status_counts()["pending"] < self.manifest.samples
        return (committed or self.pieces_kept > 0) and not self.removed

    def abandon(self) -> None:
        """Close a journal that keeps nothing, and remove it from the disk, the result file too."""
        if self.kept or self.finished or not self._lock.held:
            return
        self._unmapped = 0
        self.output.unlink(missing_ok=True)
        with suppress(ResultError):
            _clear(self.parts)
        self._lock.release()

    def close(self) -> None:
        """Bring the master up to date, clean up if finished, and let other drivers in; again is harmless."""
        try:
            if self._unmapped:
                self._write_master()
            if self.finished and self._lock.held:
                _clear(self.parts)
        finally:
            self._lock.release()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self.finished or not self._lock.held:
            raise ResultError(f"{self.output}: the journal is {'finished' if self.finished else 'closed'}")

    def _write_master(self) -> None:
        begin = time.monotonic()
        to_come = self._to_come()
        segments = itertools.chain(self._coverage.segments(), to_come)
        write_master(self.output, self.parts, self.manifest, segments)
        self._foreseen = {s.shard.path.name for s in to_come}
        self._unmapped = 0
        self._master_written = time.monotonic()
        self._master_cost = self._master_written - begin

    def _to_come(self) -> list[Segment]:
        """The shards that the plan foresees; none where they are too many."""
        plan = self.manifest.plan
        if plan is None or plan.count > _FORESEEN:
            return []
        segments = []
        for unit in self.pending(plan.units()):
            attempt = self._coverage.next_attempt(unit)
            shard = Shard(self.parts / shard_name(unit, attempt), unit, attempt)
            segments.append(Segment(unit.start, unit.stop, shard))
        return segments


def _parts_of(output: Path) -> Path:
    return output.with_name(output.name + ".parts")


def _lock_place(output: Path) -> DriverLock:
    if output.is_dir():
        raise ResultError(f"{output}: is a folder; name the result file, for instance {output / 'result.h5'} (-o)")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        return DriverLock(_parts_of(output))
    except (FileExistsError, NotADirectoryError) as error:
        raise ResultError(
            f"{error.filename}: is a file where a folder is needed; choose another output (-o)"
        ) from error
    except OSError as error:
        raise writing_failed(output, error) from error


def _refuse_difference(this: Manifest, other: Manifest, output: Path, name: str) -> None:
    lines = difference(this, other, name)
    if lines:
        listed = "\n  ".join(lines)
        raise ResultError(
            f"{output}: holds {name} of another computation:\n  {listed}\n"
            "choose another output (-o), or replace it (--overwrite)"
        )


def _link(output: Path, base: Path) -> None:
    """Give the finished file a second name among the shards, so that readers never miss it."""
    try:
        os.link(output, base)
    except OSError:  # no hard links here
        try:
            os.replace(output, base)
        except OSError as error:
            raise writing_failed(base, error) from error


def _clear(parts: Path, *, keep_lock: bool = False) -> None:
    """Remove what is ours; a file of somebody else stays, and so does the folder then."""
    # In this order: shards without a manifest would be nobody's, and the lock guards all of it.
    names = [p for pattern in _OURS for p in parts.glob(pattern)]
    try:
        for path in names:
            if not (keep_lock and path.name == LOCK_NAME):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise ResultError(f"{parts}: cannot be removed ({error.strerror}); remove it by hand") from error
    if not keep_lock:
        with suppress(OSError):  # not empty: somebody's file, or the next driver's lock
            parts.rmdir()
