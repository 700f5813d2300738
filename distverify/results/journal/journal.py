"""The journal of a run: what is committed, what is pending, and how the one result file comes about.

While a run goes on, ``OUT.h5`` is a virtual master over the shards in ``OUT.h5.parts/``; many of them are merged to
packs, so that they stay few. At the end one consolidated file takes the master's place and the folder goes. At every
moment a killed driver leaves one of the two, and every row that was committed. No file goes while a program has a
view open that maps it. An old result that is to be replaced, or whose failed samples are tried again, stays as it is until
there is something to keep.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType

from distverify.errors import ResultError
from distverify.results.files import write_text_atomically
from distverify.results.identify import Existing, identify
from distverify.results.incomplete import lacking
from distverify.results.journal.consolidate import Facts, write_finished
from distverify.results.journal.coverage import Coverage
from distverify.results.journal.folder import MANIFEST_NAME, clear, folder_of, holds_nothing, leave, lock_place
from distverify.results.journal.listing import BASE_NAME, find_shards
from distverify.results.journal.lock import DriverLock
from distverify.results.journal.older import VIEW_PATIENCE, OldResult, refuse_difference
from distverify.results.journal.pieces import PieceStore
from distverify.results.journal.publication import Publication
from distverify.results.journal.shards import FINISHED, Rows, Shard, write_shard
from distverify.results.manifest import Manifest
from distverify.status import COMPUTED, STATUS_MEANINGS
from distverify.work import Payload, Plan, WorkUnit

_log = logging.getLogger(__name__)
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
    afresh : bool
        It was opened to replace what is there.
    problems : tuple of str
        Shards and pieces that were found damaged or foreign and moved aside.
    """

    def __init__(
        self, output: Path, parts: Path, lock: DriverLock, manifest: Manifest, coverage: Coverage, shown: bool = False,
        old: OldResult | None = None,
    ) -> None:  # fmt: skip
        self.output = output
        self.parts = parts
        self.manifest = manifest
        self.finished = False
        self.afresh = False
        self.problems: tuple[str, ...] = ()
        self._lock = lock
        self._coverage = coverage
        self._old = old  # until there is something to keep
        self._pieces = PieceStore(parts, manifest.run_id, fresh=old is not None)
        self._publication = Publication(output, parts, coverage, shown)

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
            Start afresh, whatever is there; it goes when there is something to keep in its stead.
        retry_failed : bool
            Samples that failed, timed out or lack a quantity that failed are pending again; also of a finished result, which
            stays one until there is something to keep.

        Raises
        ------
        ResultError
            If another driver holds the output, if something else is there, if it was computed with other
            settings (the message names the differences), or if the folder cannot be written.
        """
        path = Path(os.path.realpath(output))
        lock = lock_place(path)
        try:
            journal = cls._open_locked(path, lock, manifest, overwrite, retry_failed)
            journal.afresh = overwrite
            return journal
        except BaseException:
            leave(folder_of(path))
            lock.release()
            raise

    @classmethod
    def _open_locked(
        cls, output: Path, lock: DriverLock, manifest: Manifest, overwrite: bool, retry_failed: bool
    ) -> Journal:
        parts = folder_of(output)
        if overwrite and (output.exists() or not holds_nothing(parts)):
            return cls(output, parts, lock, manifest, Coverage(manifest.samples), old=OldResult(output, parts))
        existing = identify(output)
        if existing is not None and existing.finished:
            refuse_difference(manifest, existing.manifest, output, "the finished result")
            manifest = replace(manifest, created=existing.manifest.created)
            return cls._of_finished(output, parts, lock, manifest, existing, retry_failed)
        if (parts / MANIFEST_NAME).exists():
            interrupted = Manifest.read(parts / MANIFEST_NAME)
            refuse_difference(manifest, interrupted, output, "the interrupted run")
            manifest = replace(manifest, created=interrupted.created, plan=interrupted.plan or manifest.plan)
        elif existing is not None:  # a master whose folder is gone: nothing to continue, but not to be lost unseen
            refuse_difference(manifest, existing.manifest, output, "the interrupted run")
        write_text_atomically(parts / MANIFEST_NAME, manifest.to_json())
        journal = cls(output, parts, lock, manifest, Coverage(manifest.samples), shown=existing is not None)
        journal._resume(retry_failed)
        return journal

    @classmethod
    def _of_finished(
        cls, output: Path, parts: Path, lock: DriverLock, manifest: Manifest, existing: Existing, retry_failed: bool
    ) -> Journal:
        rows, coverage = Rows.of(WorkUnit(0, manifest.samples), 0), Coverage(manifest.samples)
        if retry_failed and existing.failed:
            coverage.add(Shard(parts / BASE_NAME, rows, FINISHED), existing.status, existing.lacking)
            coverage.reopen_failed()
            return cls(output, parts, lock, manifest, coverage, old=OldResult(output, parts, base=parts / BASE_NAME))
        coverage.add(Shard(output, rows, FINISHED), existing.status)
        journal = cls(output, parts, lock, manifest, coverage)
        journal.finished = True
        return journal

    def _begin(self) -> bool:
        """Let the old result give way, now that there is something to keep; True if there was one."""
        if self._old is None:
            return False
        self._old.give_way(self.manifest)
        self._old = None
        return True

    def _resume(self, retry_failed: bool) -> None:
        for stale in self.parts.glob("*.tmp"):
            stale.unlink()
        problems: list[str] = []
        for shard, status, missing in find_shards(self.parts, self.manifest, problems):
            self._coverage.add(shard, status, missing)
        for problem in problems:
            _log.warning("%s", problem)
        self.problems = tuple(problems)
        self._forget_pieces()  # left by a crash between a commit and their removal
        if retry_failed:
            self._coverage.reopen_failed()
        self._publication.begin(self.manifest)

    def record_plan(self, plan: Plan) -> None:
        """Write down how the run is cut, for whoever continues it.

        Raises
        ------
        ResultError
            If the plan is of another number of samples, or the disk does not take it.
        """
        self._check_open()
        if plan.samples != self.manifest.samples:
            raise ResultError(f"plan: is for {plan.samples} samples; the run has {self.manifest.samples}")
        manifest = replace(self.manifest, plan=plan)
        if self._old is None:
            write_text_atomically(self.parts / MANIFEST_NAME, manifest.to_json())
        self.manifest = manifest

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
        self._begin()
        shard = write_shard(self.parts, unit, self._coverage.next_attempt(unit), payload, self.manifest)
        with self._publication.mutex:
            status = payload["status"].astype("int8")
            self._coverage.add(shard, status, lacking(status, payload["message"]))
            self._forget_pieces()
            self._publication.update(self.manifest)

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
            begun = self._begin()
            self._pieces.keep(position, key, payload)
            if begun:  # else the run could not be told from what was there
                self._publication.begin(self.manifest)

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
        self._pieces.forget([p for p in positions if p >= len(status) or status[p] in COMPUTED])

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
        self._begin()
        with self._publication.mutex:
            self._publication.keep_view()
            write_finished(self.output, self.parts, self.manifest, self._coverage.segments(), finished, facts or {})
            self._publication.end()
            self.finished = True

    @property
    def removed(self) -> bool:
        """Whether somebody removed the folder, with all that was committed."""
        return self._old is None and not (self.parts / MANIFEST_NAME).exists()

    @property
    def begun(self) -> bool:
        """Whether an old result, if there was one, has given way to this run."""
        return self._old is None

    @property
    def kept(self) -> bool:
        """Whether a run that continues this one finds anything of it: samples, or pieces of one."""
        if self._old is not None:
            return False
        committed = self.status_counts()["pending"] < self.manifest.samples
        return (committed or self.pieces_kept > 0) and not self.removed

    def abandon(self) -> None:
        """Close a journal that keeps nothing, and remove it from the disk, its result file too; an old one stays."""
        if self.kept or self.finished or not self._lock.held:
            return
        if self._old is not None:
            self.close()
            return
        with self._publication.mutex:
            if self._publication.shown:
                self.output.unlink(missing_ok=True)
            self._publication.end()
            with suppress(ResultError):
                clear(self.parts)
            self._lock.release()

    def close(self) -> None:
        """Bring the master up to date, clean up if finished, and let other drivers in; again is harmless."""
        if not self._lock.held:
            return
        with self._publication.mutex:
            try:
                self._publication.stop(self.manifest)
                if self._old is not None:
                    leave(self.parts)
                elif self.finished:
                    self._clear()
            finally:
                self._lock.release()

    def _clear(self) -> None:
        if self._publication.released(VIEW_PATIENCE):
            clear(self.parts)
        else:
            _log.warning(
                "%s: stays, for a program still has the view of the unfinished run open; remove it when that has closed %s",
                self.parts, self.output,
            )  # fmt: skip

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        # What ends the run is told, not that its view could not be brought up to date besides: a full disk does both.
        try:
            self.close()
        except ResultError as besides:
            _log.debug("%s: the view stays as it was: %s", self.output, besides)

    def _check_open(self) -> None:
        if self.finished or not self._lock.held:
            raise ResultError(f"{self.output}: the journal is {'finished' if self.finished else 'closed'}")
