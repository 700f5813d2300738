"""What readers see of a run that goes on: its master, kept up with what is committed, and its files, kept few."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

from distverify.errors import ResultError
from distverify.results.journal.coverage import Coverage
from distverify.results.journal.master import mapping_seconds, write_master
from distverify.results.journal.packs import MOST_FILES, choose, pack_number, write_pack
from distverify.results.journal.views import Views
from distverify.results.manifest import Manifest

# The master is rewritten when shards come that it does not map yet; at most this share of the time goes into it.
MASTER_SHARE = 0.1


class Publication:
    """The master of a run and the files behind it; only the driver has one.

    Parameters
    ----------
    output, parts : Path
    coverage : Coverage
        Of what is committed; changed only while ``mutex`` is held.
    shown : bool
        There is a master of this run at ``output``.

    Attributes
    ----------
    mutex : RLock
        Against the thread that brings the master up to date when no commit follows.
    """

    def __init__(self, output: Path, parts: Path, coverage: Coverage, shown: bool) -> None:
        self.mutex = threading.RLock()
        self._output = output
        self._parts = parts
        self._coverage = coverage
        self._views = Views(output, parts)
        self._shown = shown
        self._pack = max((pack_number(path.name) or 0 for path in parts.glob("*.h5*")), default=0)  # latest number
        self._superseded: dict[Path, int] = {}  # files that no sample needs -> the latest view that may map them
        self._behind = False  # there are shards that the master on disk does not map
        self._written = 0.0  # when, time.monotonic()
        self._cost = 0.0  # seconds
        self._later: threading.Timer | None = None

    @property
    def shown(self) -> bool:
        """Whether a master of this run is at the place of the result."""
        return self._shown

    def update(self, manifest: Manifest) -> None:
        """Show what was committed: now, or as soon as the master's share of the time allows it.

        Raises
        ------
        ResultError
            If files cannot be written or read; nothing committed is lost.
        """
        self._behind = True
        due = self._written + (self._cost + mapping_seconds(manifest, 1)) / MASTER_SHARE - time.monotonic()
        if self._merge(manifest) or due <= 0:
            self._write(manifest)
        elif self._later is None:
            self._later = threading.Timer(due, self._catch_up, [manifest])
            self._later.daemon = True
            self._later.start()

    def begin(self, manifest: Manifest) -> None:
        """Write the first master of this driver, over few files."""
        self._merge(manifest)
        self._write(manifest)

    def stop(self, manifest: Manifest) -> None:
        """Bring the master up to date for the last time."""
        try:
            if self._behind:
                self._write(manifest)
        finally:
            self.end()

    def keep_view(self) -> None:
        """Before another file takes the master's place: readers may have it open."""
        # Only what is a view of ours: the files of past views are emptied.
        if self._shown:
            self._views.keep()

    def end(self) -> None:
        """Keep the master up no more: another file has taken its place, or none."""
        self._behind = self._shown = False
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def released(self, patience: float) -> bool:
        """Whether no program has a past view open, after up to ``patience`` seconds."""
        return self._views.release(patience)

    def _catch_up(self, manifest: Manifest) -> None:
        # What goes wrong here is told when the next commit writes.
        with self.mutex, suppress(ResultError):
            if self._later is not None:
                self._later = None
                if self._behind:
                    self._write(manifest)

    def _merge(self, manifest: Manifest) -> bool:
        """Merge files to packs until they are few enough for every reader; True if there was something to merge."""
        if len(self._coverage.shards) <= MOST_FILES:
            return False
        self._forget_unused()
        merged = False
        while chosen := choose([shard.level for shard in self._coverage.shards], MOST_FILES):
            shards = [self._coverage.shards[k] for k in chosen]
            self._pack += 1
            self._coverage.merge(write_pack(self._parts, self._pack, shards, self._coverage, manifest))
            self._forget_unused()
            merged = True
        return merged

    def _forget_unused(self) -> None:
        # The master on disk may map them still, and gets the next number when another takes its place.
        for shard in self._coverage.unused():
            self._superseded[shard.path] = self._views.latest + 1

    def _write(self, manifest: Manifest) -> None:
        begin = time.monotonic()
        self._forget_unused()
        self.keep_view()
        write_master(self._output, self._parts, manifest, self._coverage.segments())
        self._shown, self._behind = True, False
        self._written = time.monotonic()
        self._cost = self._written - begin
        self._views.release()
        oldest = self._views.oldest
        for path, view in list(self._superseded.items()):
            if oldest is None or oldest > view:
                path.unlink(missing_ok=True)
                del self._superseded[path]
