"""What is at the place of a result: nothing, a result of ours, or something that is not ours to touch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distverify.errors import ResultError, argument
from distverify.results.incomplete import lacking
from distverify.results.manifest import Manifest
from distverify.results.opening import OpenResult


@dataclass(frozen=True, eq=False)
class Existing:
    """A result file of ours.

    Attributes
    ----------
    manifest : Manifest
        Without its plan.
    finished : bool
        False: the virtual master of a run that goes on or was interrupted.
    status : int8 [samples]
        Of a finished result, else empty.
    lacking : bool [samples]
        Whether something is missing of a sample; of a finished result, else empty.
    """

    manifest: Manifest
    finished: bool
    status: NDArray[np.int8]
    lacking: NDArray[np.bool_]

    @property
    def failed(self) -> int:
        """Samples that a retry would compute again."""
        return int(self.lacking.sum())


def identify(output: Path) -> Existing | None:
    """The result at ``output``, or None if nothing is there.

    Raises
    ------
    ResultError
        If something else is there: it is not touched unless the user asks for it.
    """
    if not output.exists():
        return None
    try:
        with OpenResult(output) as result:
            # The master shows damaged shards too; they are found one by one when the journal is read.
            if result.end is None:
                return Existing(result.manifest, False, np.empty(0, dtype=np.int8), np.empty(0, dtype=np.bool_))
            status = result.read("status")
            return Existing(result.manifest, True, status, lacking(status, result.read("message")))
    except ResultError as error:
        raise ResultError(
            f"{error}; it is left alone: choose another {argument('output')}, or replace it ({argument('overwrite', True)})"
        ) from error
