"""An old result at the place of a new run: it stays as it is until the run has something to keep."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from distverify.errors import ResultError, argument
from distverify.results.files import write_text_atomically
from distverify.results.identify import identify
from distverify.results.journal.folder import MANIFEST_NAME, clear, link_finished
from distverify.results.journal.views import Views
from distverify.results.manifest import Manifest, difference

# How long a run waits for programs that have the view of an unfinished run open.
VIEW_PATIENCE = 3.0


@dataclass(frozen=True)
class OldResult:
    """Whatever is at a place where a run shall write.

    Parameters
    ----------
    output, parts : Path
        The place, and the folder beside it, whose lock is held.
    base : Path, optional
        The old result is finished, and goes on as this file of the new run, in its folder; else it is removed, a finished one when
        another file takes its place.

    Raises
    ------
    ResultError
        A program has the view of an unfinished run open, whose files are to be removed.
    """

    output: Path
    parts: Path
    base: Path | None = None

    def __post_init__(self) -> None:
        views = Views(self.output, self.parts)
        if not (views.release(VIEW_PATIENCE) and (self._finished() or views.unread(VIEW_PATIENCE))):
            raise self._in_use()

    def give_way(self, manifest: Manifest) -> None:
        """Make room for the run of ``manifest``.

        Raises
        ------
        ResultError
            A program has opened the view of an unfinished run; or the disk does not take what is written.
        """
        views, finished = Views(self.output, self.parts), self._finished()
        if not finished:
            views.keep()
            self.output.unlink(missing_ok=True)
        if not views.release(VIEW_PATIENCE):
            views.put_back()
            raise self._in_use()
        clear(self.parts, keep_lock=True)
        write_text_atomically(self.parts / MANIFEST_NAME, manifest.to_json())
        if self.base is not None:
            link_finished(self.output, self.base)

    def _finished(self) -> bool:
        """Whether it is anything but the view of an unfinished run: also what is none of ours."""
        with suppress(ResultError):
            existing = identify(self.output)
            return existing is None or existing.finished
        return True

    def _in_use(self) -> ResultError:
        return ResultError(
            f"{self.output}: a program still has the view of an unfinished run open that is to be removed; close it there, or "
            f"choose another {argument('output')}"
        )


def refuse_difference(this: Manifest, other: Manifest, output: Path, name: str) -> None:
    """Refuse to continue or to keep what was computed with other settings.

    Raises
    ------
    ResultError
        With the differences, a line for each.
    """
    lines = difference(this, other, name)
    if lines:
        listed = "\n  ".join(lines)
        raise ResultError(
            f"{output}: holds {name} of another computation:\n  {listed}\n"
            f"choose another {argument('output')}, or replace it ({argument('overwrite', True)})"
        )
